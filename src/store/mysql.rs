//! MySQL and MariaDB: how to connect, what their errors mean, and whatever else differs from SQLite.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Params, Statement};
use r2d2::ManageConnection;
use r2d2_mysql::MySqlConnectionManager;

use crate::store::error::StoreError;
use crate::store::migrate::{Migration, migration};
use crate::store::session::{Changed, Row, Session, Value};
use crate::store::{CONNECT_TIMEOUT, IO_TIMEOUT, LOCK_TIMEOUT};

pub(crate) const MIGRATIONS: &[Migration] =
    &[migration!("mysql", 0, "0000_schema_migrations"), migration!("mysql", 1, "0001_users")];

/// More statements than the program has: none is ever evicted, so none that [`MysqlSession`] holds is closed.
const STATEMENT_CACHE: usize = 128;
/// A schema change may take longer than a request may.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(120);

/// Connections for r2d2. Wraps `r2d2_mysql`'s manager, whose own checks would ping on every return.
pub(crate) struct Manager(MySqlConnectionManager);

impl Manager {
    pub(crate) fn new(options: &Opts) -> Self {
        Self(MySqlConnectionManager::new(bounded(options, IO_TIMEOUT)))
    }
}

impl ManageConnection for Manager {
    type Connection = MysqlSession;
    type Error = mysql::Error;

    fn connect(&self) -> Result<MysqlSession, mysql::Error> {
        self.0.connect().map(MysqlSession::new)
    }

    fn is_valid(&self, session: &mut MysqlSession) -> Result<(), mysql::Error> {
        self.0.is_valid(&mut session.conn)
    }

    fn has_broken(&self, session: &mut MysqlSession) -> bool {
        session.is_broken
    }
}

pub(crate) fn connect_for_migration(options: &Opts) -> Result<Box<dyn Session>, StoreError> {
    let conn = Conn::new(bounded(options, MIGRATION_PATIENCE)).map_err(|error| classify(&error))?;
    Ok(Box::new(MysqlSession::new(conn)))
}

/// Sets every timeout, all of which the driver leaves unlimited: a stopped server acknowledges packets in the
/// kernel for ever, and only these end the wait.
fn bounded(options: &Opts, io_timeout: Duration) -> OptsBuilder {
    let lock_seconds = LOCK_TIMEOUT.as_secs();
    OptsBuilder::from_opts(options.clone())
        .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
        .read_timeout(Some(io_timeout))
        .write_timeout(Some(io_timeout))
        // On a loopback host the driver would ask for the socket's path and connect a second time.
        .prefer_socket(false)
        // Known, so that it is not asked for at each connect; the largest thing sent is a few KiB.
        .max_allowed_packet(Some(1 << 20))
        .stmt_cache_size(Some(STATEMENT_CACHE))
        // Strict: a value that does not fit is an error, never silently cut.
        .init(vec![format!(
            "SET SESSION innodb_lock_wait_timeout = {lock_seconds}, lock_wait_timeout = {lock_seconds}, \
             sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
        )])
}

/// A connection with its prepared statements.
pub(crate) struct MysqlSession {
    conn: Conn,
    statements: HashMap<&'static str, Statement>,
    is_broken: bool,
}

impl MysqlSession {
    fn new(conn: Conn) -> Self {
        Self { conn, statements: HashMap::new(), is_broken: false }
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, mysql::Error> {
        match self.statements.entry(sql) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(new) => Ok(new.insert(self.conn.prep(sql)?).clone()),
        }
    }

    /// Classifies an outcome and remembers whether the connection can still be trusted: after a time-out the next
    /// answer on it could be the previous question's.
    fn checked<T>(&mut self, outcome: Result<T, mysql::Error>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            self.is_broken |= !matches!(error, mysql::Error::MySqlError(_));
            classify(&error)
        })
    }

    /// Runs one fixed statement without parameters. Never two in one text: the driver drops the second one's error.
    fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        let outcome = self.conn.query_drop(sql);
        self.checked(outcome)
    }
}

impl Session for MysqlSession {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<Changed, StoreError> {
        let outcome = self.statement(sql).and_then(|statement| {
            self.conn.exec_drop(&statement, positional(params))?;
            Ok(Changed {
                rows: self.conn.affected_rows(),
                last_insert_id: i64::try_from(self.conn.last_insert_id()).unwrap_or(i64::MAX),
            })
        });
        self.checked(outcome)
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let outcome = self
            .statement(sql)
            .and_then(|statement| self.conn.exec::<mysql::Row, _, _>(&statement, positional(params)));
        self.checked(outcome)?.into_iter().map(row).collect()
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.run("START TRANSACTION")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK")
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        let outcome = self.conn.ping();
        self.checked(outcome)
    }

