//! The schema's files.

use std::sync::{Arc, Barrier};

use crate::database::TestDatabase;
use crate::{NOW, store};

const FILES: [&str; 6] = [
    "0000_schema_migrations",
    "0001_users",
    "0002_sessions",
    "0003_users_valid_after",
    "0004_signing_keys",
    "0005_sign_in_budgets",
];

#[test]
fn the_files_are_applied_once() {
    let database = TestDatabase::create();
    assert_eq!(store(&database).migrate(NOW).unwrap(), FILES);
    assert!(store(&database).migrate(NOW).unwrap().is_empty());
    assert_eq!(database.column("SELECT name FROM schema_migrations ORDER BY version"), FILES);
}

/// O-10, F-37: many at once are one migration.
#[test]
fn many_at_once_apply_each_file_once() {
    let database = Arc::new(TestDatabase::create());
    let barrier = Arc::new(Barrier::new(8));
    let replicas: Vec<_> = (0..8)
        .map(|_| {
            let (database, barrier) = (Arc::clone(&database), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                store(&database).migrate(NOW).unwrap().len()
            })
        })
        .collect();
    let applied: usize = replicas.into_iter().map(|replica| replica.join().unwrap()).sum();
    assert_eq!(applied, FILES.len());
}

/// F-38, an interrupted run: a file was applied and not recorded. It is applied again, which changes nothing.
#[test]
fn a_file_without_its_record_is_applied_again() {
    let database = TestDatabase::create();
    store(&database).migrate(NOW).unwrap();
    for (version, name) in FILES.iter().enumerate().skip(1) {
        database.execute(&format!("DELETE FROM schema_migrations WHERE version = {version}"));
        assert_eq!(store(&database).migrate(NOW).unwrap(), [*name]);
    }
}

/// Rolling upgrades: an older server meets the schema of a newer one and leaves it alone.
#[test]
fn records_of_a_newer_version_are_left_alone() {
    let database = TestDatabase::create();
    store(&database).migrate(NOW).unwrap();
    database.execute("INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, '9999_future', 0)");
    assert!(store(&database).migrate(NOW).unwrap().is_empty());
}
