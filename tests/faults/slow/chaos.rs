//! F-40: faults drawn at random for `CHAOS_SECS` seconds (120), at 50 requests a second. scripts/chaos.sh runs it for
//! half an hour. `CHAOS_SEED` repeats a run.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use rustix::process::Signal;

use crate::ledger::Attempt;
use crate::load::Load;
use crate::mariadb::MariaDb;
use crate::mutate::Random;
use crate::proxy::{Line, Proxy};
use crate::report;
use crate::scene::{Dir, Engine, Scene};
use crate::wait::pause;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseStopped,
    ReadOnly,
    ConnectionsKilled,
    ConnectionsCut,
    LineFrozen,
    LineSlow,
    CommitsCut,
    TableLocked,
    ServerKilled,
    ServerStopped,
}

const ALL: [Fault; 12] = [
    Fault::DatabaseKilled,
    Fault::DatabaseRestarted,
    Fault::DatabaseStopped,
    Fault::ReadOnly,
    Fault::ConnectionsKilled,
    Fault::ConnectionsCut,
    Fault::LineFrozen,
    Fault::LineSlow,
    Fault::CommitsCut,
    Fault::TableLocked,
    Fault::ServerKilled,
    Fault::ServerStopped,
];

struct Chaos {
    scene: Scene,
    proxy: Proxy,
    load: Load,
    random: Random,
    /// When our own server was away.
    away: Vec<(Instant, Instant)>,
}

impl Chaos {
    fn inflict(&mut self, fault: Fault) {
        let time = Duration::from_millis(500 + u64::try_from(self.random.below(3500)).unwrap());
        match fault {
            Fault::DatabaseKilled => {
                self.scene.database().kill();
                pause(time);
                self.scene.database().start_again();
            }
            Fault::DatabaseRestarted => {
                self.scene.database().stop();
                self.scene.database().start_again();
            }
            Fault::DatabaseStopped => {
                self.scene.database().signal(Signal::STOP);
                pause(time);
                self.scene.database().signal(Signal::CONT);
            }
            Fault::ReadOnly => {
                self.scene.database().execute("SET GLOBAL read_only = ON");
                pause(time);
                self.scene.database().execute("SET GLOBAL read_only = OFF");
            }
            Fault::ConnectionsKilled => {
                let mut root = self.scene.database().root();
                for id in self.scene.database().connections() {
                    // It may have ended by itself.
                    let _ = root.query_drop(format!("KILL {id}"));
                    pause(time / 10);
                }
            }
            Fault::ConnectionsCut => self.proxy.cut_all(),
            Fault::LineFrozen => self.with_line(Line::Frozen, time),
            Fault::LineSlow => self.with_line(Line::Slow(Duration::from_millis(50)), time),
            Fault::CommitsCut if self.random.below(2) == 0 => self.with_line(Line::CutBeforeCommit, time / 4),
            Fault::CommitsCut => self.with_line(Line::CutAfterCommit, time / 4),
            Fault::TableLocked => {
                let mut root = self.scene.database().root();
                root.query_drop("LOCK TABLES tegata.users WRITE").unwrap();
                pause(time);
                root.query_drop("UNLOCK TABLES").unwrap();
            }
            Fault::ServerKilled => self.restart(Signal::KILL),
            Fault::ServerStopped => self.restart(Signal::TERM),
        }
    }

    fn with_line(&self, line: Line, time: Duration) {
        self.proxy.set(line);
        pause(time);
        self.proxy.set(Line::Clear);
    }

    fn restart(&mut self, signal: Signal) {
        let began = Instant::now();
        let server = self.scene.take_server();
        server.signal(signal);
        let (status, log) = server.wait();
        assert!(!log.contains("panicked"), "{log}");
        assert!(signal == Signal::KILL || status.success(), "{status:?}: {log}");
        self.scene.start();
        self.load.turn_to(self.scene.address);
        self.scene.until_ready();
        self.away.push((began, Instant::now()));
    }
}

#[expect(clippy::disallowed_methods, reason = "how scripts/chaos.sh says for how long, and from which seed")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}: {value}")))
}

#[test]
fn f40_chaos() {
    let seconds = setting("CHAOS_SECS", 120);
    let seed = setting("CHAOS_SEED", u64::from(std::process::id()));
    println!("CHAOS_SEED={seed}");
    let dir = Dir::new();
    let database = MariaDb::start(dir.path(), &[]);
    let proxy = Proxy::before(database.port);
    let scene = Scene::by(dir, Engine::MariaDb(database), MariaDb::url_at(proxy.port), &[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut chaos = Chaos { scene, proxy, load, random, away: Vec::new() };
    let began = Instant::now();
    let mut inflicted = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let fault = ALL[chaos.random.below(ALL.len())];
        chaos.inflict(fault);
        inflicted.push(fault);
        // Time to recover, sometimes less than it takes.
        pause(Duration::from_millis(500 + u64::try_from(chaos.random.below(4000)).unwrap()));
    }
    let Chaos { mut scene, load, away, .. } = chaos;
    pause(Duration::from_secs(5));
    let ledger = load.stop();
    // What was under way while our own server went, or was sent to where it had been.
    let was_ours = |attempt: &Attempt| away.iter().any(|(from, to)| attempt.began <= *to && attempt.ended() >= *from);
    let verdict = ledger.settle_with(scene.address, || scene.engine.rows(), was_ours);
    let stateless = |attempt: &Attempt| !attempt.action.needs_database() && !was_ours(attempt);
    let (all, well) = (ledger.count(stateless), ledger.count(|attempt| stateless(attempt) && attempt.is_well()));
    let fault = format!(
        "{} faults drawn at random in {seconds} s (is_logined without a token: {well} of {all} answered 200)",
        inflicted.len()
    );
    report::row("F-40", &fault, &ledger, verdict.lost, None);
    inflicted.sort();
    println!("inflicted: {inflicted:?}");
    verdict.expect_clean();
    assert!(all > 0 && well * 1000 >= all * 999, "99.9 % of what needs no database: {well} of {all}");
    assert!(ledger.count(Attempt::is_well) * 4 > ledger.attempts.len(), "between faults it works");
    let (status, log) = scene.stop();
    assert!(status.success(), "{log}");
}
