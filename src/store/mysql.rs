//! MySQL and MariaDB: how to connect, what their errors mean, and whatever else differs from SQLite.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Params, Statement};
use r2d2::ManageConnection;
use r2d2_mysql::MySqlConnectionManager;

use crate::store::error::StoreError;
use crate::store::migrate::{Migration, migration};
use crate::store::session::{Changed, Condition, Row, Session, Value};
use crate::store::{CONNECT_TIMEOUT, IO_TIMEOUT};

pub(crate) const MIGRATIONS: &[Migration] = &[
    migration!("mysql", 0, "0000_schema_migrations"),
    migration!("mysql", 1, "0001_users"),
    migration!("mysql", 2, "0002_sessions"),
    migration!("mysql", 3, "0003_users_valid_after"),
    migration!("mysql", 4, "0004_signing_keys"),
    migration!("mysql", 5, "0005_sign_in_budgets"),
];

/// More statements than the program has: none is ever evicted, so none that [`MysqlSession`] holds is closed.
const STATEMENT_CACHE: usize = 128;
/// A schema change may take longer than a request may.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(120);

/// Longest wait for another transaction's lock (O-03): shorter than [`IO_TIMEOUT`], so that the server says what it
/// waits for before we stop listening.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// A schema change may have to wait for the queries under way.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections for r2d2. Wraps `r2d2_mysql`'s manager, whose own checks would ping on every return.
pub(crate) struct Manager(MySqlConnectionManager);

impl Manager {
    pub(crate) fn new(options: &Opts) -> Self {
        Self(MySqlConnectionManager::new(bounded(options, IO_TIMEOUT, LOCK_TIMEOUT)))
    }
}

impl ManageConnection for Manager {
    type Connection = MysqlSession;
    type Error = StoreError;

    fn connect(&self) -> Result<MysqlSession, StoreError> {
        self.0.connect().map(MysqlSession::new).map_err(|error| classify(&error))
    }

    fn is_valid(&self, _: &mut MysqlSession) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, session: &mut MysqlSession) -> bool {
        session.condition != Condition::Sound
    }
}

pub(crate) fn connect_for_migration(options: &Opts) -> Result<Box<dyn Session>, StoreError> {
    let conn =
        Conn::new(bounded(options, MIGRATION_PATIENCE, MIGRATION_LOCK_TIMEOUT)).map_err(|error| classify(&error))?;
    Ok(Box::new(MysqlSession::new(conn)))
}

/// Sets every timeout, all of which the driver leaves unlimited: a stopped server acknowledges packets in the
/// kernel for ever, and only these end the wait.
fn bounded(options: &Opts, io_timeout: Duration, lock_timeout: Duration) -> OptsBuilder {
    let lock_seconds = lock_timeout.as_secs();
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
        .init(vec![
            format!(
                "SET SESSION innodb_lock_wait_timeout = {lock_seconds}, lock_wait_timeout = {lock_seconds}, \
                 sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
            ),
            // Whatever the server's default: an INSERT from a SELECT has to lock what it reads (CreateSession).
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
        ])
}

/// A connection with its prepared statements.
pub(crate) struct MysqlSession {
    conn: Conn,
    statements: HashMap<&'static str, Statement>,
    condition: Condition,
    is_in_transaction: bool,
}

impl MysqlSession {
    fn new(conn: Conn) -> Self {
        Self { conn, statements: HashMap::new(), condition: Condition::Sound, is_in_transaction: false }
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, mysql::Error> {
        match self.statements.entry(sql) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(new) => Ok(new.insert(self.conn.prep(sql)?).clone()),
        }
    }

