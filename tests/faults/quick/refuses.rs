//! The database is there and refuses: no connections left, read-only, locked, no rights, no table.

use std::time::Duration;

use mysql::prelude::Queryable;

use crate::client::{self, get_as, register, sign_in};
use crate::load::{self, Load};
use crate::report;
use crate::scene::{PASSWORD, Scene};
use crate::wait::{pause, until};

#[test]
fn f07_no_connections_are_left() {
    let mut scene = Scene::on_mariadb(&[("DB_THREADS", "4")]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    let url = scene.database().url();
    scene.database().execute("SET GLOBAL max_connections = 10");
    // Everything that is left goes to somebody else.
    let mut taken = Vec::new();
    while let Ok(conn) = mysql::Conn::new(&*url) {
        taken.push(conn);
        assert!(taken.len() < 20, "max_connections is in force");
    }
    let ledger = load::hold(scene.address, 50, Duration::from_secs(3));
    assert_eq!(get_as(scene.address, "/api/user/me", &token).unwrap().status, 200);
    drop(taken);
    scene.engine.execute("DELETE FROM users WHERE email = 'a@example.com'");
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-07", "MariaDB has no connection left", &ledger, verdict.lost, None);
    verdict.expect_clean();
    let bad = ledger.count(|attempt| !attempt.is_well());
    assert_eq!(bad, 0, "the connections that exist keep serving");
    scene.stop();
}

/// T-13. Logging in writes nothing, so a replica can do it.
#[test]
fn f08_the_database_is_read_only() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(1));
    scene.database().execute("SET GLOBAL read_only = ON");
    let answer = register(scene.address, "b@example.com", PASSWORD).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status, 200);
    assert_eq!(get_as(scene.address, "/api/user/me", &token).unwrap().status, 200);
    assert!(scene.is_ready());
    pause(Duration::from_secs(2));
    scene.database().execute("SET GLOBAL read_only = OFF");
    let writable = std::time::Instant::now();
    let back = until(Duration::from_secs(2), "it registers again", || {
        register(scene.address, "b@example.com", PASSWORD).unwrap().status == 201
    });
    pause(Duration::from_secs(1));
    let ledger = load.stop();
    scene.engine.execute("DELETE FROM users WHERE email IN ('a@example.com', 'b@example.com')");
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-08", "MariaDB is read-only for 2 s", &ledger, verdict.lost, Some(back));
    verdict.expect_clean();
    assert_eq!(ledger.count(|attempt| attempt.action.is_read() && !attempt.is_well()), 0, "reads go on");
    assert!(ledger.count(|attempt| attempt.status() == Some(503)) > 5, "writes are refused");
    assert!(ledger.last_bad_after(writable) < Duration::from_secs(2));
    scene.stop();
}

