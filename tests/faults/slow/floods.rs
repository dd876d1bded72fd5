//! A thousand logins at once, and two thousand slow clients.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::client::{self, get_as, grant};
use crate::crowd::{Crowd, raise_the_limit};
use crate::report::{self, percentile};
use crate::scene::{PASSWORD, Scene};
use crate::wait::{pause, until};

const PRODUCTION: &[(&str, &str)] = &[("SCRYPT_LOG_N", "15"), ("SCRYPT_P", "3"), ("ALLOW_WEAK_SCRYPT", "false")];

fn reads(scene: &Scene, token: &str, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        assert_eq!(get_as(scene.address, "/api/user/me", token).unwrap().status, 200);
        times.push(began.elapsed());
        pause(Duration::from_millis(5));
    }
    times
}

#[test]
fn f24_two_thousand_slow_clients() {
    let mut scene = Scene::on_sqlite(&[]);
    let token = scene.signed_in("a@example.com");
    let base = percentile(&mut reads(&scene, &token, Duration::from_secs(3)), 99);
    let before = scene.rss_kib();
    let whole = b"GET /api/hello HTTP/1.1\r\nhost: a\r\n\r\n".as_slice();
    let half = b"GET /api/hello HTTP/1.1\r\nhost: a\r\nx-slow: ".as_slice();
    let body =
        b"POST /api/register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut heads = Crowd::connect(scene.address, 500, half);
    let mut second = Crowd::connect(scene.address, 500, whole);
    let mut behind = Crowd::connect(scene.address, 500, &[whole, half].concat());
    let mut bodies = Crowd::connect(scene.address, 500, body);
    second.say(half);
    let (mut meanwhile, grown) = std::thread::scope(|scope| {
        for crowd in [&mut heads, &mut second, &mut behind, &mut bodies] {
            scope.spawn(|| crowd.trickle(Some(b' '), Duration::from_secs(25)));
        }
        let meanwhile = reads(&scene, &token, Duration::from_secs(3));
        let grown = scene.rss_kib().saturating_sub(before);
        (meanwhile, grown)
    });
    let p99 = percentile(&mut meanwhile, 99);
    let load = format!(
        "2000: heads closed after {} ms, bodies after {} ms; me p99 {} ms (alone {} ms); {} KiB each",
        heads.longest().as_millis(),
        bodies.longest().as_millis(),
        p99.as_millis(),
        base.as_millis(),
        grown / 2000
    );
    report::line("F-24", "slow clients, a byte a second", &load, "-", "-");
    for (name, crowd, at_most) in
        [("first", &heads, 10), ("second", &second, 10), ("pipelined", &behind, 10), ("body", &bodies, 20)]
    {
        assert_eq!(crowd.open(), 0, "{name}: still open");
        assert!(crowd.longest() < Duration::from_secs(at_most), "{name}: {:?}", crowd.longest());
        assert_eq!(crowd.told("408"), 500, "{name}");
    }
    assert!(p99 < (base * 2).max(Duration::from_millis(100)), "{base:?} alone, {p99:?} beside them");
    assert!(grown < 2000 * 40, "20 KiB a connection, doubled: {grown} KiB");
    scene.stop();
}

/// T-3, at production cost, against the process itself: its memory stays where the settings say.
#[test]
fn f20_a_thousand_bad_logins_at_once() {
    raise_the_limit();
    let mut scene = Scene::on_sqlite(PRODUCTION);
    let token = scene.signed_in("a@example.com");
    let idle = scene.rss_kib();
    let barrier = std::sync::Barrier::new(1001);
    let (address, barrier) = (scene.address, &barrier);
    let (answers, mut reads) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..1000)
            .map(|number| {
                let client = std::thread::Builder::new().stack_size(256 << 10);
                let attempt = move || {
                    barrier.wait();
                    let began = Instant::now();
                    (client::sign_in(address, &format!("{number}@example.com"), PASSWORD), began.elapsed())
                };
                client.spawn_scoped(scope, attempt).unwrap()
            })
            .collect();
        barrier.wait();
        let mut reads = Vec::new();
        while clients.iter().any(|client| !client.is_finished()) {
            let began = Instant::now();
            assert_eq!(get_as(address, "/api/user/me", &token).unwrap().status, 200);
            reads.push(began.elapsed());
            pause(Duration::from_millis(10));
        }
        let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (answers, reads)
    });
    let count = |status| answers.iter().filter(|(answer, _)| answer.as_ref().unwrap().status == status).count();
    let (served, refused) = (count(401), count(503));
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    let again = until(Duration::from_secs(2), "a good login is served again", || {
        client::sign_in(address, "a@example.com", PASSWORD).unwrap().status == 200
    });
    let p99 = percentile(&mut reads, 99);
    let grown = scene.peak_rss_kib().saturating_sub(idle) / 1024;
    let load = format!(
        "1000 at once: {served} x 401, {refused} x 503, slowest {} ms; me p99 {} ms; +{grown} MiB",
        slowest.as_millis(),
        p99.as_millis()
    );
    report::line("F-20", "a thousand bad logins at production cost", &load, "-", &format!("{} ms", again.as_millis()));
    assert_eq!(served + refused, 1000);
    assert!(served > 2, "{served}");
    assert!(slowest < crate::ledger::DEADLINE, "{slowest:?}");
    // Two hash threads of 32 MiB each, and 64 MiB for everything else.
    assert!(grown <= 2 * 32 + 64, "grew by {grown} MiB");
    assert!(p99 <= Duration::from_millis(100), "50 ms, doubled: {p99:?}");
    scene.stop();
}

/// A thousand clients ask and vanish, each at once, or all together once every place is taken: what nobody waits for
/// keeps nobody waiting.
#[test]
fn f22_a_thousand_logins_are_abandoned() {
    raise_the_limit();
    let mut scene = Scene::on_sqlite(PRODUCTION);
    scene.signed_in("a@example.com");
    let ask = |number: u32| {
        let mut stream = TcpStream::connect(scene.address).unwrap();
        stream.write_all(&grant(&format!("{number}@example.com"), PASSWORD)).unwrap();
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        stream
    };
    let sign_in = || client::sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status;
    let mut slowest = Duration::ZERO;
    for are_together in [true, false, true, false] {
        if are_together {
            let streams: Vec<_> = (0..1000).map(ask).collect();
            until(Duration::from_secs(2), "every place is taken", || sign_in() == 503);
            drop(streams);
        } else {
            (0..1000).for_each(|number| drop(ask(number)));
        }
        // What is hashed for nobody would be served first: the queue holds four seconds of work.
        let again = until(Duration::from_secs(10), "a good login is served", || sign_in() == 200);
        let how = if are_together { "reset together" } else { "each reset at once" };
        report::line("F-22", &format!("1000 logins, {how}"), "1000", "-", &format!("{} ms", again.as_millis()));
        slowest = slowest.max(again);
    }
    assert!(slowest < Duration::from_secs(2), "the queue was not empty for {slowest:?}");
    scene.stop();
}
