//! The store through its messages, as the use cases see it. Runs on SQLite, and on the server that
//! `TEST_DATABASE_URL` names: an engine passes, or it is no engine.

mod budgets;
#[path = "../database/mod.rs"]
mod database;
mod schema;
mod sessions;
mod users;

use database::TestDatabase;
use tegata::domain::clock::UnixTime;
use tegata::store::{Database, DatabaseUrl, Settings, Store};

pub const NOW: UnixTime = UnixTime(1_790_000_000);

pub fn store(database: &TestDatabase) -> Store {
    Store::new(Settings { url: DatabaseUrl::parse(&database.url).unwrap(), threads: 4, queue: 1000 })
}

/// An empty database with its schema, and workers on it. The database goes last.
pub fn workers() -> (Database, TestDatabase) {
    let database = TestDatabase::create();
    let store = store(&database);
    store.migrate(NOW).unwrap();
    // The file must exist before the workers look for it; they never make one.
    (store.start(&tegata::pool::Metrics::default(), &tegata::store::Metrics::default()), database)
}
