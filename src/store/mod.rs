//! The database behind a pool of [`DbExecutor`] workers. A message is a [`Query`]; the connection, the
//! transaction, the retry and the panic guard are written once, in the one [`Handler`] below.

mod error;
mod lease;
pub mod migrate;
mod mysql;
pub mod session;
mod sqlite;
mod url;
pub mod users;

use std::time::Duration;

use actix::{Actor, Handler, Message, SyncContext};

use crate::domain::clock::UnixTime;
use crate::pool::{Admitted, Panicked, Pool, Presence, guarded};
use crate::store::lease::Lease;
use crate::store::session::Session;

pub use crate::store::error::StoreError;
pub use crate::store::lease::report_away;
pub use crate::store::url::{DatabaseUrl, UrlError};

/// Longest wait for a connection (O-03, `T_get`); it also caps the pause between attempts to reconnect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for the database to answer one read or write on the socket (O-03, `T_io`).
const IO_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for another transaction's lock, inside the database (O-03).
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a transaction that lost a race may run again (O-05).
const MAX_RETRIES: u32 = 3;

/// What the store needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database is.
    pub url: DatabaseUrl,
    /// Worker threads; each keeps one connection.
    pub threads: usize,
    /// Messages that may wait for a worker.
    pub queue: usize,
}

/// Whether a query changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Runs as one statement of its own; may be repeated on a fresh connection.
    Read,
    /// Runs in a transaction; repeated only if the database says that it was undone.
    Write,
}

/// One transaction as data. `run` takes `&self` because it may run again after a deadlock.
pub trait Query: Message<Result = Result<Self::Output, StoreError>> + Send + 'static {
    /// Whether it writes.
    const ACCESS: Access;
    /// What it finds out.
    type Output: Send + 'static;
    /// Does it, on a connection of the caller's.
    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError>;
}

/// The database as a source of connections. Opening one happens later, in the workers: a database that is away
/// does not keep the server from starting.
pub struct Store {
    settings: Settings,
    leases: lease::Leases,
}

impl Store {
    /// Makes the connection pool; connects to nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let leases = lease::Leases::new(&settings.url, settings.threads);
        Self { settings, leases }
    }

    /// Starts the workers. Needs a running actix system.
    #[must_use]
    pub fn start(&self) -> Pool<DbExecutor> {
        let leases = self.leases.clone();
        Pool::start("db", self.settings.threads, self.settings.queue, move |presence| DbExecutor {
            lease: leases.lease(),
            _presence: presence,
        })
    }

    /// Whether the database is a file that this process opens itself, and not a server that may come and go.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self.settings.url, DatabaseUrl::Sqlite(_))
    }

    /// Brings the schema up to date, under a lock; blocks. Returns the names of the files that were applied.
    ///
    /// Errors: as the database has it; running it again is always safe.
    pub fn migrate(&self, now: UnixTime) -> Result<Vec<&'static str>, StoreError> {
        let mut session = self.settings.url.connect_for_migration()?;
        migrate::run(session.as_mut(), now)
    }
}

/// A database worker: one thread, one connection that it keeps.
pub struct DbExecutor {
    lease: Box<dyn Lease>,
    _presence: Presence,
}

impl Actor for DbExecutor {
    type Context = SyncContext<Self>;
}

impl<Q: Query> Handler<Admitted<Q>> for DbExecutor {
    type Result = Result<Q::Result, Panicked>;

    fn handle(&mut self, query: Admitted<Q>, _: &mut SyncContext<Self>) -> Self::Result {
        let outcome = guarded(|| self.answer(query.message()));
        if outcome.is_err() {
            // Nobody knows what state the connection was left in.
            self.lease.discard();
        }
        outcome
    }
}

impl DbExecutor {
    fn answer<Q: Query>(&mut self, query: &Q) -> Result<Q::Output, StoreError> {
        let mut retries = 0;
        loop {
            let was_fresh = self.lease.is_fresh();
            let error = match self.attempt(query) {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let again = match (&error, Q::ACCESS) {
                // Undone by the database itself, so nothing happened.
                (StoreError::Retry(_), _) => true,
                // A connection that died while it lay idle says nothing about the database; reading twice is harmless.
                (StoreError::Unavailable(_), Access::Read) => !was_fresh,
                _ => false,
            };
            if !again || retries == MAX_RETRIES {
                return Err(error);
            }
            retries += 1;
        }
    }

    fn attempt<Q: Query>(&mut self, query: &Q) -> Result<Q::Output, StoreError> {
        let session = self.lease.session()?;
        let result = match Q::ACCESS {
            Access::Read => query.run(session),
            Access::Write => in_transaction(session, query),
        };
        if matches!(result, Err(StoreError::Unavailable(_))) {
            self.lease.discard();
        }
        result
    }
}

fn in_transaction<Q: Query>(session: &mut dyn Session, query: &Q) -> Result<Q::Output, StoreError> {
    session.begin()?;
    match query.run(session) {
        Ok(output) => session.commit().map(|()| output),
        Err(error) => {
            // A transaction that cannot even be rolled back sits on a broken connection.
            session.rollback().map_err(|_| StoreError::Unavailable(error.to_string()))?;
            Err(error)
        }
    }
}
