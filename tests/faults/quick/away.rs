//! The database is away: killed, restarted, unreachable, slow.

use std::time::{Duration, Instant};

use crate::ledger::Attempt;
use crate::load::Load;
use crate::mariadb::MariaDb;
use crate::proxy::{Line, Proxy};
use crate::scene::{Dir, Engine, Scene};
use crate::wait::{pause, until};
use crate::{client, load, report};

/// Through a proxy of the test's own.
fn behind_a_proxy() -> (Scene, Proxy) {
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let url = MariaDb::url_at(proxy.port);
    let scene = Scene::by(dir, Engine::MariaDb(database), url, &[]);
    scene.until_ready();
    (scene, proxy)
}

#[test]
fn f01_the_database_is_killed() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(2));
    scene.database().kill();
    let killed = Instant::now();
    let noticed = until(Duration::from_secs(2), "readyz says so", || !scene.is_ready());
    pause(Duration::from_secs(3).saturating_sub(noticed));
    let accepts = scene.database().start_again();
    pause(Duration::from_secs(6));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(accepts);
    report::row("F-01", "MariaDB is killed (kill -9) for 3 s", &ledger, verdict.lost, Some(first));
    verdict.expect_clean();
    let outage = |attempt: &Attempt| attempt.began > killed && attempt.ended() < accepts;
    assert!(ledger.slowest(|attempt| attempt.status() == Some(503)) < Duration::from_secs(3));
    // After the breaker has opened nobody waits for it: 50 ms, doubled.
    let settled = |attempt: &Attempt| outage(attempt) && attempt.began > killed + Duration::from_secs(2);
    let slow = ledger.slowest(|attempt| settled(attempt) && attempt.action.needs_database());
    assert!(slow < Duration::from_millis(100), "refused after {slow:?}");
    let answered = ledger.count(|attempt| outage(attempt) && attempt.status() == Some(503));
    assert!(answered > 50, "only {answered} were refused while it was away: the others waited");
    let stateless = ledger.slowest(|attempt| settled(attempt) && !attempt.action.needs_database());
    assert!(stateless < Duration::from_millis(100), "{stateless:?}");
    assert!(first < Duration::from_secs(2), "first good answer {first:?} after the database was back");
    let last = ledger.last_bad_after(accepts);
    assert!(last < Duration::from_secs(5), "still refused {last:?} after the database was back");
    scene.stop();
}

/// The pool's connections are dead and the database is well: who notices, and for how long.
#[test]
fn f02_the_database_restarts_while_nobody_asks() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    load::hold(scene.address, 50, Duration::from_secs(2)).settle(scene.address, || scene.engine.rows()).expect_clean();
    // The next ledger knows only its own accounts.
    scene.engine.execute("DELETE FROM users");
    scene.database().stop();
    pause(Duration::from_secs(3));
    let accepts = scene.database().start_again();
    let idle = Duration::from_secs(1);
    pause(idle);
    let ledger = load::hold(scene.address, 50, Duration::from_secs(3));
    let (reads, all) = (
        ledger.count(|attempt| attempt.action.is_read() && !attempt.is_well()),
        ledger.count(|attempt| !attempt.is_well()),
    );
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(accepts).saturating_sub(idle);
    report::row("F-02", "MariaDB restarts, the pool is stale", &ledger, verdict.lost, Some(first));
    verdict.expect_clean();
    assert_eq!(reads, 0, "a stale connection costs no read");
    assert!(all <= 4, "{all} noticed, the pool has 4");
    scene.stop();
}

#[test]
fn f04_a_slow_line_costs_time_and_nothing_else() {
    let (scene, proxy) = behind_a_proxy();
    proxy.set(Line::Slow(Duration::from_millis(100)));
    let ledger = load::hold(scene.address, 5, Duration::from_secs(6));
    proxy.set(Line::Clear);
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-04", "100 ms of delay each way", &ledger, verdict.lost, None);
    verdict.expect_clean();
    assert_eq!(ledger.count(|attempt| !attempt.is_well()), 0);
    assert!(ledger.slowest(|_| true) < Duration::from_millis(2500));
}

/// Nobody knows whether it happened, and the client hears just that: 503, and trying again tells.
#[test]
fn f05_the_connection_is_cut_during_commit() {
    for (line, is_there) in [(Line::CutBeforeCommit, false), (Line::CutAfterCommit, true)] {
        let (scene, proxy) = behind_a_proxy();
        scene.signed_in("first@example.com");
        proxy.set(line);
        let answer = client::register(scene.address, "a@example.com", "correct horse battery staple").unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert_eq!(proxy.hits(), 1, "the fault took place once, and nothing was tried again blindly");
        proxy.set(Line::Clear);
        assert_eq!(scene.engine.rows().iter().any(|row| row.email == "a@example.com"), is_there, "{line:?}");
        let again = || client::register(scene.address, "a@example.com", "correct horse battery staple").unwrap().status;
        until(Duration::from_secs(2), "no 503 any more", || again() != 503);
        assert_eq!(again(), 409);
        let opens = client::sign_in(scene.address, "a@example.com", "correct horse battery staple").unwrap();
        assert_eq!(opens.status, 200);
    }
}

/// The same under load: whatever the moment, nothing is lost and nothing is there twice.
#[test]
fn f05_commits_are_cut_under_load() {
    let (scene, proxy) = behind_a_proxy();
    let load = Load::start(scene.address, 50);
    for line in [Line::CutBeforeCommit, Line::CutAfterCommit, Line::CutBeforeCommit, Line::CutAfterCommit] {
        pause(Duration::from_millis(300));
        proxy.set(line);
        pause(Duration::from_millis(500));
        proxy.set(Line::Clear);
    }
    let cleared = Instant::now();
    pause(Duration::from_secs(2));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(cleared);
    report::row("F-05", "connections are cut during COMMIT", &ledger, verdict.lost, Some(first));
    assert!(proxy.hits() > 4, "{} commits were cut", proxy.hits());
    verdict.expect_clean();
    assert!(ledger.last_bad_after(cleared) < Duration::from_secs(2));
}

#[test]
fn f06_the_database_is_down_when_we_start() {
    let mut scene = Scene::on_mariadb(&[]);
    let (status, _) = scene.stop();
    assert!(status.success());
    scene.database().stop();
    let took = scene.start();
    assert!(took < Duration::from_secs(2), "up after {took:?}");
    assert_eq!((scene.get("/livez").status, scene.get("/readyz").status), (200, 503));
    assert_eq!(scene.get("/api/is_logined").status, 200);
    pause(Duration::from_secs(3));
    scene.database().start_again();
    let ready = scene.until_ready();
    report::line("F-06", "MariaDB is down at our start", "-", "-", &format!("{} ms", ready.as_millis()));
    assert!(ready < Duration::from_secs(2), "ready after {ready:?}");
    scene.signed_in("a@example.com");
    let (_, log) = scene.stop();
    let is_complaint = |line: &&str| line.contains("WARN") && !line.contains("tegata::request");
    let told = log.lines().filter(is_complaint).count();
    assert!((1..=8).contains(&told), "once a second, and it was away for four: {log}");
}
