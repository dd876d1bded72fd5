//! The database is away for longer: stopped, behind a slow line, losing connections one by one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::get_as;
use crate::ledger::Attempt;
use crate::load::{self, Load};
use crate::mariadb::MariaDb;
use crate::proxy::{Line, Proxy};
use crate::report;
use crate::scene::{Dir, Engine, Scene};
use crate::wait::pause;

/// T-1. A stopped process acknowledges packets for ever: only time-outs end the wait.
#[test]
fn f03_the_database_is_stopped_and_goes_on() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(2));
    scene.database().signal(Signal::STOP);
    let stopped = Instant::now();
    pause(Duration::from_secs(20));
    scene.database().signal(Signal::CONT);
    let goes_on = Instant::now();
    pause(Duration::from_secs(6));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(goes_on);
    report::row("F-03", "MariaDB is stopped (SIGSTOP) for 20 s", &ledger, verdict.lost, Some(first));
    verdict.expect_clean();
    // Each 503 within three seconds, doubled; and no pile-up behind them.
    let slowest = ledger.slowest(|attempt| attempt.status() == Some(503));
    assert!(slowest < Duration::from_secs(6), "{slowest:?}");
    let outage = |attempt: &Attempt| attempt.began > stopped && attempt.ended() < goes_on;
    let refused = ledger.count(|attempt| outage(attempt) && attempt.status() == Some(503));
    assert!(refused > 300, "only {refused} were refused while it was stopped: the others waited");
    assert!(first < Duration::from_secs(3), "{first:?}");
    let last = ledger.last_bad_after(goes_on);
    assert!(last < Duration::from_secs(5), "still refused {last:?} after the database went on");
    scene.stop();
}

/// Nothing passes and nothing is refused, as behind a firewall that drops packets.
#[test]
fn f04_packets_are_dropped() {
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let mut scene = Scene::by(dir, Engine::MariaDb(database), MariaDb::url_at(proxy.port), &[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(2));
    proxy.set(Line::Frozen);
    pause(Duration::from_secs(15));
    proxy.set(Line::Clear);
    let clear = Instant::now();
    pause(Duration::from_secs(6));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(clear);
    report::row("F-04", "the line to MariaDB is dead for 15 s", &ledger, verdict.lost, Some(first));
    verdict.expect_clean();
    assert!(first < Duration::from_secs(3), "{first:?}");
    assert!(ledger.last_bad_after(clear) < Duration::from_secs(5));
    scene.stop();
}

#[test]
fn f04_half_a_second_of_delay() {
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let mut scene = Scene::by(dir, Engine::MariaDb(database), MariaDb::url_at(proxy.port), &[]);
    scene.until_ready();
    load::hold(scene.address, 50, Duration::from_secs(2));
    // The next ledger knows only its own accounts.
    scene.engine.execute("DELETE FROM users");
    proxy.set(Line::Slow(Duration::from_millis(250)));
    let ledger = load::hold(scene.address, 2, Duration::from_secs(12));
    proxy.set(Line::Clear);
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-04", "250 ms of delay each way", &ledger, verdict.lost, None);
    verdict.expect_clean();
    let bad: Vec<_> = ledger.select(|attempt| !attempt.is_well()).map(|bad| (&bad.action, bad.took)).collect();
    assert!(bad.is_empty(), "a slow line costs time and nothing else: {bad:?}");
    assert!(ledger.slowest(|_| true) < Duration::from_secs(5), "2.5 s, doubled");
    scene.stop();
}

/// Connections are closed for being idle, then one a second is killed at random.
#[test]
fn f12_connections_are_lost_one_by_one() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    scene.database().execute("SET GLOBAL wait_timeout = 2");
    // It holds for connections that are made from now on.
    let kill_all = |scene: &mut Scene| {
        let mut root = scene.database().root();
        for id in scene.database().connections() {
            let _ = mysql::prelude::Queryable::query_drop(&mut root, format!("KILL {id}"));
        }
    };
    kill_all(&mut scene);
    load::hold(scene.address, 50, Duration::from_secs(2));
    let mut closed = 0;
    for _ in 0..2 {
        let before = scene.database().connections();
        pause(Duration::from_secs(5));
        let after = scene.database().connections();
        closed += before.iter().filter(|id| !after.contains(id)).count();
        for _ in 0..8 {
            assert_eq!(get_as(scene.address, "/api/user/me", &token).unwrap().status, 200);
        }
    }
    assert!(closed > 0, "connections were closed for being idle");
    scene.engine.execute("DELETE FROM users");
    let load = Load::start(scene.address, 100);
    let mut killed = 0;
    for turn in 0..15 {
        pause(Duration::from_secs(1));
        let connections = scene.database().connections();
        let mut root = scene.database().root();
        if let Some(id) = connections.get(turn % connections.len().max(1)) {
            killed += u32::from(mysql::prelude::Queryable::query_drop(&mut root, format!("KILL {id}")).is_ok());
        }
    }
    pause(Duration::from_secs(1));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-12", &format!("{killed} connections are killed, one a second"), &ledger, verdict.lost, None);
    verdict.expect_clean();
    assert!(killed > 5, "the fault took place: {killed}");
    let reads = ledger.count(|attempt| attempt.action.is_read() && !attempt.is_well());
    assert_eq!(reads, 0, "a lost connection costs no read");
    // One in a thousand, of the few hundred that there are: two at most.
    let writes = ledger.count(|attempt| !attempt.action.is_read() && !attempt.is_well());
    assert!(writes <= 2, "{writes} registrations were refused");
    scene.stop();
}
