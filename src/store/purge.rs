//! Removes rows that have expired, a few at a time.

use std::sync::LazyLock;

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::store::error::StoreError;
use crate::store::session::Session;
use crate::store::{Access, Query};

/// Rows of which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// `sessions`.
    Sessions,
    /// `sign_in_budgets`.
    Budgets,
}

/// Removes some of the rows that expired before a moment.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct Purge {
    /// Which rows.
    pub expired: Expired,
    /// Those that expired earlier.
    pub before: UnixTime,
}

/// Most rows that are removed at once: few enough to keep nobody waiting.
const AT_ONCE: usize = 100;

const FIND_SESSIONS: &str = "SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT 100";
const FIND_BUDGETS: &str = "SELECT bucket FROM sign_in_budgets WHERE expires_at < ? ORDER BY expires_at LIMIT 100";
static DELETE_SESSIONS: LazyLock<String> = LazyLock::new(|| delete("sessions", "id"));
static DELETE_BUDGETS: LazyLock<String> = LazyLock::new(|| delete("sign_in_budgets", "bucket"));

fn delete(table: &str, key: &str) -> String {
    format!("DELETE FROM {table} WHERE {key} IN ({})", vec!["?"; AT_ONCE].join(", "))
}

impl Query for Purge {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    /// Whether there may be more.
    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        let (find, delete) = match self.expired {
            Expired::Sessions => (FIND_SESSIONS, &DELETE_SESSIONS),
            Expired::Budgets => (FIND_BUDGETS, &DELETE_BUDGETS),
        };
        let rows = session.query(find, &[self.before.0.into()])?;
        let count = rows.len();
        let mut keys: Vec<_> = rows.into_iter().flat_map(|row| row.0).collect();
        let Some(last) = keys.last().cloned() else { return Ok(false) };
        // Padded by repeating the last key: an IN list is a set.
        keys.resize(AT_ONCE, last);
        session.execute(delete.as_str(), &keys)?;
        Ok(count == AT_ONCE)
    }
}
