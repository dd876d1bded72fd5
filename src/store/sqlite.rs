//! SQLite, embedded: how to open the file, what its errors mean, and whatever else differs from MySQL.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2::ManageConnection;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi, params_from_iter};

use crate::store::error::StoreError;
use crate::store::migrate::{Migration, migration};
use crate::store::session::{Changed, Condition, Row, Session, Value};

pub(crate) const MIGRATIONS: &[Migration] = &[
    migration!("sqlite", 0, "0000_schema_migrations"),
    migration!("sqlite", 1, "0001_users"),
    migration!("sqlite", 2, "0002_sessions"),
    migration!("sqlite", 3, "0003_users_valid_after"),
    migration!("sqlite", 4, "0004_signing_keys"),
    migration!("sqlite", 5, "0005_sign_in_budgets"),
];

/// More statements than the program has, so that each stays prepared.
const STATEMENT_CACHE: usize = 128;
/// How long one process waits while another one makes the same schema.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for another process's write lock (O-03).
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections for r2d2.
pub(crate) struct Manager(PathBuf);

impl Manager {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl ManageConnection for Manager {
    type Connection = SqliteSession;
    type Error = StoreError;

    fn connect(&self) -> Result<SqliteSession, StoreError> {
        open(&self.0, LOCK_TIMEOUT)
    }

    /// An open file lives on when it is deleted or replaced, and what is written to it is gone (F-14): asks the file
    /// system before each use.
    fn is_valid(&self, session: &mut SqliteSession) -> Result<(), StoreError> {
        if identity(&self.0)? == session.file {
            return Ok(());
        }
        Err(StoreError::Lost(format!("{} is another file than the one that was opened", self.0.display())))
    }

    fn has_broken(&self, session: &mut SqliteSession) -> bool {
        session.condition != Condition::Sound
    }
}

/// Which file the path names: device and inode.
fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let file = std::fs::metadata(path).map_err(|error| unavailable(path, &error))?;
    Ok((file.dev(), file.ino()))
}

fn unavailable(path: &Path, reason: &dyn Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {reason}", path.display()))
}

/// Makes the file if need be, mode 0600, which its journals inherit. Workers do not: a database that vanished
/// while the server runs must not come back empty. Nor at the next start: a mark beside the file says that there
/// was one (F-14).
pub(crate) fn connect_for_migration(path: &Path) -> Result<Box<dyn Session>, StoreError> {
    let mark = path.with_file_name(format!("{}-made", path.file_name().unwrap_or_default().to_string_lossy()));
    let is_empty = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    if is_empty && mark.exists() {
        return Err(unavailable(
            path,
            &format_args!(
                "is gone or empty, though there was a database. Put it back from a backup; or, to begin with an empty one, remove {}",
                mark.display()
            ),
        ));
    }
    let make = |path: &Path| OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    make(path).map_err(|error| unavailable(path, &error))?;
    let session = open(path, MIGRATION_PATIENCE)?;
    make(&mark).map_err(|error| unavailable(&mark, &error))?;
    Ok(Box::new(session))
}

fn open(path: &Path, patience: Duration) -> Result<SqliteSession, StoreError> {
    // Before it is opened: if it is replaced in between, the first use finds out.
    let file = identity(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(patience)?;
        // WAL: readers and the writer do not wait for each other. FULL: a commit is on disk before a 201 is sent (O-11).
        conn.pragma_update(None, "journal_mode", "wal")?;
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        Ok(conn)
    };
    // Whoever reads it must know which file is meant.
    let conn = open().map_err(|error| unavailable(path, &error))?;
    Ok(SqliteSession { conn, file, condition: Condition::Sound })
}

/// Moves what is in the write-ahead log into the database, and empties the log.
pub(crate) fn checkpoint(path: &Path) -> Result<(), StoreError> {
    open(path, LOCK_TIMEOUT)?.run("PRAGMA wal_checkpoint(TRUNCATE)")
}

/// A connection with its prepared statements.
pub(crate) struct SqliteSession {
    conn: Connection,
    file: (u64, u64),
    condition: Condition,
}

