//! A worker's hold on a connection. It keeps the connection between messages, and with it the prepared
//! statements; it asks for a sign of life only after a long silence, never once a query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::{HandleError, ManageConnection, PooledConnection};

use crate::domain::clock::OnceASecond;
use crate::store::error::StoreError;
use crate::store::session::Session;
use crate::store::url::DatabaseUrl;
use crate::store::{CONNECT_TIMEOUT, mysql, sqlite};

/// After this long without use a connection must answer a ping first: firewalls and servers close silent ones.
const SILENCE: Duration = Duration::from_secs(15);

/// The connection that one worker works on.
pub(crate) trait Lease: Send {
    /// The connection, opened if need be. Errors: [`StoreError::Unavailable`] after [`CONNECT_TIMEOUT`].
    fn session(&mut self) -> Result<&mut dyn Session, StoreError>;
    /// Whether the next [`Lease::session`] opens a new connection.
    fn is_fresh(&self) -> bool;
    /// Closes the connection; the next call opens another.
    fn discard(&mut self);
}

/// Makes leases on one r2d2 pool, one a worker.
#[derive(Clone)]
pub(crate) struct Leases(Arc<dyn Fn() -> Box<dyn Lease> + Send + Sync>);

impl Leases {
    pub(crate) fn new(url: &DatabaseUrl, workers: usize) -> Self {
        match url {
            DatabaseUrl::Sqlite(path) => Self::on(sqlite::Manager::new(path.clone()), workers),
            DatabaseUrl::Mysql(options) => Self::on(mysql::Manager::new(options), workers),
        }
    }

    fn on<M>(manager: M, workers: usize) -> Self
    where
        M: ManageConnection,
        M::Connection: Session,
    {
        let pool = r2d2::Pool::builder()
            .max_size(u32::try_from(workers).unwrap_or(u32::MAX))
            // Opened when first needed: an idle server holds no connections that nobody asked for.
            .min_idle(Some(0))
            .connection_timeout(CONNECT_TIMEOUT)
            // Both would cost a round trip a query; `Lease::session` and `has_broken` know better.
            .test_on_check_out(false)
            // The worker holds its connection for good, so the reaper never sees it.
            .max_lifetime(None)
            .idle_timeout(None)
            .error_handler(Box::new(Report))
            .build_unchecked(manager);
        Self(Arc::new(move || Box::new(Held { pool: pool.clone(), connection: None, used: Instant::now() })))
    }

    pub(crate) fn lease(&self) -> Box<dyn Lease> {
        (self.0)()
    }
}

struct Held<M: ManageConnection> {
    pool: r2d2::Pool<M>,
    connection: Option<PooledConnection<M>>,
    used: Instant,
}

impl<M> Lease for Held<M>
where
    M: ManageConnection,
    M::Connection: Session,
{
    fn session(&mut self) -> Result<&mut dyn Session, StoreError> {
        if self.used.elapsed() > SILENCE
            && let Some(connection) = &mut self.connection
            && connection.ping().is_err()
        {
            self.connection = None;
        }
        self.used = Instant::now();
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?,
        };
        Ok(&mut **self.connection.insert(connection))
    }

    fn is_fresh(&self) -> bool {
        self.connection.is_none()
    }

    fn discard(&mut self) {
        self.connection = None;
    }
}

/// Hears from r2d2 why connecting fails.
#[derive(Debug)]
struct Report;

impl<E: std::error::Error> HandleError<E> for Report {
    fn handle_error(&self, error: E) {
        report_away(&error);
    }
}

/// Logs that the database cannot be reached: once a second at most, whoever finds it out, however often (F-06).
pub fn report_away(error: &dyn std::error::Error) {
    static GATE: OnceASecond = OnceASecond::new();
    if GATE.opens() {
        tracing::warn!(%error, "cannot reach the database; trying again");
    }
}
