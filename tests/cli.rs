//! The real binary: its commands, its settings, its files, how it starts and stops; and scripts/init.sh beside it.
//! Runs on SQLite, and on the server that `TEST_DATABASE_URL` names.

mod database;
mod process;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use database::TestDatabase;
use process::{SECRET_KEY, Server, run, tegata};
use rustix::process::Signal;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn environment(database: &TestDatabase) -> Vec<(&str, &str)> {
    vec![
        ("DATABASE_URL", &database.url),
        ("DATA_DIR", database.dir.to_str().unwrap()),
        ("SECRET_KEY", SECRET_KEY),
        ("SCRYPT_LOG_N", "4"),
        ("SCRYPT_P", "1"),
        ("ALLOW_WEAK_SCRYPT", "true"),
        ("RATE_LIMIT", "off"),
    ]
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn register(server: &Server, email: &str) -> u16 {
    let body = serde_json::json!({"email": email, "password": "correct horse battery staple"});
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    agent.post(server.url("/api/register")).send_json(body).map_or(0, |answer| answer.status().as_u16())
}

#[test]
fn help_explains_and_version_tells() {
    let dir = std::env::temp_dir();
    let help = text(&run(&dir, &[], &["--help"]));
    for word in ["serve", "migrate", "healthcheck", "SECRET_KEY", "DATABASE_URL", "http://127.0.0.1:8000/docs"] {
        assert!(help.contains(word), "{word} is missing in: {help}");
    }
    assert_eq!(text(&run(&dir, &[], &["--version"])), format!("tegata {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&dir, &[], &["dance"]).status.code(), Some(2));
}

/// Zero configuration: a first start makes the directory, the key and the database, for their owner's eyes only
/// (O-13); a second start finds them.
#[test]
fn a_first_start_needs_no_settings() {
    let database = TestDatabase::create();
    let dir = &database.dir;
    let server = Server::start(dir, &[]);
    for word in
        ["listening    http://127.0.0.1:", "/docs", "sqlite ./data/tegata.db", "./data/secret.key (made just now)"]
    {
        assert!(server.announcement.contains(word), "{word} is missing in: {}", server.announcement);
    }
    assert_eq!(register(&server, "a@example.com"), 201);
    let data = dir.join("data");
    assert_eq!((mode(&data), mode(&data.join("secret.key")), mode(&data.join("tegata.db"))), (0o700, 0o600, 0o600));
    assert_eq!(mode(&data.join("tegata.db-wal")), 0o600);
    let key = std::fs::read_to_string(data.join("secret.key")).unwrap();
    server.signal(Signal::TERM);
    assert!(server.wait().0.success());
    let again = Server::start(dir, &[]);
    assert!(again.announcement.contains("./data/secret.key\n"), "{}", again.announcement);
    assert_eq!(register(&again, "a@example.com"), 409);
    assert_eq!(std::fs::read_to_string(data.join("secret.key")).unwrap(), key);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let database = TestDatabase::create();
    drop(Server::start(&database.dir, &[]));
    let key = database.dir.join("data/secret.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(&database.dir, &[("BIND_ADDR", "127.0.0.1:0")], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("chmod 600"), "{}", text(&output));
}

/// O-15: every problem at once, by name, from the environment and from `.env`, and no secret's value.
#[test]
fn mistakes_in_the_settings_are_told_at_once() {
    let database = TestDatabase::create();
    std::fs::write(
        database.dir.join(".env"),
        "DB_THREAD=3\nLOG_FORMAT=text\nLOG_FORMAT=json\nSECRET_KEY=hush-in-the-file\nMYSQL_ROOT_PASSWORD=somebody-elses\nHASH_THREADS='unclosed hush\n",
    )
    .unwrap();
    let output = run(&database.dir, &[("DATABASE_URL", "mysql://me:hush@db/app?ssl=on"), ("SCRYPT_LOG_N", "3")], &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output);
    for word in [
        "DB_THREAD in .env is not a setting; is DB_THREADS meant?",
        "SECRET_KEY",
        "DATABASE_URL",
        "HASH_THREADS",
        "LOG_FORMAT is in .env twice",
        "OWASP",
    ] {
        assert!(told.contains(word), "{word} is missing in: {told}");
    }
    assert!(!told.contains("hush") && !told.contains("MYSQL_ROOT_PASSWORD"), "{told}");
}

/// F-33: hashing must fit into memory, or the start is refused.
#[test]
fn more_hash_memory_than_there_is_is_refused() {
    let database = TestDatabase::create();
    let greedy =
        [environment(&database).as_slice(), &[("SCRYPT_LOG_N", "17"), ("SCRYPT_R", "8"), ("HASH_THREADS", "256")]]
            .concat();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 256 << 17, "this machine has so much memory that the test needs larger figures");
    let output = run(&database.dir, &greedy, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("lower HASH_THREADS"), "{}", text(&output));
}

#[test]
fn settings_come_from_the_environment_then_from_dotenv_and_secrets_from_files() {
    let database = TestDatabase::create();
    std::fs::write(database.dir.join("key"), format!("{SECRET_KEY}\n")).unwrap();
    std::fs::write(
        database.dir.join(".env"),
        "SECRET_KEY_FILE=key\nDATA_DIR=from-dotenv\nDATABASE_URL=sqlite://other.db\n",
    )
    .unwrap();
    let server = Server::start(&database.dir, &[("DATABASE_URL", "sqlite://mine.db")]);
    assert!(server.announcement.contains("sqlite mine.db"), "{}", server.announcement);
    assert!(server.announcement.contains("signing key  SECRET_KEY\n"), "{}", server.announcement);
    assert!(database.dir.join("from-dotenv").is_dir() && !database.dir.join("other.db").exists());
}

#[test]
fn migrate_makes_the_schema_and_the_server_is_healthy_on_it() {
    let database = TestDatabase::create();
    let environment = environment(&database);
    let first = run(&database.dir, &environment, &["migrate"]);
    assert!(
        first.status.success() && text(&first).contains("applied 0000_schema_migrations, 0001_users, "),
        "{}",
        text(&first)
    );
    let second = run(&database.dir, &environment, &["migrate"]);
    assert!(second.status.success() && text(&second).contains("up to date"), "{}", text(&second));

    let server = Server::start(&database.dir, &environment);
    let address = server.address.to_string();
    let here = [environment.as_slice(), &[("BIND_ADDR", &address)]].concat();
    let healthy = run(&database.dir, &here, &["healthcheck"]);
    assert!(healthy.status.success() && text(&healthy).contains("database: ok"), "{}", text(&healthy));
    database.execute("DROP TABLE users");
    assert_eq!(run(&database.dir, &here, &["healthcheck"]).status.code(), Some(1));
    assert!(run(&database.dir, &here, &["healthcheck", "--live"]).status.success());
    drop(server);
    assert_eq!(run(&database.dir, &here, &["healthcheck", "--live"]).status.code(), Some(1));
}

/// O-10, F-37: five replicas on an empty database are one migration, and all serve.
#[test]
fn five_replicas_start_at_once_on_an_empty_database() {
    let database = TestDatabase::create();
    let environment = environment(&database);
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..5).map(|_| scope.spawn(|| Server::start(&database.dir, &environment))).collect();
        starting.into_iter().map(|server| server.join().unwrap()).collect()
    });
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(register(server, &format!("{number}@example.com")), 201);
    }
    assert_eq!(database.column("SELECT COUNT(*) FROM users"), ["5"]);
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/sqlite")).unwrap().count();
    assert_eq!(database.column("SELECT COUNT(*) FROM schema_migrations"), [files.to_string()]);
    let applied = servers.into_iter().map(|server| {
        server.signal(Signal::TERM);
        let (status, log) = server.wait();
        assert!(status.success(), "{log}");
        log.matches("0001_users").count()
    });
    assert_eq!(applied.sum::<usize>(), 1);
}

