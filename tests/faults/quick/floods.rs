//! Too much at once: large bodies, many connections, many logins.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::client::{self, Wire, get, get_as, grant};
use crate::crowd::{Crowd, raise_the_limit};
use crate::process::{Server, tegata};
use crate::report;
use crate::scene::{PASSWORD, Scene};
use crate::wait::{pause, until};

const PRODUCTION: &[(&str, &str)] = &[("SCRYPT_LOG_N", "15"), ("SCRYPT_P", "3"), ("ALLOW_WEAK_SCRYPT", "false")];

/// 100 % of the given, sorted, at `percent`.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
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
    report::line("F-20", "a thousand bad logins at production cost", &load, "0", &format!("{} ms", again.as_millis()));
    assert_eq!(served + refused, 1000);
    assert!(served > 2, "{served}");
    assert!(slowest < crate::ledger::DEADLINE, "{slowest:?}");
    // Two hash threads of 32 MiB each, and 64 MiB for everything else.
    assert!(grown <= 2 * 32 + 64, "grew by {grown} MiB");
    assert!(p99 <= Duration::from_millis(100), "50 ms, doubled: {p99:?}");
    scene.stop();
}

/// A thousand clients ask and vanish: what nobody waits for is not hashed.
#[test]
fn f22_a_thousand_logins_are_abandoned() {
    raise_the_limit();
    let mut scene = Scene::on_sqlite(PRODUCTION);
    scene.signed_in("a@example.com");
    for number in 0..1000 {
        let mut stream = TcpStream::connect(scene.address).unwrap();
        let _ = stream.write_all(&grant(&format!("{number}@example.com"), PASSWORD));
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    // What is hashed for nobody keeps others waiting: the queue holds four seconds of work.
    let again = until(Duration::from_secs(10), "a good login is served", || {
        client::sign_in(scene.address, "a@example.com", PASSWORD).unwrap().status == 200
    });
    report::line("F-22", "1000 logins, each reset at once", "1000", "0", &format!("{} ms", again.as_millis()));
    assert!(again < Duration::from_secs(2), "the queue was not empty for {again:?}");
    scene.stop();
}

/// A head that trickles, as the first request, as the second one of a kept connection, and behind a whole one in the
/// same packet: five seconds each, whoever waits beside it.
#[test]
fn f24_slow_heads() {
    let mut scene = Scene::on_sqlite(&[]);
    let whole = b"GET /api/hello HTTP/1.1\r\nhost: a\r\n\r\n".as_slice();
    let half = b"GET /api/hello HTTP/1.1\r\nhost: a\r\nx-slow: ".as_slice();
    let mut first = Crowd::connect(scene.address, 100, half);
    let mut second = Crowd::connect(scene.address, 100, whole);
    pause(Duration::from_millis(200));
    second.say(half);
    let mut behind = Crowd::connect(scene.address, 100, &[whole, half].concat());
    std::thread::scope(|scope| {
        for crowd in [&mut first, &mut second, &mut behind] {
            scope.spawn(|| crowd.trickle(Some(b'a'), Duration::from_secs(15)));
        }
        for _ in 0..100 {
            let began = Instant::now();
            assert_eq!(get(scene.address, "/api/hello").unwrap().status, 200);
            assert!(began.elapsed() < Duration::from_millis(500), "others are served: {:?}", began.elapsed());
            pause(Duration::from_millis(40));
        }
    });
    for (name, crowd) in [("first", &first), ("second", &second), ("pipelined", &behind)] {
        let (open, longest) = (crowd.open(), crowd.longest());
        report::line(
            "F-24",
            &format!("100 heads at a byte a second, {name}"),
            &format!("closed after {} ms", longest.as_millis()),
            "0",
            "-",
        );
        assert_eq!(open, 0, "{name}: {open} are still open after 15 s");
        assert!(longest < Duration::from_secs(10), "{name}: five seconds, doubled: {longest:?}");
        assert!(crowd.shortest() > Duration::from_secs(3), "{name}: {:?}", crowd.shortest());
        assert_eq!(crowd.told("408"), 100, "{name}");
    }
    scene.stop();
}

/// More connections than descriptors: it waits without spinning, and serves again when some have gone.
#[test]
fn f25_descriptors_run_out() {
    let mut scene = Scene::on_sqlite(&[]);
    scene.stop();
    let environment = [scene.environment().as_slice(), &[("BIND_ADDR", "127.0.0.1:0")]].concat();
    let binary = tegata(scene.dir.path(), &environment, &[]);
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg("ulimit -n 1024; exec \"$0\"").arg(binary.get_program());
    command.env_clear().envs(environment.iter().copied()).current_dir(scene.dir.path());
    command.stdin(std::process::Stdio::null());
    scene.put_server(Server::started_by(command));
    let mut crowd = Crowd::connect(scene.address, 1500, b"");
    let before = cpu_ticks(&scene);
    pause(Duration::from_secs(2));
    let spent = cpu_ticks(&scene) - before;
    let served = until(Duration::from_secs(10), "somebody new is served", || {
        get(scene.address, "/api/hello").is_ok_and(|answer| answer.status == 200)
    });
    crowd.trickle(None, Duration::from_secs(10));
    report::line(
        "F-25",
        "1500 idle connections, 1024 descriptors",
        &format!("{spent} ticks of CPU in 2 s"),
        "0",
        &format!("{} ms", served.as_millis()),
    );
    assert_eq!(crowd.open(), 0, "idle ones are closed");
    // A hundred ticks are a second of one core.
    assert!(spent < 100, "it spins: {spent} ticks in two seconds");
    let (status, log) = scene.stop();
    assert!(status.success());
    assert!(log.lines().count() < 200, "{} lines of log", log.lines().count());
}

/// User and system time so far, in ticks of 10 ms.
fn cpu_ticks(scene: &Scene) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", scene.server().pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A gigabyte, announced or endless, with or without asking first: 413 before it is read, and nothing is kept of it.
#[test]
fn f26_bodies_without_end() {
    let mut scene = Scene::on_sqlite(&[]);
    scene.signed_in("a@example.com");
    let before = scene.rss_kib();
    let routes = [
        ("/api/register", "application/json"),
        ("/api/token", "application/x-www-form-urlencoded"),
        ("/api/user/me", "text/plain"),
        ("/api/hello", "text/plain"),
    ];
    let framings = [
        "content-length: 1073741824\r\n",
        "content-length: 1073741824\r\nexpect: 100-continue\r\n",
        "transfer-encoding: chunked\r\n",
    ];
    for (path, media) in routes {
        for framing in framings {
            let method = if media == "text/plain" { "GET" } else { "POST" };
            let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {media}\r\n{framing}\r\n");
            let mut wire = Wire::open(scene.address).unwrap();
            wire.send(head.as_bytes()).unwrap();
            let mut sent = 0_u64;
            if !framing.contains("expect") {
                let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
                let began = Instant::now();
                // It may take in what it throws away for a moment, so that the client sees the answer (RFC 9112 9.6).
                while began.elapsed() < Duration::from_secs(5) && wire.stream.write_all(chunk.as_bytes()).is_ok() {
                    sent += chunk.len() as u64;
                }
                let took = began.elapsed();
                assert!(took < Duration::from_secs(3), "{path} {framing}: it took in {sent} bytes for {took:?}");
            }
            match wire.answer() {
                Ok(answer) => {
                    let is_right = answer.status == 413 || (media == "text/plain" && answer.status < 500);
                    assert!(is_right && answer.status != 100, "{path} {framing}: {answer:?}");
                }
                // The reset that stops the flood may overtake the answer, not where nothing was sent after the head.
                Err(silence) => assert!(sent > 0, "{path} {framing}: {silence:?}"),
            }
            assert!(wire.is_closed_within(Duration::from_secs(6)), "{path} {framing}: the connection is closed");
        }
    }
    let grown = scene.rss_kib().saturating_sub(before);
    report::line("F-26", "bodies of a gigabyte and without end", &format!("12, memory +{grown} KiB"), "0", "-");
    assert!(grown < 16 * 1024, "it keeps {grown} KiB");
    scene.stop();
}