/// C-14 without a database to count in: each node counts in its own memory, no password is hashed that was not counted,
/// and whoever knows the right one still gets in.
#[test]
fn f08_guesses_are_counted_in_memory() {
    let mut scene = Scene::on_mariadb(&[("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    scene.until_ready();
    for email in ["a@example.com", "b@example.com"] {
        assert_eq!(register(scene.address, email, PASSWORD).unwrap().status, 201);
    }
    let address = scene.address;
    let sign_in = move |client: u8, email: &str, password: &str| {
        let forwarded_for = format!("192.0.2.{client}");
        let answer = client::sign_in_from(address, &forwarded_for, email, password).unwrap();
        (answer.status, answer.header("retry-after").is_some())
    };
    assert_eq!(sign_in(1, "a@example.com", PASSWORD), (200, false), "home from now on");
    scene.database().execute("SET GLOBAL read_only = ON");
    let mut answers: Vec<_> = std::thread::scope(|scope| {
        let guesses: Vec<_> =
            (2..202).map(|client| scope.spawn(move || sign_in(client, "a@example.com", "wrong horse"))).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    answers.sort();
    // A queue that is full counts nothing.
    answers.retain(|answer| answer.0 != 503);
    assert_eq!((answers.iter().filter(|answer| answer.0 == 401).count(), answers.last()), (10, Some(&(429, true))));
    assert_eq!(sign_in(1, "a@example.com", PASSWORD), (200, false), "the owner at home");
    assert_eq!(sign_in(3, "a@example.com", PASSWORD), (429, true), "anybody elsewhere, right or wrong");
    assert_eq!(sign_in(3, "b@example.com", PASSWORD), (200, false), "somebody else");
    scene.database().execute("SET GLOBAL read_only = OFF");
    let (_, log) = scene.stop();
    assert!(log.contains("counted in memory"), "{log}");
}

/// Somebody's LOCK TABLES: nobody waits longer than the deadline, and what does not touch the table is served.
#[test]
fn f10_the_table_is_locked() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let load = Load::start(scene.address, 50);
    pause(Duration::from_secs(1));
    let mut root = scene.database().root();
    root.query_drop("LOCK TABLES tegata.users WRITE").unwrap();
    pause(Duration::from_secs(6));
    root.query_drop("UNLOCK TABLES").unwrap();
    let unlocked = std::time::Instant::now();
    pause(Duration::from_secs(3));
    let ledger = load.stop();
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    let first = ledger.first_good_after(unlocked);
    report::row("F-10", "LOCK TABLES users WRITE for 6 s", &ledger, verdict.lost, Some(first));
    verdict.expect_clean();
    assert!(ledger.count(|attempt| attempt.status() == Some(503)) > 0, "the fault took place");
    assert!(first < Duration::from_secs(1), "{first:?}");
    scene.stop();
}

/// A gap lock where the next rows go: writers wait two seconds for it, readers not at all.
#[test]
fn f10_rows_are_locked() {
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    let load = Load::start(scene.address, 50);
    let mut root = scene.database().root();
    pause(Duration::from_secs(1));
    root.query_drop("START TRANSACTION").unwrap();
    root.query_drop("UPDATE tegata.users SET is_disabled = is_disabled").unwrap();
    root.query_drop("SELECT * FROM tegata.users FOR UPDATE").unwrap();
    for _ in 0..20 {
        assert_eq!(get_as(scene.address, "/api/user/me", &token).unwrap().status, 200);
        assert_eq!(sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status, 200);
        pause(Duration::from_millis(200));
    }
    root.query_drop("ROLLBACK").unwrap();
    pause(Duration::from_secs(2));
    let ledger = load.stop();
    scene.engine.execute("DELETE FROM users WHERE email = 'a@example.com'");
    let verdict = ledger.settle(scene.address, || scene.engine.rows());
    report::row("F-10", "every row is locked for 4 s", &ledger, verdict.lost, None);
    verdict.expect_clean();
    let refused = ledger.count(|attempt| !attempt.action.is_read() && attempt.status() == Some(503));
    assert!(refused > 0, "the fault took place");
    let reads = ledger.count(|attempt| attempt.action.is_read() && !attempt.is_well());
    assert_eq!(reads, 0, "no reader waits for a row that somebody writes");
    scene.stop();
}

/// The password is changed and changed back, the right to read goes and comes, the table goes and comes. Clients are
/// told nothing of it.
#[test]
fn f15_access_is_lost_and_given_back() {
    let faults: [(&str, &[&str], &[&str]); 3] = [
        (
            "the database password is changed",
            &["SET PASSWORD FOR tegata@'127.0.0.1' = PASSWORD('another')"],
            &["SET PASSWORD FOR tegata@'127.0.0.1' = PASSWORD('p@ss w/ord')"],
        ),
        (
            "the rights are taken",
            &["REVOKE ALL ON tegata.* FROM tegata@'127.0.0.1'"],
            &["GRANT ALL ON tegata.* TO tegata@'127.0.0.1'"],
        ),
        (
            "the table is gone",
            &["RENAME TABLE tegata.users TO tegata.away"],
            &["RENAME TABLE tegata.away TO tegata.users"],
        ),
    ];
    let mut scene = Scene::on_mariadb(&[]);
    scene.until_ready();
    let token = scene.signed_in("a@example.com");
    for (name, break_it, mend_it) in faults {
        for sql in break_it {
            scene.database().execute(sql);
        }
        // Rights are looked at when a connection is made.
        for id in scene.database().connections() {
            scene.database().execute(&format!("KILL {id}"));
        }
        for answer in [
            get_as(scene.address, "/api/user/me", &token),
            register(scene.address, "b@example.com", PASSWORD),
            sign_in(scene.address, "a@example.com", PASSWORD),
        ] {
            let answer = answer.unwrap();
            assert!([500, 503].contains(&answer.status), "{name}: {answer:?}");
            let told = answer.body.to_ascii_lowercase();
            for hidden in ["denied", "tegata@", "127.0.0.1", "users'", "sql", "1146", "1045", "1142"] {
                assert!(!told.contains(hidden), "{name}: {answer:?}");
            }
        }
        until(Duration::from_secs(2), "readyz says so", || !scene.is_ready());
        for sql in mend_it {
            scene.database().execute(sql);
        }
        let back = until(Duration::from_secs(4), name, || {
            get_as(scene.address, "/api/user/me", &token).unwrap().status == 200
        });
        report::line("F-15", name, "-", "-", &format!("{} ms", back.as_millis()));
        assert!(back < Duration::from_secs(2), "{name}: {back:?}");
    }
    assert_eq!(client::get(scene.address, "/livez").unwrap().status, 200);
    scene.stop();
}
