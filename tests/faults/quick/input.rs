//! What arrives is not what it should be: damaged, forged, too early, too late, many at once.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::client::{Wire, get_as, request};
use crate::forge::Forge;
use crate::mutate::{Heard, bombard};
use crate::report;
use crate::scene::Scene;

/// From four connections at a time.
pub fn f27(count: u64) {
    let mut scene = Scene::on_sqlite(&[]);
    let token = scene.signed_in("a@example.com");
    let heard = Heard::default();
    let (address, token, heard) = (scene.address, &*token, &heard);
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=4_u64)
            .map(|seed| {
                scope.spawn(move || bombard(address, token, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), count / 4, heard))
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let [_, _, good, _, refused, broken] = &heard.classes;
    let [good, refused, broken] = [good, refused, broken].map(|class| class.load(Ordering::Relaxed));
    let answers = heard.answers.load(Ordering::Relaxed);
    let load = format!("{count} sent, {answers} answered: {good} x 2xx, {refused} x 4xx, {broken} x 5xx");
    report::line("F-27", "damaged requests of every route", &load, "-", "-");
    assert!(complaints.is_empty(), "{} complaints, the first: {}", complaints.len(), complaints[0]);
    // Damage that always breaks the framing would never reach a handler.
    assert!(good > count / 100 && refused > count / 100, "{load}");
    assert_eq!(get_as(address, "/api/user/me", token).unwrap().status, 200);
    assert!(scene.is_ready());
    let (_, log) = scene.stop();
    let control = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "what came in is escaped in the log");
}

#[test]
fn f27_damaged_requests() {
    f27(40_000);
}

#[test]
fn f29_forged_tokens() {
    let mut scene = Scene::on_sqlite(&[]);
    let token = scene.signed_in("a@example.com");
    let forge = Forge::from(&token);
    assert_eq!(get_as(scene.address, "/api/user/me", &forge.timed("iat", 0)).unwrap().status, 200, "it forges well");
    // Whoever follows a jku connects here.
    let bait = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bait.set_nonblocking(true).unwrap();
    let jku = format!("http://{}/jwks.json", bait.local_addr().unwrap());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    let mut forged = vec![
        forge.with_header("alg", json!("none")),
        forge.with_header("alg", json!("HS384")),
        forge.with_header("alg", json!("RS256")),
        forge.with_header("kid", json!("../../dev/null")),
        forge.with_header("kid", json!("' OR 1=1 --")),
        forge.with_header("jku", json!(jku)),
        forge.with_header("x5u", json!(jku)),
        forge.with_header("crit", json!(["x"])),
        forge.with_header("typ", json!("JWT")),
        forge.with_key(b""),
        forge.with_key(&[0; 32]),
        forge.with_key(b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"),
        forge.with("iss", json!("elsewhere")),
        forge.with("aud", json!("elsewhere")),
        forge.with("sub", json!("999")),
        forge.with("exp", json!("1999999999")),
        format!("{unsigned}."),
        unsigned.to_owned(),
        "a.b.c".to_owned(),
    ];
    // Each bit of the signature's first bytes, and of the claims' last ones.
    let at = token.rfind('.').unwrap();
    for place in at - 8..at + 8 {
        let mut bytes = token.clone().into_bytes();
        if bytes[place] != b'.' {
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            forged.push(String::from_utf8(bytes).unwrap());
        }
    }
    for forged in &forged {
        assert_ne!(forged, &token);
        let answer = get_as(scene.address, "/api/user/me", forged).unwrap();
        assert_eq!(answer.status, 401, "{forged}: {answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"), "{answer:?}");
        let answer = get_as(scene.address, "/api/is_logined", forged).unwrap();
        assert_eq!((answer.status, &*answer.body), (200, r#"{"is_logined":false}"#), "{forged}");
    }
    assert!(bait.accept().is_err(), "nobody asked elsewhere for a key");
    report::line("F-29", "forged tokens", &format!("{} refused", forged.len()), "-", "-");
    scene.stop();
}

/// By the wall clock, with the leeway of a few seconds that is documented.
#[test]
fn f30_tokens_of_another_time() {
    let mut scene = Scene::on_sqlite(&[]);
    let forge = Forge::from(&scene.signed_in("a@example.com"));
    for (claim, from_now, status) in [
        ("exp", 60, 200),
        ("exp", -10, 401),
        ("exp", -3600, 401),
        ("nbf", -10, 200),
        ("nbf", 20, 401),
        ("nbf", 3600, 401),
    ] {
        let answer = get_as(scene.address, "/api/user/me", &forge.timed(claim, from_now)).unwrap();
        assert_eq!(answer.status, status, "{claim} {from_now}: {answer:?}");
    }
    scene.stop();
}

/// A thousand on one connection, good and bad in turn: each is answered in its place.
#[test]
fn f39_a_thousand_pipelined() {
    let mut scene = Scene::on_sqlite(&[]);
    let token = scene.signed_in("a@example.com");
    let bearer = format!("Bearer {token}");
    let json = [("content-type", "application/json")];
    let mix = [
        (request("GET", "/api/hello", &[], b""), 200),
        (request("GET", "/nowhere", &[], b""), 404),
        (request("GET", "/api/user/me", &[("authorization", &bearer)], b""), 200),
        (request("POST", "/api/register", &json, b"{"), 400),
        (request("GET", "/api/user/me", &[], b""), 401),
        (request("POST", "/api/register", &json, b"{}"), 422),
        (request("GET", "/api/user/me", &[("authorization", "Bearer forged")], b""), 401),
        (request("DELETE", "/api/hello", &[], b""), 405),
        (request("GET", "/api/is_logined", &[], b""), 200),
        (request("POST", "/api/token", &json, b"x"), 415),
    ];
    let all: Vec<u8> = mix.iter().cycle().take(1000).flat_map(|(request, _)| request.clone()).collect();
    let mut wire = Wire::open(scene.address).unwrap();
    let mut sender = wire.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, &all).unwrap());
        for (at, (_, status)) in mix.iter().cycle().take(1000).enumerate() {
            let answer = wire.answer().unwrap_or_else(|silence| panic!("{silence:?} after {at} answers"));
            assert_eq!(answer.status, *status, "number {at}: {answer:?}");
        }
    });
    report::line("F-39", "pipelining, good and bad in turn", "1000", "-", "-");
    scene.stop();
}
