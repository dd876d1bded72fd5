//! Too much at once: large bodies, many connections, slow heads.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::{Wire, get};
use crate::crowd::Crowd;
use crate::process::{Server, tegata};
use crate::report;
use crate::scene::Scene;
use crate::wait::{pause, until};

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
            "-",
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
        "-",
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
    report::line("F-26", "bodies of a gigabyte and without end", &format!("12, memory +{grown} KiB"), "-", "-");
    assert!(grown < 16 * 1024, "it keeps {grown} KiB");
    scene.stop();
}
