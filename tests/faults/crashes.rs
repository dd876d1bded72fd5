//! F-16: the server is killed again and again while twenty clients register.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client;
use crate::ledger::{Account, Action, Attempt, Ledger};
use crate::mutate::Random;
use crate::report;
use crate::scene::{Engine, Scene};
use crate::wait::{pause, until};

const CLIENTS: usize = 20;

/// Registers one account after the other until there is no answer.
fn register_until_silence(scene: &Scene, turn: u32, client: usize, acknowledged: &AtomicUsize) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for number in 0.. {
        let account = Account {
            email: format!("k{turn}-c{client}-n{number}@example.com"),
            password: format!("violet {turn} anchor {number} meadow {client}"),
        };
        let began = Instant::now();
        let outcome = client::register(scene.address, &account.email, &account.password);
        let is_over = outcome.is_err();
        acknowledged.fetch_add(usize::from(!is_over), Ordering::Relaxed);
        attempts.push(Attempt { action: Action::Register { account }, began, took: began.elapsed(), outcome });
        if is_over {
            break;
        }
    }
    attempts
}

pub fn f16(mut scene: Scene, turns: u32) {
    let engine = if matches!(scene.engine, Engine::Sqlite(_)) { "SQLite" } else { "MariaDB" };
    scene.until_ready();
    let attempts = Mutex::new(Vec::new());
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let mut slowest = Duration::ZERO;
    for turn in 0..turns {
        let acknowledged = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (scene, attempts, acknowledged) = (&scene, &attempts, &acknowledged);
            for client in 0..CLIENTS {
                scope.spawn(move || {
                    let ours = register_until_silence(scene, turn, client, acknowledged);
                    attempts.lock().unwrap().extend(ours);
                });
            }
            // A different moment each time, once they are at it.
            until(Duration::from_secs(10), "somebody is registered", || acknowledged.load(Ordering::Relaxed) > 0);
            pause(Duration::from_millis(10 + u64::try_from(random.below(90)).unwrap()));
            scene.server().signal(Signal::KILL);
        });
        let (status, log) = scene.take_server().wait();
        assert!(status.code().is_none() && !log.contains("panicked"), "it was killed: {status:?} {log}");
        let began = Instant::now();
        scene.start();
        scene.until_ready();
        slowest = slowest.max(began.elapsed());
    }
    let ledger = Ledger { attempts: attempts.into_inner().unwrap() };
    let verdict = ledger.settle_with(scene.address, || scene.engine.rows(), |_| true);
    let fault = format!("the server is killed {turns} times mid-register, {engine}");
    report::row("F-16", &fault, &ledger, verdict.lost, Some(slowest));
    verdict.expect_clean();
    let (good, silent) =
        (ledger.count(|attempt| attempt.status() == Some(201)), ledger.count(|attempt| attempt.outcome.is_err()));
    assert!(good > turns as usize && silent >= turns as usize * CLIENTS, "{good} acknowledged, {silent} cut off");
    assert!(slowest < Duration::from_secs(2), "ready again within a second, doubled: {slowest:?}");
    if let Engine::Sqlite(path) = &scene.engine {
        let found: String =
            crate::scene::sqlite(path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok");
    }
    scene.stop();
}
