//! What only a MariaDB of our own can show: `TEST_MARIADB_URL` and `TEST_CA_PATH`, which scripts/test.sh sets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mysql::prelude::Queryable;
use tegata::domain::clock::UnixTime;
use tegata::domain::session::Anchor;
use tegata::domain::user::UserId;
use tegata::pool;
use tegata::store::standings::FindStandings;
use tegata::store::users::Ping;
use tegata::store::{self, DatabaseUrl, Settings, Store, StoreError};

#[expect(clippy::disallowed_methods, reason = "how scripts/test.sh says where its MariaDB is")]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test.sh, which starts a MariaDB"))
}

/// Held by the test that runs: the server counts for all of its clients together.
static TURN: Mutex<()> = Mutex::new(());

struct Database {
    admin: mysql::Conn,
    name: &'static str,
    _turn: MutexGuard<'static, ()>,
}

impl Database {
    fn create(name: &'static str) -> Self {
        // A test that failed has left nothing that would be in the way.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut admin = mysql::Conn::new(setting("TEST_MARIADB_URL").as_str()).unwrap();
        admin.query_drop(format!("CREATE OR REPLACE DATABASE {name}")).unwrap();
        Self { admin, name, _turn: turn }
    }

    fn url(&self, query: &str) -> String {
        format!("{}{}{query}", setting("TEST_MARIADB_URL"), self.name)
    }

    fn start(&self, query: &str, threads: usize) -> store::Database {
        let url = DatabaseUrl::parse(&self.url(query)).unwrap();
        let store = Store::new(Settings { url, threads, queue: 100 });
        let _ = store.migrate(UnixTime(0));
        store.start(&pool::Metrics::default(), &store::Metrics::default())
    }

    fn status(&mut self, name: &str) -> u64 {
        let row: Option<(String, u64)> = self.admin.query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'")).unwrap();
        row.unwrap().1
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.admin.query_drop(format!("DROP DATABASE {}", self.name));
    }
}

/// Stack facts X7 and 2.3: a query is one round trip; nothing is pinged and nothing is prepared twice.
#[actix_web::test]
async fn a_query_is_one_round_trip_on_a_kept_connection() {
    let mut database = Database::create("tegata_round_trips");
    let pool = database.start("", 1);
    let find = || pool.call(FindStandings { anchors: vec![Anchor::User(UserId(1))] });
    find().await.unwrap().unwrap();
    let before =
        ["Com_admin_commands", "Com_stmt_prepare", "Com_stmt_execute", "Connections"].map(|name| database.status(name));
    for _ in 0..100 {
        find().await.unwrap().unwrap();
    }
    let after =
        ["Com_admin_commands", "Com_stmt_prepare", "Com_stmt_execute", "Connections"].map(|name| database.status(name));
    let [pings, prepared, executed, connected] = std::array::from_fn(|at| after[at] - before[at]);
    assert_eq!(executed, 100);
    // A pool opens its connections in the background, and may not be done with that.
    assert!(pings < 5 && prepared < 5 && connected < 5, "{pings} pings, {prepared} prepared, {connected} connected");
}

/// F-02, F-12: connections that died in the meantime cost no read.
#[actix_web::test]
async fn reads_survive_the_loss_of_every_connection() {
    let mut database = Database::create("tegata_killed");
    let pool = database.start("", 4);
    for _ in 0..20 {
        pool.call(Ping).await.unwrap().unwrap();
    }
    let ids: Vec<u64> =
        database.admin.exec("SELECT id FROM information_schema.processlist WHERE db = ?", (database.name,)).unwrap();
    assert!(!ids.is_empty());
    for id in ids {
        let _ = database.admin.query_drop(format!("KILL {id}"));
    }
    for _ in 0..20 {
        assert_eq!(pool.call(Ping).await.unwrap(), Ok(()));
    }
}

/// TLS by rustls, checked: for an account that must use it, the server's own authority opens the door; no TLS, or an
/// authority that nobody named, does not.
#[actix_web::test]
async fn tls_to_the_database_is_checked() {
    let mut database = Database::create("tegata_tls");
    database.start("", 1).call(Ping).await.unwrap().unwrap();
    database.admin.query_drop("CREATE OR REPLACE USER guarded@localhost IDENTIFIED BY 'x' REQUIRE SSL").unwrap();
    database.admin.query_drop("GRANT ALL ON tegata_tls.* TO guarded@localhost").unwrap();
    let (_, address) = database.url("").split_once('@').map(|(user, rest)| (user.to_owned(), rest.to_owned())).unwrap();
    let ping = async |query: &str| {
        let url = DatabaseUrl::parse(&format!("mysql://guarded:x@{address}{query}")).unwrap();
        let store = Store::new(Settings { url, threads: 1, queue: 1 });
        store.start(&pool::Metrics::default(), &store::Metrics::default()).call(Ping).await.unwrap()
    };
    assert_eq!(ping(&format!("?root_cert_path={}", setting("TEST_CA_PATH"))).await, Ok(()));
    for refused in ["", "?tls=true"] {
        assert!(matches!(ping(refused).await, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    database.admin.query_drop("DROP USER guarded@localhost").unwrap();
}
