//! The wall clock jumps: F-31, with libfaketime (Debian's package faketime).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{get_as, register, sign_in};
use crate::ledger::DEADLINE;
use crate::process::{Server, tegata};
use crate::report;
use crate::scene::{PASSWORD, Scene};
use crate::wait::pause;

/// Below /usr/lib/<machine>/faketime.
fn library() -> PathBuf {
    let machines = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found = machines.map(|machine| machine.join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().expect("the package faketime must be installed (scripts/test.sh does)")
}

/// In one piece: the server reads it at every look at the clock.
fn set_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn f31_the_clock_jumps_an_hour_back_and_forth() {
    let mut scene = Scene::on_sqlite(&[]);
    scene.stop();
    let clock = scene.dir.path().join("clock");
    set_clock(&clock, "+0");
    let (library, file) = (library().display().to_string(), clock.display().to_string());
    let environment = [
        scene.environment().as_slice(),
        &[
            ("BIND_ADDR", "127.0.0.1:0"),
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    ]
    .concat();
    let server = Server::started_by(tegata(scene.dir.path(), &environment, &[]));
    scene.put_server(server);
    let address = scene.address;
    let old = scene.signed_in("old@example.com");
    let (is_over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let jumped = std::sync::Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (is_over, requests, jumped) = (&is_over, &requests, &jumped);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let email = format!("c{client}-{number}@example.com");
                    let began = Instant::now();
                    assert_eq!(register(address, &email, PASSWORD).unwrap().status, 201);
                    let answer = sign_in(address, &email, PASSWORD).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert_eq!(answer.json()["expires_in"], 1800);
                    let status = get_as(address, "/api/user/me", &answer.token()).unwrap().status;
                    // The clock may have jumped between the two: then the token may be of another time.
                    let is_disturbed = *jumped.lock().unwrap() + Duration::from_millis(50) > began;
                    assert!(status == 200 || (status == 401 && is_disturbed), "{status}");
                    assert!(began.elapsed() < DEADLINE, "time-outs go by another clock: {:?}", began.elapsed());
                    requests.fetch_add(3, Ordering::Relaxed);
                }
            });
        }
        let me = |token: &str| get_as(address, "/api/user/me", token).unwrap().status;
        let jump = |offset| {
            // Whoever hears something odd meanwhile waits here, to be told why.
            let mut at = jumped.lock().unwrap();
            set_clock(&clock, offset);
            *at = Instant::now();
            drop(at);
            pause(Duration::from_millis(1500));
        };
        pause(Duration::from_secs(1));
        assert_eq!(me(&old), 200);
        jump("+1h");
        // The fault took place: what was good for half an hour is an hour old.
        assert_eq!(me(&old), 401);
        let future = sign_in(address, "old@example.com", PASSWORD).unwrap().token();
        assert_eq!(me(&future), 200);
        jump("+0");
        assert_eq!(me(&old), 200, "the wall clock decides");
        assert!([200, 401].contains(&me(&future)));
        jump("-1h");
        assert!([200, 401].contains(&me(&old)));
        let past = sign_in(address, "old@example.com", PASSWORD).unwrap().token();
        assert_eq!(me(&past), 200);
        jump("+0");
        assert_eq!(me(&past), 401, "it was made an hour ago");
        assert_eq!(me(&old), 200);
        is_over.store(true, Ordering::Relaxed);
    });
    let load = format!("{} requests, 0 x 5xx", requests.into_inner());
    report::line("F-31", "the clock jumps +1 h, back, -1 h, back", &load, "-", "at once");
    assert!(scene.is_ready());
    let (status, log) = scene.stop();
    assert!(status.success(), "{log}");
}
