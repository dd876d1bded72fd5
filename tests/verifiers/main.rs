//! The services of examples/verifier check what Tegata signs: each in its own language, as a process of its own.

#[path = "../database/mod.rs"]
mod database;
mod front;
#[path = "../process/mod.rs"]
mod process;
mod verifier;

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use database::TestDatabase;
use front::Front;
use process::{SECRET_KEY, Server, run, tegata};
use verifier::{Verifier, verifiers};

const PASSWORD: &str = "correct horse battery staple";

/// A server's settings; the rest is the default.
fn settings<'a>(algorithm: &'a str, issuer: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("SECRET_KEY", SECRET_KEY),
        ("SIGNING_ALGORITHM", algorithm),
        ("ISSUER", issuer),
        ("SCRYPT_LOG_N", "5"),
        ("SCRYPT_P", "1"),
        ("ALLOW_WEAK_SCRYPT", "true"),
    ]
}

fn register(server: &Server) {
    let body = json!({"email": "a@example.com", "password": PASSWORD});
    assert_eq!(ureq::post(server.url("/api/register")).send_json(body).unwrap().status(), 201);
}

/// Asks again when it is told to, as a client does: on a busy machine the keys may not have been read yet.
fn sign_in(server: &Server) -> String {
    let form = [("username", "a@example.com"), ("password", PASSWORD)];
    let mut answer = until("signed in", || ureq::post(server.url("/api/token")).send_form(form).ok());
    let answer: Value = answer.body_mut().read_json().unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// One of each language, each trusting `issuer`.
fn start(issuer: &str) -> Vec<Verifier> {
    std::thread::scope(|scope| {
        let starting = verifiers(issuer).map(|start| scope.spawn(|| Verifier::start(start)));
        starting.into_iter().map(|started| started.join().unwrap()).collect()
    })
}

fn assert_refused(verifier: &Verifier, token: &str, what: &str) {
    let (status, body) = verifier.whoami(&format!("Bearer {token}"));
    assert_eq!(status, 401, "{what}: {} says {body}", verifier.name);
}

fn a_token_of(server: &Server) -> String {
    register(server);
    sign_in(server)
}

fn what_tegata_signs_is_taken(algorithm: &str) {
    let database = TestDatabase::create();
    let front = Front::open();
    let settings = settings(algorithm, &front.url);
    // Two hours ago somebody signed in whose token has expired since.
    let mut past = tegata(&database.dir, &settings, &[]);
    past.envs([("BIND_ADDR", "127.0.0.1:0"), ("FAKETIME", "-2h"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    past.env("LD_PRELOAD", libfaketime());
    let past = Server::started_by(past);
    let expired = a_token_of(&past);
    drop(past);
    let server = Server::start(&database.dir, &settings);
    front.forward_to(server.address);
    let good = sign_in(&server);
    assert_eq!(kid(&good), kid(&expired), "nothing but the time is wrong with it");
    // Another Tegata that claims to be this one, and that has keys of its own.
    let elsewhere = TestDatabase::create();
    let foreign = a_token_of(&Server::start(&elsewhere.dir, &settings));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let of_another = format!("{signed}.{}", foreign.rsplit_once('.').unwrap().1);
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let changed = format!("{signed}.{first}{}", &signature[1..]);
    for verifier in &start(&front.url) {
        let who = json!({"sub": "1", "email": "a@example.com"});
        for authorization in [format!("Bearer {good}"), format!("bearer {good}")] {
            assert_eq!(verifier.whoami(&authorization), (200, who.clone()), "{}", verifier.name);
        }
        for authorization in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer ..", "Bearer x.y.z"] {
            assert_eq!(verifier.whoami(authorization).0, 401, "{}: {authorization}", verifier.name);
        }
        assert_refused(verifier, &expired, "expired");
        assert_refused(verifier, &foreign, "of another server");
        assert_refused(verifier, &of_another, "signed with another key");
        assert_refused(verifier, &changed, "changed");
        assert_eq!(verifier.whoami(&format!("Bearer {good}")), (200, who), "{}", verifier.name);
    }
}

/// R-07, R-08.
#[test]
fn what_tegata_signs_with_ed_dsa_is_taken_and_nothing_else() {
    what_tegata_signs_is_taken("EdDSA");
}

#[test]
fn what_tegata_signs_with_es256_is_taken_and_nothing_else() {
    what_tegata_signs_is_taken("ES256");
}

/// A key is withdrawn, and its successor signs at once, so that each verifier meets a key that it has not seen.
#[test]
fn a_new_key_is_fetched_when_it_is_met() {
    let database = TestDatabase::create();
    let front = Front::open();
    let settings = settings("EdDSA", &front.url);
    let server = Server::start(&database.dir, &settings);
    front.forward_to(server.address);
    let before = a_token_of(&server);
    let verifiers = start(&front.url);
    let status = |verifier: &Verifier, token: &str| verifier.whoami(&format!("Bearer {token}")).0;
    for verifier in &verifiers {
        assert_eq!(status(verifier, &before), 200, "{}", verifier.name);
    }
    let retired = run(&database.dir, &settings, &["keys", "retire", &kid(&before)]);
    assert!(retired.status.success(), "{retired:?}");
    let after = until("another key signs", || Some(sign_in(&server)).filter(|token| kid(token) != kid(&before)));
    for verifier in &verifiers {
        until(verifier.name, || (status(verifier, &after) == 200).then_some(()));
        assert_eq!(status(verifier, &before), 401, "{}", verifier.name);
    }
}

/// Asks until there is something.
fn until<T>(what: &str, mut something: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(thing) = something() {
            return thing;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not yet: {what}");
        let (_sender, nothing) = std::sync::mpsc::channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(200));
    }
}

/// An issuer whose private key the test has: what a verifier refuses although the signature is right.
fn forgeries_are_refused(algorithm: Algorithm) {
    let random = SystemRandom::new();
    let (key, jwk) = match algorithm {
        Algorithm::EdDSA => {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            (EncodingKey::from_ed_der(pkcs8.as_ref()), json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
        }
        _ => {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            (EncodingKey::from_ec_der(pkcs8.as_ref()), json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
        }
    };
    let mut jwk = jwk;
    jwk["kid"] = "k1".into();
    jwk["use"] = "sig".into();
    jwk["alg"] = format!("{algorithm:?}").into();
    let front = Front::open();
    front.answer_with(&json!({"keys": [jwk]}));
    let header = || Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(algorithm) };
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({
        "iss": front.url, "aud": "tegata", "sub": "1", "email": "a@example.com", "iat": now, "exp": now + 60, "jti": "x",
    });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        jsonwebtoken::encode(&header(), &claims, &key).unwrap()
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        jsonwebtoken::encode(&header(), &claims, &key).unwrap()
    };
    let headed = |header: Header| jsonwebtoken::encode(&header, &claims, &key).unwrap();
    let public = serde_json::to_vec(&jwk).unwrap();
    let confused = Header { alg: Algorithm::HS256, ..header() };
    let confused = jsonwebtoken::encode(&confused, &claims, &EncodingKey::from_secret(&public)).unwrap();
    let good = with("sub", "1".into());
    let unsigned = {
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"none","kid":"k1"}"#);
        format!("{header}.{}.", good.split('.').nth(1).unwrap())
    };
    let forgeries = [
        ("of no type", headed(Header { typ: None, ..header() })),
        ("of another type", headed(Header { typ: Some("JWT".to_owned()), ..header() })),
        ("of an unknown key", headed(Header { kid: Some("k2".to_owned()), ..header() })),
        ("signed with the public key", confused),
        ("not signed", unsigned),
        ("of another issuer", with("iss", "https://auth.example.com".into())),
        ("for another audience", with("aud", "other".into())),
        ("expired just now", with("exp", (now - 1).into())),
        ("of the future", with("nbf", (now + 3600).into())),
        ("for ever", without("exp")),
        ("of nobody", without("sub")),
        ("without an issuer", without("iss")),
        ("without an audience", without("aud")),
    ];
    let began = Instant::now();
    let verifiers = start(&front.url);
    for verifier in &verifiers {
        assert_eq!(verifier.whoami(&format!("Bearer {good}")).0, 200, "{}", verifier.name);
        for (what, forgery) in &forgeries {
            assert_refused(verifier, forgery, what);
        }
    }
    // Somebody who makes up names of keys does not make them ask each time.
    for verifier in &verifiers {
        for number in 0..100 {
            let made_up = headed(Header { kid: Some(format!("made-up-{number}")), ..header() });
            assert_refused(verifier, &made_up, "of a key that is made up");
        }
    }
    // Each at its start, and then once in ten seconds.
    let allowed = 3 * (2 + began.elapsed().as_secs() / 10);
    assert!(front.asked() as u64 <= allowed, "asked {} times", front.asked());
}

#[test]
fn a_right_signature_with_ed_dsa_is_not_enough() {
    forgeries_are_refused(Algorithm::EdDSA);
}

#[test]
fn a_right_signature_with_es256_is_not_enough() {
    forgeries_are_refused(Algorithm::ES256);
}

/// Below /usr/lib/<machine>/faketime.
fn libfaketime() -> std::path::PathBuf {
    let machines = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found = machines.map(|machine| machine.join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().expect("the package faketime must be installed (scripts/test.sh does)")
}
