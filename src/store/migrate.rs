//! Brings the schema up to date from the files in `sql/`, which are compiled in. scripts/init.sh applies the same
//! files with the plain client and keeps the same record, so either may follow the other.

use crate::domain::clock::UnixTime;
use crate::store::error::StoreError;
use crate::store::session::Session;

/// One numbered file: one statement, safe to run again.
#[derive(Debug)]
pub struct Migration {
    /// The number that the name starts with.
    pub version: i64,
    /// The file's name without its ending.
    pub name: &'static str,
    /// The statement.
    pub sql: &'static str,
}

/// Embeds `sql/<engine>/<name>.sql`.
macro_rules! migration {
    ($engine:literal, $version:literal, $name:literal) => {
        $crate::store::migrate::Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../sql/", $engine, "/", $name, ".sql")),
        }
    };
}
pub(crate) use migration;

const APPLIED: &str = "SELECT version FROM schema_migrations";
const RECORD: &str = "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)";

/// Applies what is missing and returns its names. When nothing is missing nothing is locked, created or written,
/// so a database user without the right to create tables can run the server.
pub(crate) fn run(session: &mut dyn Session, now: UnixTime) -> Result<Vec<&'static str>, StoreError> {
    if missing(session)?.is_empty() {
        return Ok(Vec::new());
    }
    session.lock_schema()?;
    let outcome = apply_missing(session, now);
    // Unlocking commits on SQLite; after a failure the connection is dropped, which undoes and unlocks.
    match outcome {
        Ok(applied) => session.unlock_schema().map(|()| applied),
        Err(error) => Err(error),
    }
}

fn apply_missing(session: &mut dyn Session, now: UnixTime) -> Result<Vec<&'static str>, StoreError> {
    // Asked again under the lock: another process may have been first.
    let missing = missing(session)?;
    let mut applied = Vec::with_capacity(missing.len());
    for migration in missing {
        session.apply(migration.sql)?;
        let params = [migration.version.into(), migration.name.into(), now.0.into()];
        match session.execute(RECORD, &params) {
            // On a cluster the lock holds on one node only; the other node's record is as good as ours.
            Ok(_) | Err(StoreError::Duplicate) => applied.push(migration.name),
            Err(error) => return Err(error),
        }
    }
    Ok(applied)
}

/// Those not on record. A record with a higher version than ours stays: an older server works on a newer schema.
fn missing(session: &mut dyn Session) -> Result<Vec<&'static Migration>, StoreError> {
    let applied = match session.query(APPLIED, &[]) {
        Ok(rows) => rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?,
        Err(StoreError::SchemaMissing(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(session.migrations().iter().filter(|migration| !applied.contains(&migration.version)).collect())
}

#[cfg(test)]
mod tests {
    use crate::store::{mysql, sqlite};

    #[test]
    fn both_engines_have_the_same_files_in_order() {
        let names = |files: &'static [super::Migration]| files.iter().map(|file| file.name).collect::<Vec<_>>();
        assert_eq!(names(mysql::MIGRATIONS), names(sqlite::MIGRATIONS));
        for (at, file) in mysql::MIGRATIONS.iter().enumerate() {
            assert_eq!(file.version, i64::try_from(at).unwrap());
            assert!(file.name.starts_with(&format!("{:04}_", file.version)), "{}", file.name);
        }
        for file in mysql::MIGRATIONS.iter().chain(sqlite::MIGRATIONS) {
            // The mysql driver drops the errors of second statements (see mysql.rs).
            assert!(!file.sql.contains(';'), "{} has more than one statement", file.name);
        }
    }
}
