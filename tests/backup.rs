//! A backup is one when somebody can sign in on what was restored from it (O-12). With the commands that
//! docs/operations.md names.

#[expect(dead_code, reason = "the fault matrix uses all of it")]
#[path = "faults/client.rs"]
mod client;
mod database;
mod process;
#[path = "faults/wait.rs"]
mod wait;

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{get, get_as, register, sign_in};
use database::TestDatabase;
use mysql::prelude::Queryable;
use process::{SECRET_KEY, Server, run};
use wait::until;

const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(url: &str) -> [(&str, &str); 6] {
    [
        ("DATABASE_URL", url),
        ("SECRET_KEY", SECRET_KEY),
        ("SCRYPT_LOG_N", "4"),
        ("SCRYPT_P", "1"),
        ("ALLOW_WEAK_SCRYPT", "true"),
        ("RATE_LIMIT", "off"),
    ]
}

/// People who register while something else goes on, and who of them was told that they are in.
#[derive(Default)]
struct Crowd {
    acknowledged: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Crowd {
    /// Runs `meanwhile` while three people at a time register at `address`.
    fn around(&self, address: SocketAddr, meanwhile: impl FnOnce()) {
        std::thread::scope(|scope| {
            for name in 0..3 {
                scope.spawn(move || {
                    for number in (0..).take_while(|_| !self.is_over.load(Ordering::Relaxed)) {
                        let email = format!("{name}.{number}@example.com");
                        assert_eq!(register(address, &email, PASSWORD).unwrap().status, 201);
                        self.acknowledged.lock().unwrap().push(email);
                    }
                });
            }
            // Also when it panics: the others would go on for ever.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
            self.is_over.store(true, Ordering::Relaxed);
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn so_far(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until `count` more are in.
    fn wait_for_more(&self, count: usize) {
        let before = self.so_far().len();
        until(PATIENCE, "people register", || self.so_far().len() >= before + count);
    }
}

/// Starts a server on what was restored: each of `people` signs in and is who they are, and somebody new can come.
fn serves(dir: &Path, url: &str, people: &[String]) {
    let server = Server::start(dir, &settings(url));
    until(PATIENCE, "it is ready", || get(server.address, "/readyz").unwrap().status == 200);
    for email in people {
        let answer = sign_in(server.address, email, PASSWORD).unwrap();
        assert_eq!(answer.status, 200, "{email} was told 201 before the backup began: {answer:?}");
        let me = get_as(server.address, "/api/user/me", &answer.token()).unwrap();
        assert_eq!(me.json()["email"], email.as_str());
    }
    assert_eq!(register(server.address, "somebody.new@example.com", PASSWORD).unwrap().status, 201);
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test.sh installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Both of SQLite's ways to copy a database that is in use.
#[test]
fn a_copy_of_sqlite_made_while_people_register_has_everybody_who_was_told_so() {
    let database = TestDatabase::create();
    let live = database.dir.join("live.db");
    let server = Server::start(&database.dir, &settings(&format!("sqlite://{}", live.display())));
    let crowd = Crowd::default();
    let mut copies = Vec::new();
    crowd.around(server.address, || {
        for (name, command) in [("vacuum", "VACUUM INTO '%'"), ("backup", ".backup '%'")] {
            crowd.wait_for_more(30);
            let people = crowd.so_far();
            let copy = database.dir.join(format!("{name}.db"));
            let command = command.replace('%', copy.to_str().unwrap());
            succeeds(Command::new("sqlite3").arg(&live).args([".timeout 5000", &command]));
            copies.push((copy, people));
        }
        crowd.wait_for_more(10);
    });
    drop(server);
    for (copy, people) in copies {
        assert_eq!(succeeds(Command::new("sqlite3").arg(&copy).arg("PRAGMA integrity_check")), "ok\n");
        // As the document says: the copy in the place of what was there, for its owner's eyes, beside the mark.
        let restored = copy.with_extension("restored");
        std::fs::create_dir(&restored).unwrap();
        let file = restored.join("tegata.db");
        std::fs::copy(&copy, &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        File::create(restored.join("tegata.db-made")).unwrap();
        serves(&restored, &format!("sqlite://{}", file.display()), &people);
    }
}

/// The other end of the drill: without the file, the server does not begin an empty one in its place.
#[test]
fn a_server_whose_file_is_gone_says_what_to_do_and_works_once_it_is_back() {
    let database = TestDatabase::create();
    let live = database.dir.join("live.db");
    let url = format!("sqlite://{}", live.display());
    let server = Server::start(&database.dir, &settings(&url));
    assert_eq!(register(server.address, "a@example.com", PASSWORD).unwrap().status, 201);
    let copy = database.dir.join("copy.db");
    succeeds(Command::new("sqlite3").arg(&live).arg(format!("VACUUM INTO '{}'", copy.display())));
    drop(server);
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(database.dir.join(format!("live.db{ending}")));
    }
    let refused = run(&database.dir, &settings(&url), &[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("live.db-made"), "{told}");
    assert!(!live.exists());
    std::fs::rename(&copy, &live).unwrap();
    serves(&database.dir, &url, &["a@example.com".to_owned()]);
}

/// Two databases on the MariaDB of scripts/test.sh, gone afterwards.
struct MariaDb {
    url: String,
    admin: mysql::Conn,
}

const FROM: &str = "tegata_backup_from";
const TO: &str = "tegata_backup_to";

impl MariaDb {
    #[expect(clippy::disallowed_methods, reason = "how scripts/test.sh says where its MariaDB is")]
    fn prepare() -> Self {
        let url = std::env::var("TEST_MARIADB_URL").expect("TEST_MARIADB_URL: run scripts/test.sh");
        let mut admin = mysql::Conn::new(url.as_str()).unwrap();
        for name in [FROM, TO] {
            admin.query_drop(format!("CREATE OR REPLACE DATABASE {name}")).unwrap();
        }
        Self { url, admin }
    }

    /// One of the clients, which reads the password from a file that only we can read.
    fn client(&self, program: &str, dir: &Path) -> Command {
        let options = mysql::Opts::from_url(&self.url).unwrap();
        let (user, password) = (options.get_user().unwrap(), options.get_pass().unwrap());
        let port = options.get_tcp_port();
        let settings =
            format!("[client]\nuser=\"{user}\"\npassword=\"{password}\"\nhost=localhost\nport={port}\nprotocol=tcp\n");
        let path = dir.join("client.cnf");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, settings.as_bytes()).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("--defaults-file={}", path.display()));
        command
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        for name in [FROM, TO] {
            let _ = self.admin.query_drop(format!("DROP DATABASE {name}"));
        }
    }
}

#[test]
fn a_dump_of_mariadb_made_while_people_register_has_everybody_who_was_told_so() {
    let database = TestDatabase::create();
    let dir = &database.dir;
    let mariadb = MariaDb::prepare();
    let url = |name| format!("{}{name}", mariadb.url);
    let server = Server::start(dir, &settings(&url(FROM)));
    until(PATIENCE, "it is ready", || get(server.address, "/readyz").unwrap().status == 200);
    let dump = dir.join("dump.sql");
    let crowd = Crowd::default();
    let mut people = Vec::new();
    crowd.around(server.address, || {
        crowd.wait_for_more(30);
        people = crowd.so_far();
        let mut command = mariadb.client("mariadb-dump", dir);
        succeeds(command.arg("--single-transaction").arg(FROM).stdout(File::create(&dump).unwrap()));
        crowd.wait_for_more(10);
    });
    drop(server);
    succeeds(mariadb.client("mariadb", dir).arg(TO).stdin(File::open(&dump).unwrap()));
    serves(dir, &url(TO), &people);
}
