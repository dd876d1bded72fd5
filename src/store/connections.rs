//! The connections that workers share: an r2d2 pool that watches the line. A connection keeps its prepared statements
//! between queries and costs no round trip to borrow; it is asked for a sign of life only after a long silence.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::{ManageConnection, NopErrorHandler, PooledConnection};

use crate::store::error::StoreError;
use crate::store::line::Line;
use crate::store::session::{Condition, Session};
use crate::store::url::DatabaseUrl;
use crate::store::{CONNECT_TIMEOUT, mysql, sqlite};

/// After this long without use a connection must answer a ping first: firewalls and servers close silent ones.
const SILENCE: Duration = Duration::from_secs(15);
/// How often somebody who waits for a connection looks whether there is still hope for one.
const GLANCE: Duration = Duration::from_millis(50);

/// A connection on loan, given back when dropped.
pub(crate) trait Lease {
    fn session(&mut self) -> &mut dyn Session;
}

/// Lends connections, whichever the engine.
pub(crate) trait Connections: Send + Sync {
    /// A connection that can be used, opened if need be.
    ///
    /// Errors: [`StoreError::Unavailable`], at once while the database is away, else after [`CONNECT_TIMEOUT`].
    fn lease(&self) -> Result<Box<dyn Lease>, StoreError>;
}

/// Makes the pool for `workers` threads, and begins to open its connections: a server that has no room for another
/// one later (F-07) is then no trouble, and a pool that is never full keeps looking for a database that is away.
pub(crate) fn connect(url: &DatabaseUrl, workers: usize, line: &Arc<Line>) -> Arc<dyn Connections> {
    match url {
        DatabaseUrl::Sqlite(path) => pool(sqlite::Manager::new(path.clone()), workers, line),
        DatabaseUrl::Mysql(options) => pool(mysql::Manager::new(options), workers, line),
    }
}

fn pool<M>(manager: M, workers: usize, line: &Arc<Line>) -> Arc<dyn Connections>
where
    M: ManageConnection<Error = StoreError>,
    M::Connection: Session,
{
    let pool = r2d2::Pool::builder()
        .max_size(u32::try_from(workers).unwrap_or(u32::MAX))
        // It also caps the pause between attempts to reconnect, at half of it.
        .connection_timeout(CONNECT_TIMEOUT)
        .max_lifetime(None)
        .idle_timeout(None)
        // `Watched` reports.
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(Watched { manager, line: Arc::clone(line) });
    Arc::new(Shared { pool, line: Arc::clone(line) })
}

struct Shared<M>
where
    M: ManageConnection<Error = StoreError>,
    M::Connection: Session,
{
    pool: r2d2::Pool<Watched<M>>,
    line: Arc<Line>,
}

impl<M> Connections for Shared<M>
where
    M: ManageConnection<Error = StoreError>,
    M::Connection: Session,
{
    fn lease(&self) -> Result<Box<dyn Lease>, StoreError> {
        let began = Instant::now();
        loop {
            self.line.check()?;
            match self.pool.get_timeout(GLANCE) {
                Ok(connection) => return Ok(Box::new(connection)),
                Err(error) if began.elapsed() > CONNECT_TIMEOUT => {
                    return Err(StoreError::Unavailable(error.to_string()));
                }
                Err(_) => {}
            }
        }
    }
}

impl<M> Lease for PooledConnection<Watched<M>>
where
    M: ManageConnection<Error = StoreError>,
    M::Connection: Session,
{
    fn session(&mut self) -> &mut dyn Session {
        &mut self.session
    }
}

/// A manager of connections that tells the line what becomes of them.
struct Watched<M> {
    manager: M,
    line: Arc<Line>,
}

/// A connection and what is known about it.
struct Tracked<S> {
    session: S,
    line: Arc<Line>,
    generation: u64,
    used: Instant,
}

impl<S> Drop for Tracked<S> {
    fn drop(&mut self) {
        self.line.closed(self.generation);
    }
}

impl<M> ManageConnection for Watched<M>
where
    M: ManageConnection<Error = StoreError>,
    M::Connection: Session,
{
    type Connection = Tracked<M::Connection>;
    type Error = StoreError;

    fn connect(&self) -> Result<Self::Connection, StoreError> {
        match survive(|| self.manager.connect()) {
            Ok(session) => {
                let generation = self.line.opened();
                Ok(Tracked { session, line: Arc::clone(&self.line), generation, used: Instant::now() })
            }
            Err(error) => {
                self.line.not_opened(&error);
                Err(error)
            }
        }
    }

    fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), StoreError> {
        if !self.line.is_current(connection.generation) {
            return Err(StoreError::Lost("opened before another connection was lost".to_owned()));
        }
        self.manager.is_valid(&mut connection.session)?;
        if connection.used.elapsed() > SILENCE {
            survive(|| connection.session.ping()).inspect_err(|_| tell(&self.line, connection.session.condition()))?;
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        connection.used = Instant::now();
        let condition = connection.session.condition();
        tell(&self.line, condition);
        // A panic while it was used: nobody knows what state it was left in.
        condition != Condition::Sound || std::thread::panicking()
    }
}

/// The driver panics on some malformed answers, and r2d2 would count a connection for ever whose opening or testing
/// panicked.
fn survive<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Bug("the driver panicked; another line tells where".to_owned())))
}

fn tell(line: &Line, condition: Condition) {
    match condition {
        Condition::Sound | Condition::Spent => {}
        Condition::Lost => line.lost(),
        Condition::Stalled => line.stalled(),
    }
}
