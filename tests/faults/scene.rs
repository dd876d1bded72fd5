//! The server under test, its database and a directory, all of one test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::client::{self, Answer};
use crate::mariadb::MariaDb;
use crate::process::{SECRET_KEY, Server};
use crate::wait;

/// A directory that is gone after the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tegata_faults_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub enum Engine {
    MariaDb(MariaDb),
    Sqlite(PathBuf),
}

/// A row of `users` as the database has it.
pub struct Row {
    pub id: i64,
    pub email: String,
    pub email_key: Vec<u8>,
    pub hash: Option<String>,
}

impl Engine {
    /// Every account there is, read past the server.
    pub fn rows(&self) -> Vec<Row> {
        const ALL: &str = "SELECT id, email, email_key, password_hash FROM users ORDER BY id";
        match self {
            Self::MariaDb(database) => {
                let mut root = database.root();
                root.query_drop("USE tegata").unwrap();
                root.query_map(ALL, |(id, email, email_key, hash)| Row { id, email, email_key, hash }).unwrap()
            }
            Self::Sqlite(path) => {
                let conn = sqlite(path);
                let mut statement = conn.prepare(ALL).unwrap();
                let rows = statement.query_map([], |row| {
                    Ok(Row { id: row.get(0)?, email: row.get(1)?, email_key: row.get(2)?, hash: row.get(3)? })
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
        }
    }

    /// Every table, gone.
    pub fn drop_all_tables(&self) {
        match self {
            Self::MariaDb(database) => database.execute("CREATE OR REPLACE DATABASE tegata"),
            Self::Sqlite(path) => {
                let conn = sqlite(path);
                let mut statement = conn
                    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
                    .unwrap();
                let names: Vec<String> =
                    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
                let drops: String = names.iter().map(|name| format!("DROP TABLE {name};")).collect();
                conn.execute_batch(&format!("PRAGMA foreign_keys = OFF; {drops}")).unwrap();
            }
        }
    }

    /// Runs one statement as an administrator would.
    pub fn execute(&self, sql: &str) {
        match self {
            Self::MariaDb(database) => {
                let mut root = database.root();
                root.query_drop("USE tegata").unwrap();
                root.query_drop(sql).unwrap();
            }
            Self::Sqlite(path) => sqlite(path).execute_batch(sql).unwrap(),
        }
    }
}

pub fn sqlite(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn
}

pub struct Scene {
    server: Option<Server>,
    pub address: SocketAddr,
    url: String,
    settings: Vec<(String, String)>,
    pub engine: Engine,
    // Last: what is in it must have ended before it goes.
    pub dir: Dir,
}

impl Scene {
    pub fn on_mariadb(settings: &[(&str, &str)]) -> Self {
        let dir = Dir::new();
        let database = MariaDb::start(dir.path(), &[]);
        Self::on(dir, Engine::MariaDb(database), settings)
    }

    pub fn on_sqlite(settings: &[(&str, &str)]) -> Self {
        let dir = Dir::new();
        let path = dir.path().join("tegata.db");
        Self::on(dir, Engine::Sqlite(path), settings)
    }

    pub fn on(dir: Dir, engine: Engine, settings: &[(&str, &str)]) -> Self {
        let url = match &engine {
            Engine::MariaDb(database) => database.url(),
            Engine::Sqlite(path) => format!("sqlite://{}", path.display()),
        };
        Self::by(dir, engine, url, settings)
    }

    /// The server reaches its database by `url`: through a proxy, say.
    pub fn by(dir: Dir, engine: Engine, url: String, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scene = Self { server: None, address, url, settings, engine, dir };
        scene.start();
        scene
    }

    /// Starts the server; it has another address each time. Gives the time that it took to announce itself.
    pub fn start(&mut self) -> Duration {
        assert!(self.server.is_none(), "it runs");
        let began = Instant::now();
        let server = Server::start(self.dir.path(), &self.environment());
        let took = began.elapsed();
        self.address = server.address;
        self.server = Some(server);
        took
    }

    /// For a server that the test starts in a way of its own.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        let mut environment = vec![
            ("SECRET_KEY", SECRET_KEY),
            ("DATABASE_URL", &*self.url),
            ("DATA_DIR", self.dir.path().to_str().unwrap()),
            ("SCRYPT_LOG_N", "4"),
            ("SCRYPT_P", "1"),
            ("ALLOW_WEAK_SCRYPT", "true"),
            ("RATE_LIMIT", "off"),
            ("HASH_THREADS", "2"),
        ];
        // A setting of the test's own replaces the suite's.
        for (name, value) in &self.settings {
            environment.retain(|(known, _)| known != name);
            environment.push((name, value));
        }
        environment
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    pub fn take_server(&mut self) -> Server {
        self.server.take().expect("the server runs")
    }

    /// Puts a server there that was started in another way.
    pub fn put_server(&mut self, server: Server) {
        self.address = server.address;
        self.server = Some(server);
    }

    /// Ends the server in an orderly way and hands over its log, in which nothing panicked.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        let server = self.take_server();
        server.signal(rustix::process::Signal::TERM);
        let (status, log) = server.wait();
        assert!(!log.contains("panicked"), "{log}");
        (status, log)
    }

    pub fn database(&mut self) -> &mut MariaDb {
        match &mut self.engine {
            Engine::MariaDb(database) => database,
            Engine::Sqlite(_) => panic!("a scene on SQLite has no server"),
        }
    }

    pub fn sqlite_path(&self) -> &Path {
        match &self.engine {
            Engine::Sqlite(path) => path,
            Engine::MariaDb(_) => panic!("a scene on MariaDB has no file"),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        client::get(self.address, path).unwrap()
    }

    /// Registers and signs in; gives the token.
    pub fn signed_in(&self, email: &str) -> String {
        let answer = client::register(self.address, email, PASSWORD).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        client::sign_in(self.address, email, PASSWORD).unwrap().token()
    }

    pub fn is_ready(&self) -> bool {
        client::get(self.address, "/readyz").is_ok_and(|answer| answer.status == 200)
    }

    pub fn until_ready(&self) -> Duration {
        wait::until(Duration::from_secs(20), "ready", || self.is_ready())
    }

    /// Resident memory of the server now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server().pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Good by the server's rules.
pub const PASSWORD: &str = "correct horse battery staple";