    /// Classifies an outcome and remembers whether the connection can be used again.
    fn checked<T>(&mut self, outcome: Result<T, mysql::Error>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            let condition = self.condition_after(&error);
            if condition != Condition::Sound {
                self.condition = condition;
            }
            classify(&error)
        })
    }

    fn condition_after(&self, error: &mysql::Error) -> Condition {
        match error {
            mysql::Error::MySqlError(server) => match meaning(server.code) {
                Meaning::Lost => Condition::Lost,
                Meaning::Moved => Condition::Spent,
                _ => Condition::Sound,
            },
            // A write may wait for a disk or for a cluster; a read that waits means that the server does not answer.
            error if is_timeout(error) && self.is_in_transaction => Condition::Spent,
            error if is_timeout(error) => Condition::Stalled,
            _ => Condition::Lost,
        }
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
        self.is_in_transaction = true;
        self.run("START TRANSACTION")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")?;
        self.is_in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK")?;
        self.is_in_transaction = false;
        Ok(())
    }

    fn condition(&self) -> Condition {
        self.condition
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        let outcome = self.conn.ping();
        self.checked(outcome)
    }

    fn migrations(&self) -> &'static [Migration] {
        MIGRATIONS
    }

    fn apply(&mut self, statement: &str) -> Result<(), StoreError> {
        match self.conn.query_drop(statement) {
            // Killed between a change and its record (F-38): MySQL undoes no ALTER TABLE.
            Err(mysql::Error::MySqlError(error)) if meaning(error.code) == Meaning::Done => Ok(()),
            outcome => self.checked(outcome),
        }
    }

    /// Waits for a lock named after the database (64 characters are the most that a lock's name may have). On a Galera
    /// or Group Replication cluster it holds on one node only, which is why each schema file can run again.
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

/// What a server's error means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// A unique key is taken.
    Duplicate,
    /// The transaction lost a race and was undone.
    Race,
    /// The tables are not there.
    NoSchema,
    /// It cannot serve this now.
    Refused,
    /// It cannot serve this now, and another server may be the one to ask: worth a new connection.
    Moved,
    /// It closes the connection, or has closed it.
    Lost,
    /// A schema change that was made before, by somebody who did not live to record it.
    Done,
    /// Everything that is not in the table: a mistake of ours.
    Bug,
}

