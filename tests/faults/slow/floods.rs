//! Two thousand slow clients at once.

use std::time::{Duration, Instant};

use crate::client::get_as;
use crate::crowd::Crowd;
use crate::quick::floods::percentile;
use crate::report;
use crate::scene::Scene;
use crate::wait::pause;

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
    report::line("F-24", "slow clients, a byte a second", &load, "0", "-");
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