    fn migrations(&self) -> &'static [Migration] {
        MIGRATIONS
    }

    fn apply(&mut self, statement: &str) -> Result<(), StoreError> {
        self.run(statement)
    }

    /// Waits for a lock named after the database (64 characters are the most that a lock's name may have). On a Galera or Group Replication cluster it holds on one node
    /// only, which is why each schema file can run again.
    fn lock_schema(&mut self) -> Result<(), StoreError> {
        let rows = self.query("SELECT GET_LOCK(LEFT(CONCAT('tegata.schema.', DATABASE()), 64), 100)", &[])?;
        match rows.first().and_then(|row| row.int(0).ok()) {
            Some(1) => Ok(()),
            _ => Err(StoreError::Unavailable("another process has been changing the schema for 100 s".to_owned())),
        }
    }

    fn unlock_schema(&mut self) -> Result<(), StoreError> {
        self.query("SELECT RELEASE_LOCK(LEFT(CONCAT('tegata.schema.', DATABASE()), 64))", &[]).map(drop)
    }
}

fn positional(params: &[Value]) -> Params {
    if params.is_empty() {
        return Params::Empty;
    }
    Params::Positional(
        params
            .iter()
            .map(|value| match value {
                Value::Null => mysql::Value::NULL,
                Value::Int(int) => mysql::Value::Int(*int),
                Value::Text(text) => mysql::Value::Bytes(text.clone().into_bytes()),
                Value::Bytes(bytes) => mysql::Value::Bytes(bytes.clone()),
            })
            .collect(),
    )
}

fn row(row: mysql::Row) -> Result<Row, StoreError> {
    // The driver's name for "give me the columns"; it panics only if one was taken before, and none was.
    row.unwrap()
        .into_iter()
        .map(|value| match value {
            mysql::Value::NULL => Ok(Value::Null),
            mysql::Value::Int(int) => Ok(Value::Int(int)),
            mysql::Value::UInt(int) => {
                i64::try_from(int).map(Value::Int).map_err(|_| StoreError::Corrupt("an integer above 2^63".to_owned()))
            }
            mysql::Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
            _ => Err(StoreError::Corrupt("a column of a type that the schema does not have".to_owned())),
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Row)
}

/// The map from the server's error codes to what they mean for us (O-05).
fn classify(error: &mysql::Error) -> StoreError {
    let mysql::Error::MySqlError(server) = error else {
        // The socket, TLS, the protocol: the connection is lost or was never there.
        return StoreError::Unavailable(error.to_string());
    };
    let text = || server.to_string();
    match server.code {
        // ER_DUP_ENTRY
        1062 => StoreError::Duplicate,
        // ER_LOCK_DEADLOCK (Galera also at COMMIT), ER_LOCK_WAIT_TIMEOUT
        1213 | 1205 => StoreError::Retry(text()),
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR
        1146 | 1049 => StoreError::SchemaMissing(text()),
        // Too many connections or too much use: ER_CON_COUNT, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        1040 | 1203 | 1226
        // Read-only: ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE
        | 1290 | 1792 | 1836
        // Going away: ER_SERVER_SHUTDOWN, Galera's ER_UNKNOWN_COM_ERROR, killed, ER_CLIENT_INTERACTION_TIMEOUT,
        // CR_SERVER_GONE, CR_SERVER_LOST
        | 1053 | 1047 | 1317 | 1927 | 4031 | 2006 | 2013
        // Full: ER_DISK_FULL, ER_RECORD_FILE_FULL
        | 1021 | 1114
        // Access lost or not yet given: ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_TABLEACCESS_DENIED
        | 1044 | 1045 | 1142 => StoreError::Unavailable(text()),
        _ => StoreError::Bug(text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: u16) -> mysql::Error {
        mysql::Error::MySqlError(mysql::MySqlError { state: "HY000".to_owned(), code, message: "text".to_owned() })
    }

    /// O-05, row by row.
    #[test]
    fn each_server_error_has_one_meaning() {
        assert_eq!(classify(&server_error(1062)), StoreError::Duplicate);
        for code in [1213, 1205] {
            assert!(matches!(classify(&server_error(code)), StoreError::Retry(_)), "{code}");
        }
        for code in [1040, 1203, 1226, 1290, 1792, 1836, 1047, 2006, 2013, 1053, 1021, 1114, 1044, 1045, 1142] {
            assert!(matches!(classify(&server_error(code)), StoreError::Unavailable(_)), "{code}");
        }
        for code in [1146, 1049] {
            assert!(matches!(classify(&server_error(code)), StoreError::SchemaMissing(_)), "{code}");
        }
        for code in [1064, 1054, 1406, 1366] {
            assert!(matches!(classify(&server_error(code)), StoreError::Bug(_)), "{code}");
        }
        let reset = mysql::Error::IoError(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(classify(&reset), StoreError::Unavailable(_)));
    }
}
