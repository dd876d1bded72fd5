//! A database server that has a password.

use mysql::prelude::Queryable;

use crate::CHEAP;
use crate::process::SECRET_KEY;

/// A database on the MariaDB of scripts/test.sh, and a user of its own who may do everything there; gone afterwards.
pub struct Account {
    pub admin: mysql::Conn,
    pub name: &'static str,
    url: String,
}

pub const PASSWORD: &str = "Sesame-heron-93-cobalt";

impl Account {
    #[expect(clippy::disallowed_methods, reason = "how scripts/test.sh says where its MariaDB is")]
    pub fn create(name: &'static str) -> Self {
        let url = std::env::var("TEST_MARIADB_URL").expect("TEST_MARIADB_URL: run scripts/test.sh");
        let port = mysql::Opts::from_url(&url).unwrap().get_tcp_port();
        let mut admin = mysql::Conn::new(url.as_str()).unwrap();
        for statement in [
            format!("CREATE OR REPLACE DATABASE {name}"),
            format!("CREATE OR REPLACE USER {name}@localhost IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT ALL ON {name}.* TO {name}@localhost"),
        ] {
            admin.query_drop(statement).unwrap();
        }
        Self { admin, name, url: format!("mysql://{name}:{PASSWORD}@localhost:{port}/{name}") }
    }

    pub fn settings(&self) -> Vec<(&str, &str)> {
        [CHEAP.as_slice(), &[("SECRET_KEY", SECRET_KEY), ("DATABASE_URL", &self.url)]].concat()
    }

    pub fn end_every_connection(&mut self) {
        let ids = format!("SELECT id FROM information_schema.processlist WHERE user = '{}'", self.name);
        for id in self.admin.query::<u64, _>(ids).unwrap() {
            let _ = self.admin.query_drop(format!("KILL {id}"));
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = self.admin.query_drop(format!("DROP USER {}@localhost", self.name));
        let _ = self.admin.query_drop(format!("DROP DATABASE {}", self.name));
    }
}
