//! The database behind a pool of [`DbExecutor`] workers. A message is a [`Query`]; the connection, the
//! transaction, the retry and the panic guard are written once, in the one [`Handler`] below.

pub mod budgets;
mod connections;
mod error;
mod line;
mod metrics;
pub mod migrate;
mod mysql;
pub mod purge;
pub mod session;
pub mod sessions;
pub mod signing_keys;
mod sqlite;
pub mod standings;
mod url;
pub mod users;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler, Message, SyncContext};

use crate::domain::clock::UnixTime;
use crate::pool::{self, Admitted, Panicked, Pool, PoolError, Presence, Waited};
use crate::store::connections::Connections;
use crate::store::line::Line;
use crate::store::metrics::{LOST_A_RACE, LOST_THE_CONNECTION};
use crate::store::session::Session;

pub use crate::store::error::StoreError;
pub use crate::store::line::report_away;
pub use crate::store::metrics::Metrics;
pub use crate::store::url::{DatabaseUrl, UrlError};

/// Longest wait for a connection (O-03, `T_get`); it also caps the pause between attempts to reconnect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for the database to answer one read or write on the socket (O-03, `T_io`).
const IO_TIMEOUT: Duration = Duration::from_secs(2);
/// A query that waited longer than this for a worker is not worth running: whoever is behind it waits too.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);
/// How often a transaction that lost a race may run again (O-05).
const MAX_RETRIES: u32 = 3;
/// No attempt begins later than this after the first one: it would end after the request's deadline.
const RETRY_WINDOW: Duration = Duration::from_secs(3);

/// What the store needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database is.
    pub url: DatabaseUrl,
    /// Worker threads that read. On a server as many write; a SQLite file has one writer. Each has a connection.
    pub threads: usize,
    /// Messages that may wait for a worker.
    pub queue: usize,
}

/// Whether a query changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Runs as one statement of its own; repeating it does no harm.
    Read,
    /// Runs in a transaction; repeated only if it is certain that it was undone.
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

/// The database, before anybody talks to it. A database that is away does not keep the server from starting.
pub struct Store {
    settings: Settings,
}

impl Store {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Starts the workers, which begin to connect. Needs a running actix system.
    #[must_use]
    pub fn start(&self, pools: &pool::Metrics, metrics: &Metrics) -> Database {
        let Settings { url, threads, queue } = &self.settings;
        let writers = match url {
            // SQLite has one writer at a time, whoever waits for it.
            DatabaseUrl::Sqlite(_) => 1,
            // A write takes three or four round trips where a read takes one.
            DatabaseUrl::Mysql(_) => *threads,
        };
        let line = Arc::new(Line::new(metrics.clone()));
        let connections = connections::connect(url, threads + writers, &line);
        let start = |name, threads| {
            let (connections, metrics) = (Arc::clone(&connections), metrics.clone());
            Pool::start(name, threads, *queue, pools, move |presence| DbExecutor {
                connections: Arc::clone(&connections),
                metrics: metrics.clone(),
                _presence: presence,
            })
        };
        Database { readers: start("db-read", *threads), writers: start("db-write", writers), line }
    }

    /// Whether the database is a file that this process opens itself, and not a server that may come and go.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self.settings.url, DatabaseUrl::Sqlite(_))
    }

    /// Leaves everything in the one file that people copy, once the workers are idle: SQLite keeps what was written last
    /// beside it. Blocks. Not vital, as the next start does the same.
    pub fn tidy(&self) {
        if let DatabaseUrl::Sqlite(path) = &self.settings.url
            && let Err(error) = sqlite::checkpoint(path)
        {
            tracing::warn!(%error, "what was written last stays in the journal beside the database");
        }
    }

    /// Runs one query on a connection of its own, without any worker; blocks. For the command line.
    ///
    /// Errors: as the database has it.
    pub fn run<Q: Query>(&self, query: &Q) -> Result<Q::Output, StoreError> {
        let mut session = self.settings.url.connect_for_migration()?;
        match Q::ACCESS {
            Access::Read => query.run(session.as_mut()),
            Access::Write => in_transaction(session.as_mut(), query).map_err(|failure| failure.error),
        }
    }

    /// Brings the schema up to date, under a lock; blocks. Returns the names of the files that were applied.
    ///
    /// Errors: as the database has it; running it again is always safe.
    pub fn migrate(&self, now: UnixTime) -> Result<Vec<&'static str>, StoreError> {
        let mut session = self.settings.url.connect_for_migration()?;
        migrate::run(session.as_mut(), now)
    }
}

/// The database at work. Writes have workers of their own: whatever they wait for, reads go on (F-10, F-13).
#[derive(Clone)]
pub struct Database {
    readers: Pool<DbExecutor>,
    writers: Pool<DbExecutor>,
    line: Arc<Line>,
}

