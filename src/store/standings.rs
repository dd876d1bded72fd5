//! What tokens are held against for each request: sessions with their users, and users alone. Each is read for itself:
//! a damaged row fails its own tokens and not those that were asked for along with them (C-10).

use std::sync::LazyLock;

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::domain::session::{Anchor, SessionId, Standing};
use crate::domain::user::{User, UserId};
use crate::store::error::StoreError;
use crate::store::session::{Row, Session, Value};
use crate::store::{Access, Query};

/// Those that exist, in any order.
pub type Standings = Vec<(Anchor, Result<Standing, StoreError>)>;

/// Most anchors that one [`FindStandings`] may ask for.
pub const MAX_ANCHORS: usize = 64;

/// Finds those of `anchors` that exist. At most [`MAX_ANCHORS`].
#[derive(Debug, Message)]
#[rtype(result = "Result<Standings, StoreError>")]
pub struct FindStandings {
    /// What to look for, each once; not empty.
    pub anchors: Vec<Anchor>,
}

/// One statement for each power of two up to [`MAX_ANCHORS`]: seven that stay prepared, instead of sixty-four.
fn statements(before: &str) -> Vec<String> {
    let marks = |power: u32| vec!["?"; 1 << power].join(", ");
    (0..=MAX_ANCHORS.ilog2()).map(|power| format!("{before} IN ({})", marks(power))).collect()
}

static FIND_SESSIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    statements(
        "SELECT u.id, u.email, u.is_disabled, s.id, s.expires_at, s.revoked_at \
         FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id",
    )
});
static FIND_USERS: LazyLock<Vec<String>> =
    LazyLock::new(|| statements("SELECT id, email, is_disabled, valid_after FROM users WHERE id"));

impl Query for FindStandings {
    const ACCESS: Access = Access::Read;
    type Output = Standings;

    fn run(&self, session: &mut dyn Session) -> Result<Standings, StoreError> {
        let (mut sessions, mut users) = (Vec::new(), Vec::new());
        for anchor in &self.anchors {
            match anchor {
                Anchor::Session(id) => sessions.push(Value::Bytes(id.0.to_vec())),
                Anchor::User(id) => users.push(Value::Int(id.0)),
            }
        }
        let mut found = Standings::with_capacity(self.anchors.len());
        for row in find(session, &FIND_SESSIONS, sessions)? {
            found.push((Anchor::Session(SessionId(row.bytes(3)?)), of_session(&row)));
        }
        for row in find(session, &FIND_USERS, users)? {
            found.push((Anchor::User(UserId(row.int(0)?)), of_user(&row)));
        }
        Ok(found)
    }
}

fn find(session: &mut dyn Session, statements: &'static [String], mut ids: Vec<Value>) -> Result<Vec<Row>, StoreError> {
    let Some(last) = ids.last().cloned() else { return Ok(Vec::new()) };
    let arity = ids.len().next_power_of_two();
    let Some(statement) = statements.get(arity.ilog2() as usize) else {
        return Err(StoreError::Bug(format!("FindStandings takes 1 to {MAX_ANCHORS} anchors, not {}", ids.len())));
    };
    // Padded by repeating the last id: an IN list is a set.
    ids.resize(arity, last);
    session.query(statement, &ids)
}

fn of_session(row: &Row) -> Result<Standing, StoreError> {
    // A session that was ended has ended, whatever a clock says.
    let valid_until = if row.optional_int(5)?.is_some() { i64::MIN } else { row.int(4)? };
    Ok(Standing { user: user(row)?, valid_after: UnixTime(i64::MIN), valid_until: UnixTime(valid_until) })
}

fn of_user(row: &Row) -> Result<Standing, StoreError> {
    Ok(Standing { user: user(row)?, valid_after: UnixTime(row.int(3)?), valid_until: UnixTime(i64::MAX) })
}

/// The first three columns of both SELECTs.
fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User { id: UserId(row.int(0)?), email: row.text(1)?, is_disabled: row.int(2)? != 0 })
}
