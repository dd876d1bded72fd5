//! A database of a test's own: a temporary SQLite file, or on the server that `TEST_DATABASE_URL` names a database
//! that is dropped afterwards. Also a direct way in, to look at rows and to damage them.
#![allow(dead_code, clippy::allow_attributes, reason = "each suite that includes this uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mysql::prelude::Queryable;

pub struct TestDatabase {
    /// For `DATABASE_URL`.
    pub url: String,
    /// For `DATA_DIR`; removed afterwards.
    pub dir: PathBuf,
    /// The server's address without a database, and the database's name.
    server: Option<(String, String)>,
}

/// The database server to test on; `None`: SQLite.
#[expect(clippy::disallowed_methods, reason = "how scripts/test.sh says which engine a run is for")]
pub fn server_url() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok()
}

impl TestDatabase {
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tegata_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        match server_url() {
            None => Self { url: format!("sqlite://{}", dir.join("test.db").display()), dir, server: None },
            Some(server) => {
                let mut conn = mysql::Conn::new(server.as_str()).expect("TEST_DATABASE_URL must answer");
                conn.query_drop(format!("CREATE DATABASE {name}")).unwrap();
                let (address, query) = server.split_once('?').unwrap_or((&server, ""));
                let separator = if query.is_empty() { "" } else { "?" };
                let url = format!("{}/{name}{separator}{query}", address.trim_end_matches('/'));
                Self { url, dir, server: Some((server, name)) }
            }
        }
    }

    pub fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    pub fn sqlite_path(&self) -> &Path {
        Path::new(self.url.strip_prefix("sqlite://").expect("a test for SQLite"))
    }

    /// Runs one statement as somebody other than the server would.
    pub fn execute(&self, sql: &str) {
        if self.is_sqlite() {
            self.sqlite().execute_batch(sql).unwrap();
        } else {
            mysql::Conn::new(self.url.as_str()).unwrap().query_drop(sql).unwrap();
        }
    }

    /// The first column of each row, as text; NULL as `NULL`.
    pub fn column(&self, sql: &str) -> Vec<String> {
        if self.is_sqlite() {
            let conn = self.sqlite();
            let mut statement = conn.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| {
                Ok(match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                    rusqlite::types::ValueRef::Integer(int) => int.to_string(),
                    other => String::from_utf8_lossy(other.as_bytes()?).into_owned(),
                })
            });
            rows.unwrap().map(Result::unwrap).collect()
        } else {
            let rows: Vec<mysql::Row> = mysql::Conn::new(self.url.as_str()).unwrap().query(sql).unwrap();
            rows.into_iter()
                .map(|row| match row.unwrap().swap_remove(0) {
                    mysql::Value::NULL => "NULL".to_owned(),
                    mysql::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    other => other.as_sql(true),
                })
                .collect()
        }
    }

    fn sqlite(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.sqlite_path()).unwrap();
        conn.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        conn
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.server
            && let Ok(mut conn) = mysql::Conn::new(server.as_str())
        {
            let _ = conn.query_drop(format!("DROP DATABASE {name}"));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