/// Two servers that start at once without settings agree on one key.
#[test]
fn servers_that_start_at_once_share_the_key_that_one_of_them_made() {
    let database = TestDatabase::create();
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| Server::start(&database.dir, &[]))).collect();
        starting.into_iter().map(|server| server.join().unwrap()).collect()
    });
    assert_eq!(register(&servers[0], "a@example.com"), 201);
    let form = [("username", "a@example.com"), ("password", "correct horse battery staple")];
    let issued: serde_json::Value =
        ureq::post(servers[1].url("/api/token")).send_form(form).unwrap().body_mut().read_json().unwrap();
    for server in &servers {
        let bearer = format!("Bearer {}", issued["access_token"].as_str().unwrap());
        assert_eq!(ureq::get(server.url("/api/user/me")).header("authorization", bearer).call().unwrap().status(), 200);
    }
    assert_eq!(servers.iter().filter(|server| server.announcement.contains("made just now")).count(), 1);
}

/// The plain client makes what the binary would have made: running the script twice changes nothing, and the binary
/// finds nothing left to do.
#[test]
fn init_sh_makes_the_schema_that_the_server_accepts() {
    let database = TestDatabase::create();
    let init = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/init.sh");
        let output = Command::new(script).env("DATABASE_URL", &database.url).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert!(init().contains("applied 0001_users"));
    let record = || database.column("SELECT applied_at FROM schema_migrations ORDER BY version");
    let before = record();
    assert_eq!(init(), "the schema is up to date\n");
    assert_eq!(record(), before);
    let migrated = run(&database.dir, &environment(&database), &["migrate"]);
    assert!(text(&migrated).contains("up to date"), "{}", text(&migrated));
    let server = Server::start(&database.dir, &environment(&database));
    assert_eq!(register(&server, "a@example.com"), 201);
}

/// T-14, F-17: SIGTERM while registrations are under way: each that was answered 201 is there, and the exit is clean.
#[test]
fn sigterm_loses_nothing_that_was_acknowledged() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &environment(&database));
    let acknowledged = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let server = &server;
                scope.spawn(move || {
                    let emails = (0..).map(|number| format!("{client}-{number}@example.com"));
                    // Until the server answers no more.
                    emails.take_while(|email| register(server, email) == 201).count()
                })
            })
            .collect();
        while database.column("SELECT COUNT(*) FROM users")[0].parse::<u32>().unwrap() < 50 {}
        server.signal(Signal::TERM);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let (status, log) = server.wait();
    assert!(status.success() && log.contains("nothing left undone"), "{log}");
    let there: usize = database.column("SELECT COUNT(*) FROM users")[0].parse().unwrap();
    assert!(there >= acknowledged && acknowledged >= 50, "{acknowledged} acknowledged, {there} there");
}

/// Closed standard output is no reason to die; JSON is for machines.
#[test]
fn logs_are_json_when_asked_for() {
    let database = TestDatabase::create();
    let environment =
        [environment(&database).as_slice(), &[("LOG_FORMAT", "json"), ("BIND_ADDR", "127.0.0.1:0")]].concat();
    let mut child = tegata(&database.dir, &environment, &[])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let listening = lines.find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        (line["message"] == "listening").then_some(line)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(listening.unwrap()["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}