/// THE map from the server's error codes to what they mean for us (O-05): code, name, meaning.
const SERVER_ERRORS: &[(u16, &str, Meaning)] = &[
    (1062, "ER_DUP_ENTRY", Meaning::Duplicate),
    // Galera reports a conflict like this too, also at COMMIT.
    (1213, "ER_LOCK_DEADLOCK", Meaning::Race),
    (1205, "ER_LOCK_WAIT_TIMEOUT", Meaning::Race),
    // MariaDB with innodb_snapshot_isolation, the default since 11.6: the row was changed since it was read.
    (1020, "ER_CHECKREAD", Meaning::Race),
    (1060, "ER_DUP_FIELDNAME", Meaning::Done),
    // A column of a schema file that is still to come.
    (1054, "ER_BAD_FIELD_ERROR", Meaning::NoSchema),
    (1049, "ER_BAD_DB_ERROR", Meaning::NoSchema),
    (1146, "ER_NO_SUCH_TABLE", Meaning::NoSchema),
    // Too many connections, or too much use.
    (1040, "ER_CON_COUNT_ERROR", Meaning::Refused),
    (1203, "ER_TOO_MANY_USER_CONNECTIONS", Meaning::Refused),
    (1226, "ER_USER_LIMIT_REACHED", Meaning::Refused),
    // Full.
    (1021, "ER_DISK_FULL", Meaning::Refused),
    (1114, "ER_RECORD_FILE_FULL", Meaning::Refused),
    // Access lost, or not given yet.
    (1044, "ER_DBACCESS_DENIED_ERROR", Meaning::Refused),
    (1045, "ER_ACCESS_DENIED_ERROR", Meaning::Refused),
    (1142, "ER_TABLEACCESS_DENIED_ERROR", Meaning::Refused),
    (1143, "ER_COLUMNACCESS_DENIED_ERROR", Meaning::Refused),
    (1698, "ER_ACCESS_DENIED_NO_PASSWORD_ERROR", Meaning::Refused),
    (3118, "ER_ACCOUNT_HAS_BEEN_LOCKED", Meaning::Refused),
    (4151, "ER_ACCOUNT_HAS_BEEN_LOCKED", Meaning::Refused),
    (1317, "ER_QUERY_INTERRUPTED", Meaning::Refused),
    // Read-only: a replica, or a primary that is one no more.
    (1290, "ER_OPTION_PREVENTS_STATEMENT", Meaning::Moved),
    (1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", Meaning::Moved),
    (1836, "ER_READ_ONLY_MODE", Meaning::Moved),
    // Galera: this node is not part of the cluster.
    (1047, "ER_UNKNOWN_COM_ERROR", Meaning::Moved),
    (1053, "ER_SERVER_SHUTDOWN", Meaning::Lost),
    (1927, "ER_CONNECTION_KILLED", Meaning::Lost),
    (2006, "CR_SERVER_GONE_ERROR", Meaning::Lost),
    (2013, "CR_SERVER_LOST", Meaning::Lost),
    (4031, "ER_CLIENT_INTERACTION_TIMEOUT", Meaning::Lost),
];

fn meaning(code: u16) -> Meaning {
    SERVER_ERRORS.iter().find(|row| row.0 == code).map_or(Meaning::Bug, |row| row.2)
}

fn classify(error: &mysql::Error) -> StoreError {
    let text = error.to_string();
    match error {
        mysql::Error::MySqlError(server) => match meaning(server.code) {
            Meaning::Duplicate => StoreError::Duplicate,
            Meaning::Race => StoreError::Retry(text),
            Meaning::NoSchema => StoreError::SchemaMissing(text),
            Meaning::Refused | Meaning::Moved => StoreError::Unavailable(text),
            Meaning::Lost => StoreError::Lost(text),
            Meaning::Done | Meaning::Bug => StoreError::Bug(text),
        },
        error if is_timeout(error) => StoreError::Unavailable(text),
        // The socket, TLS, the protocol.
        _ => StoreError::Lost(text),
    }
}

/// Whether the socket's time-out is behind it; the driver tells of it as an error of the socket or of the packet.
fn is_timeout(error: &mysql::Error) -> bool {
    let socket = match error {
        mysql::Error::IoError(error) => Some(error),
        mysql::Error::CodecError(error) => error.source().and_then(|error| error.downcast_ref::<io::Error>()),
        _ => None,
    };
    socket.is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: u16) -> StoreError {
        let (state, message) = ("HY000".to_owned(), "text".to_owned());
        classify(&mysql::Error::MySqlError(mysql::MySqlError { state, code, message }))
    }

    /// O-05, row by row, against the answers that the requirements name.
    #[test]
    fn each_server_error_has_one_meaning() {
        assert_eq!(server_error(1062), StoreError::Duplicate);
        for code in [1213, 1205, 1020] {
            assert!(matches!(server_error(code), StoreError::Retry(_)), "{code}");
        }
        for code in [1040, 1203, 1226, 1290, 1792, 1836, 1047, 1021, 1114, 1044, 1045, 1142] {
            assert!(matches!(server_error(code), StoreError::Unavailable(_)), "{code}");
        }
        for code in [2006, 2013, 1053, 1927, 4031] {
            assert!(matches!(server_error(code), StoreError::Lost(_)), "{code}");
        }
        for code in [1146, 1049, 1054] {
            assert!(matches!(server_error(code), StoreError::SchemaMissing(_)), "{code}");
        }
        for code in [1064, 1406, 1366] {
            assert!(matches!(server_error(code), StoreError::Bug(_)), "{code}");
        }
        for (at, (code, name, _)) in SERVER_ERRORS.iter().enumerate() {
            assert!(!SERVER_ERRORS[..at].iter().any(|row| row.0 == *code), "{name} is there twice");
        }
    }

    #[test]
    fn a_socket_that_breaks_is_lost_and_one_that_is_silent_is_unavailable() {
        let socket = |kind: ErrorKind| classify(&mysql::Error::IoError(kind.into()));
        assert!(matches!(socket(ErrorKind::ConnectionReset), StoreError::Lost(_)));
        assert!(matches!(socket(ErrorKind::UnexpectedEof), StoreError::Lost(_)));
        for silent in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            assert!(matches!(socket(silent), StoreError::Unavailable(_)), "{silent}");
            let packet = classify(&mysql::Error::CodecError(io::Error::from(silent).into()));
            assert!(matches!(packet, StoreError::Unavailable(_)), "{silent}");
        }
    }
}