impl Database {
    /// Has a worker run `query`.
    ///
    /// Errors: as [`Pool::call`]; inside, what the database said, at once while it is known to be away.
    pub async fn call<Q: Query>(&self, query: Q) -> Result<Result<Q::Output, StoreError>, PoolError> {
        if let Err(away) = self.line.check() {
            return Ok(Err(away));
        }
        let pool = match Q::ACCESS {
            Access::Read => &self.readers,
            Access::Write => &self.writers,
        };
        pool.call(query).await
    }

    /// Whether every worker thread is alive.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.readers.is_whole() && self.writers.is_whole()
    }

    /// As [`Pool::drain`].
    pub async fn drain(&self, patience: Duration) -> Result<(), usize> {
        let (reads, writes) = tokio::join!(self.readers.drain(patience), self.writers.drain(patience));
        match reads.err().unwrap_or(0) + writes.err().unwrap_or(0) {
            0 => Ok(()),
            abandoned => Err(abandoned),
        }
    }
}

/// A database worker: one thread, which borrows a connection for each query.
pub struct DbExecutor {
    connections: Arc<dyn Connections>,
    metrics: Metrics,
    _presence: Presence,
}

impl Actor for DbExecutor {
    type Context = SyncContext<Self>;
}

impl<Q: Query> Handler<Admitted<Q>> for DbExecutor {
    type Result = Result<Q::Result, Panicked>;

    fn handle(&mut self, query: Admitted<Q>, _: &mut SyncContext<Self>) -> Self::Result {
        query.run(|query, Waited(waited)| {
            if waited > QUEUE_PATIENCE {
                return Err(StoreError::Unavailable("the workers were busy for too long".to_owned()));
            }
            self.answer(query)
        })
    }
}

/// Why an attempt failed, and what is known of its effect.
struct Failure {
    error: StoreError,
    /// Certain: it changed nothing. Otherwise it may have, or may yet.
    is_undone: bool,
}

impl DbExecutor {
    /// Runs the query, and again where that is certain to do no harm and has a chance to do better (O-05).
    fn answer<Q: Query>(&self, query: &Q) -> Result<Q::Output, StoreError> {
        let began = Instant::now();
        let (mut races, mut losses) = (0, 0);
        loop {
            let Failure { error, is_undone } = match self.attempt(query) {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            let reason = match error {
                _ if !is_undone => return Err(error),
                StoreError::Retry(_) if races < MAX_RETRIES && began.elapsed() < RETRY_WINDOW => {
                    pause(races);
                    races += 1;
                    LOST_A_RACE
                }
                // A connection that died while it lay idle says nothing about the database.
                StoreError::Lost(_) if losses == 0 => {
                    losses += 1;
                    LOST_THE_CONNECTION
                }
                _ => return Err(error),
            };
            self.metrics.retries.get_or_create(&reason).inc();
        }
    }

    fn attempt<Q: Query>(&self, query: &Q) -> Result<Q::Output, Failure> {
        let undone = |error| Failure { error, is_undone: true };
        let mut lease = self.connections.lease().map_err(undone)?;
        let session = lease.session();
        match Q::ACCESS {
            Access::Read => query.run(session).map_err(undone),
            Access::Write => in_transaction(session, query),
        }
    }
}

/// The database undoes a transaction whose connection breaks, unless it was told to commit. So only a COMMIT without
/// an answer leaves the outcome unknown.
fn in_transaction<Q: Query>(session: &mut dyn Session, query: &Q) -> Result<Q::Output, Failure> {
    let undone = |error| Failure { error, is_undone: true };
    session.begin().map_err(undone)?;
    match query.run(session) {
        Ok(output) => session.commit().map(|()| output).map_err(|error| {
            // A cluster says at COMMIT that the transaction lost a race, and has undone it.
            let is_undone = matches!(error, StoreError::Retry(_));
            Failure { error, is_undone }
        }),
        Err(error) => match session.rollback() {
            Ok(()) => Err(undone(error)),
            // On a connection that broke there is nothing to roll back, and the first error says more.
            Err(_) if matches!(error, StoreError::Lost(_)) => Err(undone(error)),
            Err(_) => Err(undone(StoreError::Unavailable(error.to_string()))),
        },
    }
}

/// Waits before the next attempt, longer each time and never equally long: those who met once would meet again.
#[expect(clippy::disallowed_methods, reason = "on a worker's thread, which may wait")]
fn pause(attempt: u32) {
    // Seeded anew for each instance by the standard library.
    let random = RandomState::new().build_hasher().finish();
    let longest = 20_000_u64 << attempt;
    std::thread::sleep(Duration::from_micros(longest / 4 + random % longest));
}