impl SqliteSession {
    fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        let outcome = self.conn.execute_batch(sql);
        self.checked(outcome)
    }

    /// Classifies an outcome. After trouble with the file it is opened anew: whoever repairs it may replace it.
    fn checked<T>(&mut self, outcome: rusqlite::Result<T>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            let error = classify(&error);
            if matches!(error, StoreError::Unavailable(_)) {
                self.condition = Condition::Spent;
            }
            error
        })
    }
}

impl Session for SqliteSession {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<Changed, StoreError> {
        let run = || {
            let rows = self.conn.prepare_cached(sql)?.execute(params_from_iter(params))?;
            Ok(Changed { rows: rows as u64, last_insert_id: self.conn.last_insert_rowid() })
        };
        let outcome = run();
        self.checked(outcome)
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let run = || {
            let mut statement = self.conn.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(params))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((0..columns).map(|at| row.get_ref(at).map(value)).collect::<Result<Vec<_>, _>>()?);
            }
            Ok(found)
        };
        let outcome = run();
        let found = self.checked(outcome)?;
        found.into_iter().map(|columns| columns.into_iter().collect::<Result<_, _>>().map(Row)).collect()
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK")
    }

    fn condition(&self) -> Condition {
        self.condition
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn migrations(&self) -> &'static [Migration] {
        MIGRATIONS
    }

    fn apply(&mut self, statement: &str) -> Result<(), StoreError> {
        match self.conn.execute_batch(statement) {
            // Applied by the plain client, and stopped before it was recorded (F-38).
            Err(rusqlite::Error::SqliteFailure(_, Some(why))) if why.starts_with("duplicate column name") => Ok(()),
            outcome => self.checked(outcome),
        }
    }

    fn lock_schema(&mut self) -> Result<(), StoreError> {
        self.begin()
    }

    fn unlock_schema(&mut self) -> Result<(), StoreError> {
        self.commit()
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(*int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(column: ValueRef<'_>) -> Result<Value, StoreError> {
    match column {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(int) => Ok(Value::Int(int)),
        // SQLite does not check that text is UTF-8; Row does.
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        ValueRef::Real(_) => Err(StoreError::Corrupt("a column of a type that the schema does not have".to_owned())),
    }
}

/// What SQLite's result codes mean for us (O-05).
fn classify(error: &rusqlite::Error) -> StoreError {
    let text = || error.to_string();
    let rusqlite::Error::SqliteFailure(failure, message) = error else {
        return StoreError::Bug(text());
    };
    match failure.code {
        ErrorCode::ConstraintViolation
            if [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY].contains(&failure.extended_code) =>
        {
            StoreError::Duplicate
        }
        // Waited for the busy timeout already: waiting again would outlast the request.
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Unavailable(text()),
        ErrorCode::CannotOpen
        | ErrorCode::DiskFull
        | ErrorCode::ReadOnly
        | ErrorCode::SystemIoFailure
        | ErrorCode::PermissionDenied
        | ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::OperationInterrupted
        | ErrorCode::OutOfMemory => StoreError::Unavailable(text()),
        _ if message
            .as_ref()
            .is_some_and(|why| why.starts_with("no such table") || why.starts_with("no such column")) =>
        {
            StoreError::SchemaMissing(text())
        }
        _ => StoreError::Bug(text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(extended_code: i32, message: &str) -> StoreError {
        classify(&rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), Some(message.to_owned())))
    }

    /// O-05, row by row.
    #[test]
    fn each_result_code_has_one_meaning() {
        assert_eq!(failure(ffi::SQLITE_CONSTRAINT_UNIQUE, ""), StoreError::Duplicate);
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
        ] {
            assert!(matches!(failure(code, ""), StoreError::Unavailable(_)), "{code}");
        }
        assert!(matches!(failure(ffi::SQLITE_ERROR, "no such table: users"), StoreError::SchemaMissing(_)));
        assert!(matches!(failure(ffi::SQLITE_CONSTRAINT_NOTNULL, ""), StoreError::Bug(_)));
        assert!(matches!(failure(ffi::SQLITE_ERROR, "syntax error"), StoreError::Bug(_)));
    }
}
