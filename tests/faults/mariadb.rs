//! A MariaDB of a test's own, which the test may kill, stop and start again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::pause;

const PASSWORD: &str = "p%40ss%20w%2Ford";
/// Smaller than the default, so that a copy of the template is quick.
const LOG_SIZE: &str = "--innodb-log-file-size=8M";

pub struct MariaDb {
    dir: PathBuf,
    pub port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

/// As root it has to be told that this is meant.
fn as_root() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

#[expect(clippy::disallowed_methods, reason = "Debian keeps the server outside an ordinary user's PATH")]
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin")).stdin(Stdio::null());
    command
}

/// An installed, empty data directory; made once and kept with the build, since it takes seconds.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mariadb-template");
        if !path.exists() {
            let new = path.with_extension(std::process::id().to_string());
            let mut install = program("mariadb-install-db");
            install.arg("--no-defaults").arg(format!("--datadir={}", new.display())).args(as_root());
            install.args(["--auth-root-authentication-method=normal", "--skip-test-db", LOG_SIZE]);
            let output = install.output().expect("mariadb-install-db must be installed (scripts/test.sh does)");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            // Whole or not there; whoever comes second throws his away.
            if std::fs::rename(&new, &path).is_err() {
                let _ = std::fs::remove_dir_all(&new);
            }
        }
        path
    })
}

/// Below the kernel's range for outgoing connections, so that nobody takes it while the database is down.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 97).unwrap() * 100;
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl MariaDb {
    /// In `dir`, with a database and a user `tegata` that has every right on it and none beyond.
    pub fn start(dir: &Path, options: &[&str]) -> Self {
        let dir = dir.join("mariadb");
        let copied = Command::new("cp").arg("-a").arg(template()).arg(&dir).status().unwrap();
        assert!(copied.success());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut database = Self { dir, port: free_port(), options, process: None };
        database.start_again();
        let mut root = database.root();
        for sql in [
            "CREATE DATABASE tegata",
            "CREATE USER tegata@'127.0.0.1' IDENTIFIED BY 'p@ss w/ord'",
            "GRANT ALL ON tegata.* TO tegata@'127.0.0.1'",
        ] {
            root.query_drop(sql).unwrap();
        }
        database
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// The same by another door.
    pub fn url_at(port: u16) -> String {
        format!("mysql://tegata:{PASSWORD}@127.0.0.1:{port}/tegata")
    }

    /// Starts it on its port; gives the moment from which on it accepts.
    pub fn start_again(&mut self) -> Instant {
        assert!(self.process.is_none(), "it runs");
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("faults.log")).unwrap();
        let mut command = program("mariadbd");
        command
            .arg("--no-defaults")
            .args(as_root())
            .args([LOG_SIZE, "--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=200"])
            // What was acknowledged must survive: the suite is about that.
            .args(["--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=32M"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--datadir={}", self.dir.display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.dir.join("m.pid").display()))
            .args(&self.options)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().expect("mariadbd must be installed (scripts/test.sh does)"));
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let is_over = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(is_over.is_none() && began.elapsed() < Duration::from_secs(30), "{is_over:?}: {}", self.log());
            pause(Duration::from_millis(10));
        }
        let accepts = Instant::now();
        // The administrator's socket opens a moment after the port.
        while Conn::new(self.administrator()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", self.log());
            pause(Duration::from_millis(10));
        }
        accepts
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// An orderly end, as on an upgrade.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.process.take().expect("it runs").wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process.as_ref().expect("it runs")), signal).unwrap();
    }

    /// A connection of the administrator's, past any proxy; also when no more connections are allowed.
    pub fn root(&self) -> Conn {
        Conn::new(self.administrator()).unwrap()
    }

    fn administrator(&self) -> OptsBuilder {
        OptsBuilder::new().user(Some("root")).socket(Some(self.socket().display().to_string()))
    }

    pub fn execute(&self, sql: &str) {
        self.root().query_drop(sql).unwrap();
    }

    /// The ids of the connections that the server under test holds.
    pub fn connections(&self) -> Vec<u64> {
        self.root().query("SELECT id FROM information_schema.processlist WHERE user = 'tegata'").unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("m.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("faults.log")).unwrap_or_default()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
