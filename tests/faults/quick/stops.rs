//! The server itself ends: asked to, killed, while it starts.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use rustix::process::Signal;

use crate::client::{self, Silence, Wire, get, registration};
use crate::load::Load;
use crate::mariadb::MariaDb;
use crate::process::{Server, tegata};
use crate::proxy::{Line, Proxy};
use crate::report;
use crate::scene::{Dir, Engine, PASSWORD, Scene, sqlite};
use crate::wait::{pause, until};

/// What a client behind a load balancer may do: keep its connection until an answer closes it, and open no new one
/// once `/readyz` says no.
fn work_until_told(scene: &Scene, client: usize, is_stopping: &AtomicBool) -> Result<usize, String> {
    let mut acknowledged = 0;
    let mut number = 0;
    while !is_stopping.load(Ordering::Relaxed) {
        let mut wire = match Wire::open(scene.address) {
            Ok(wire) => wire,
            // Also a reset: there was no connection yet, and nothing had been asked.
            Err(Silence::Refused | Silence::Reset) => return Ok(acknowledged),
            Err(silence) => return Err(format!("{silence:?} on connecting")),
        };
        loop {
            number += 1;
            let request = registration(&format!("c{client}-{number}@example.com"), PASSWORD);
            let answer = wire.send(&request).and_then(|()| wire.answer());
            match answer {
                Ok(answer) => {
                    acknowledged += usize::from(answer.status == 201);
                    if ![201, 503].contains(&answer.status) {
                        return Err(format!("{answer:?}"));
                    }
                    // Every other client opens a connection a request.
                    if answer.closes() || client % 2 == 0 {
                        break;
                    }
                }
                Err(silence) => return Err(format!("{silence:?} after {acknowledged}, client {client}")),
            }
        }
    }
    Ok(acknowledged)
}

fn stop_under_load(scene: &mut Scene, engine: &str) {
    scene.until_ready();
    let is_stopping = AtomicBool::new(false);
    let (outcomes, took) = std::thread::scope(|scope| {
        let scene: &Scene = scene;
        let is_stopping = &is_stopping;
        let clients: Vec<_> =
            (0..16).map(|client| scope.spawn(move || work_until_told(scene, client, is_stopping))).collect();
        // The load balancer: it asks often, and sends nobody any more after the first no.
        scope.spawn(move || {
            while get(scene.address, "/readyz").is_ok_and(|answer| answer.status == 200) {
                pause(Duration::from_millis(20));
            }
            is_stopping.store(true, Ordering::Relaxed);
        });
        pause(Duration::from_secs(2));
        scene.server().signal(Signal::TERM);
        let told = Instant::now();
        let outcomes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (outcomes, told)
    });
    let (status, log) = scene.take_server().wait();
    let took = took.elapsed();
    let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let acknowledged: usize = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).sum();
    let there = scene.engine.rows().len();
    report::line(
        "F-17",
        &format!("SIGTERM under load, {engine}"),
        &format!("{acknowledged} registrations acknowledged, 0 resets"),
        &acknowledged.saturating_sub(there).to_string(),
        &format!("exit after {} ms", took.as_millis()),
    );
    assert!(status.success(), "{status:?} {log}");
    assert!(acknowledged > 50 && there >= acknowledged, "{acknowledged} acknowledged, {there} there");
    assert!(took < Duration::from_secs(7), "the deadline and a second, and one more: {took:?}");
}

#[test]
fn f17_sigterm_under_load_on_sqlite() {
    stop_under_load(&mut Scene::on_sqlite(&[]), "SQLite");
}

#[test]
fn f17_sigterm_under_load_on_mariadb() {
    stop_under_load(&mut Scene::on_mariadb(&[]), "MariaDB");
}

/// The database hangs, so nothing under way can end well: it ends with 503, and the server is gone in time.
#[test]
fn f18_sigterm_while_the_database_is_stalled() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(1));
    scene.database().signal(Signal::STOP);
    pause(Duration::from_millis(500));
    let under_way = Instant::now();
    let server = scene.take_server();
    server.signal(Signal::TERM);
    let (status, log) = server.wait();
    let took = under_way.elapsed();
    scene.database().signal(Signal::CONT);
    let ledger = load.stop();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(status.code().is_some(), "{status:?} {log}");
    // What began before the signal is answered; what came later may find the door closing.
    let unanswered: Vec<_> = ledger.select(|attempt| attempt.began < under_way && attempt.outcome.is_err()).collect();
    assert!(unanswered.is_empty(), "{} of those under way got no answer: {:?}", unanswered.len(), unanswered[0]);
    scene.start();
    scene.until_ready();
    let verdict = ledger.settle_with(scene.address, || scene.engine.rows(), |_| true);
    report::row("F-18", "SIGTERM while MariaDB is stalled", &ledger, verdict.lost, None);
    verdict.expect_clean();
}

