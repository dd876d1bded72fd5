//! A thousand at once. A suite of its own, so that no other test has to share the machine with it.

mod database;
#[path = "api/harness.rs"]
mod harness;

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use harness::{PASSWORD, TestServer};

/// F-20, P7: a thousand bad logins at once, at production cost. Each is answered within the deadline and half a second,
/// with room for a busy machine: with 401, or with 503 and when to come back. Meanwhile readers are served.
#[test]
fn a_thousand_bad_logins_at_once_are_all_answered() {
    let server = Arc::new(TestServer::spawn_with(&[("SCRYPT_LOG_N", "15"), ("SCRYPT_P", "3")]));
    let barrier = Arc::new(Barrier::new(1000));
    let clients: Vec<_> = (0..1000)
        .map(|number| {
            let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
            let client = std::thread::Builder::new().stack_size(256 << 10);
            let storm = move || {
                barrier.wait();
                let began = Instant::now();
                (server.token(&format!("{number}@example.com"), PASSWORD), began.elapsed())
            };
            client.spawn(storm).unwrap()
        })
        .collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let served = answers.iter().filter(|(answer, _)| answer.status == 401).count();
    let refused = answers.iter().filter(|(answer, _)| answer.status == 503).count();
    assert_eq!(served + refused, 1000);
    assert!(served > 2 && refused > 500, "{served} served, {refused} refused");
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    let (told, _) = answers.iter().find(|(answer, _)| answer.status == 503).unwrap();
    assert_eq!(told.json()["error"], "temporarily_unavailable");
    assert_eq!(server.get("/readyz", &[]).status, 200);
}