/// SIGINT ends it at once, SIGHUP (the terminal is gone) not at all, and a second SIGTERM is for those who cannot
/// wait. None of them costs an acknowledged row.
#[test]
fn f19_other_signals() {
    let mut scene = Scene::on_sqlite(&[]);
    scene.signed_in("a@example.com");
    scene.server().signal(Signal::HUP);
    pause(Duration::from_millis(300));
    assert_eq!(scene.get("/livez").status, 200, "SIGHUP ends nothing");
    let told = Instant::now();
    let server = scene.take_server();
    server.signal(Signal::INT);
    let _ = server.wait();
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    scene.start();
    // A request that never ends keeps the first one waiting.
    let mut slow = Wire::open(scene.address).unwrap();
    slow.send(
        b"POST /api/register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    )
    .unwrap();
    pause(Duration::from_millis(200));
    let server = scene.take_server();
    server.signal(Signal::TERM);
    pause(Duration::from_millis(300));
    server.signal(Signal::TERM);
    let told = Instant::now();
    let _ = server.wait();
    let took = told.elapsed();
    assert!(took < Duration::from_secs(2), "the second SIGTERM is obeyed at once: {took:?}");
    scene.start();
    assert_eq!(scene.engine.rows().len(), 1);
    assert_eq!(client::sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status, 200);
    scene.stop();
}

fn five_replicas(mut scene: Scene, engine: &str) {
    let first = scene.take_server();
    first.signal(Signal::TERM);
    let _ = first.wait();
    scene.engine.drop_all_tables();
    let began = Instant::now();
    let environment = scene.environment();
    let dir = scene.dir.path();
    let replicas: Vec<Server> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..5).map(|_| scope.spawn(|| Server::start(dir, &environment))).collect();
        starting.into_iter().map(|replica| replica.join().unwrap()).collect()
    });
    for replica in &replicas {
        until(Duration::from_secs(10), "every replica ready", || {
            get(replica.address, "/readyz").is_ok_and(|answer| answer.status == 200)
        });
    }
    let took = began.elapsed();
    for (number, replica) in replicas.iter().enumerate() {
        let answer = client::register(replica.address, &format!("r{number}@example.com"), PASSWORD).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(scene.engine.rows().len(), 5);
    let migrated: usize = replicas
        .into_iter()
        .map(|replica| {
            replica.signal(Signal::TERM);
            let (status, log) = replica.wait();
            assert!(status.success(), "{log}");
            log.matches("0001_users").count()
        })
        .sum();
    assert_eq!(migrated, 1, "one of them made the schema");
    let fault = format!("five replicas start on an empty database, {engine}");
    report::line("F-37", &fault, "-", "-", &format!("all ready after {} ms", took.as_millis()));
    assert!(took < Duration::from_secs(10), "five seconds, doubled: {took:?}");
}

#[test]
fn f37_five_replicas_on_mariadb() {
    five_replicas(Scene::on_mariadb(&[]), "MariaDB");
}

#[test]
fn f37_five_replicas_on_sqlite() {
    five_replicas(Scene::on_sqlite(&[]), "SQLite");
}

/// How much of the schema there is: tables, and files on record.
fn schema(scene: &Scene) -> (u32, u32) {
    const RECORDED: &str = "SELECT COUNT(*) FROM schema_migrations";
    match &scene.engine {
        Engine::MariaDb(database) => {
            let mut root = database.root();
            let tables: Vec<String> = root.query("SHOW TABLES FROM tegata").unwrap();
            root.query_drop("USE tegata").unwrap();
            let recorded: Option<u32> = root.query_first(RECORDED).unwrap_or_default();
            (u32::try_from(tables.len()).unwrap(), recorded.unwrap_or_default())
        }
        Engine::Sqlite(path) => {
            let conn = sqlite(path);
            let count = |sql| conn.query_row(sql, [], |row| row.get(0)).unwrap_or_default();
            (
                count("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"),
                count(RECORDED),
            )
        }
    }
}

/// Killed while it makes the schema, at moments spread over the time that it takes: the next start finishes the work
/// by itself. Gives what the kills left behind, nothing and the whole left out.
fn killed_while_migrating(mut scene: Scene) -> BTreeSet<(u32, u32)> {
    scene.stop();
    let migrate = |scene: &Scene| {
        let mut command = tegata(scene.dir.path(), &scene.environment(), &["migrate"]);
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    // The fastest of three: the machine has others to serve, and a moment after the end is none.
    let times = (0..3).map(|_| {
        scene.engine.drop_all_tables();
        let began = Instant::now();
        assert!(migrate(&scene).wait().unwrap().success());
        began.elapsed()
    });
    let time = times.min().unwrap();
    let whole = schema(&scene);
    let mut left = BTreeSet::new();
    let mut interrupted = 0;
    for step in 0..12 {
        scene.engine.drop_all_tables();
        let mut child = migrate(&scene);
        pause(time * step / 12);
        interrupted += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        let _ = child.wait();
        left.insert(schema(&scene));
        scene.start();
        scene.until_ready();
        assert_eq!(schema(&scene), whole, "ready means that every table is there");
        scene.signed_in("a@example.com");
        assert_eq!(scene.engine.rows().len(), 1);
        let (status, log) = scene.stop();
        assert!(status.success(), "{log}");
    }
    let fault = format!("killed {interrupted} times during migration");
    report::line("F-38", &fault, &format!("left behind (tables, files on record): {left:?}"), "-", "at the next start");
    assert!(interrupted >= 4, "the fault took place {interrupted} times");
    left.retain(|state| ![(0, 0), whole].contains(state));
    left
}

/// Over a slow line, so that there is time to kill it between two statements.
#[test]
fn f38_killed_during_migration_on_mariadb() {
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let scene = Scene::by(dir, Engine::MariaDb(database), MariaDb::url_at(proxy.port), &[]);
    scene.until_ready();
    proxy.set(Line::Slow(Duration::from_millis(15)));
    let left = killed_while_migrating(scene);
    assert!(!left.is_empty(), "none was killed half-way");
}

/// One transaction: all or nothing.
#[test]
fn f38_killed_during_migration_on_sqlite() {
    let left = killed_while_migrating(Scene::on_sqlite(&[]));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn f16_killed_mid_register_on_sqlite() {
    crate::crashes::f16(Scene::on_sqlite(&[]), 5);
}

#[test]
fn f16_killed_mid_register_on_mariadb() {
    crate::crashes::f16(Scene::on_mariadb(&[]), 5);
}
