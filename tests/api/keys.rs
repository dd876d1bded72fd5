//! Asymmetric signing keys: published, rotated, withdrawn, shared by nodes, sealed by the secret. R-07..R-11.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use tegata::app::keys::Keys;
use tegata::config::Config;
use tegata::domain::clock::UnixTime;

use crate::database::TestDatabase;
use crate::harness::{PASSWORD, SECRET_KEY, START, TestServer, forge, parts};

const OTHER_SECRET: &str = "sphinx of black quartz, judge my vow 12345";

fn spawn(algorithm: &str) -> TestServer {
    let server = TestServer::spawn_with(&[("SIGNING_ALGORITHM", algorithm)]);
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    server
}

/// A second node on the same database.
fn token(server: &TestServer) -> String {
    let answer = server.token("a@example.com", PASSWORD);
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn jwks(server: &TestServer) -> JwkSet {
    let answer = server.get("/.well-known/jwks.json", &[]);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    for private in ["\"d\"", "\"p\"", "\"q\"", "\"k\""] {
        assert!(!answer.body.contains(private), "{}", answer.body);
    }
    serde_json::from_str(&answer.body).unwrap()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

fn keys(server: &TestServer, algorithm: &str) -> Keys {
    let environment =
        [("DATABASE_URL", server.database.url.as_str()), ("SECRET_KEY", SECRET_KEY), ("SIGNING_ALGORITHM", algorithm)];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    Keys::open(Config::load(environment, Path::new("/nonexistent")).unwrap()).unwrap()
}

/// Asks until it is so; servers read the keys every few seconds.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "not yet: {what}");
        let (_sender, nothing) = std::sync::mpsc::channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(100));
    }
}

/// what another service does with a token and the published keys.
#[test]
fn anybody_can_check_a_token_with_the_published_keys() {
    for algorithm in ["EdDSA", "ES256"] {
        let server = spawn(algorithm);
        let token = token(&server);
        let published = jwks(&server);
        let key = published.find(&kid(&token)).unwrap();
        assert_eq!(key.common.key_algorithm.unwrap().to_string(), algorithm);
        let mut validation = Validation::new(algorithm.parse().unwrap());
        validation.set_audience(&["tegata"]);
        validation.set_issuer(&["tegata"]);
        validation.validate_exp = false;
        let claims =
            jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims;
        assert_eq!((claims["sub"].as_str(), claims["email"].as_str()), (Some("1"), Some("a@example.com")));
        assert_eq!(claims["client_id"], "tegata", "RFC 9068 2.2");
        for _ in 0..2 {
            assert_eq!(server.get_as("/api/user/me", &token).status, 200, "also from memory");
        }
    }
}

/// T-15: as long as nobody can tell whether a token is good, it is not called bad, and no empty list is published.
#[test]
fn without_keys_nothing_is_refused_and_nothing_published() {
    // Port 1 of the loopback address: refused at once.
    let away = "mysql://nobody@127.0.0.1:1/none";
    let server = TestServer::spawn_on(TestDatabase::create(), away, &[("SIGNING_ALGORITHM", "EdDSA")]);
    let token = token(&spawn("EdDSA"));
    assert_eq!(server.get_as("/api/user/me", &token).status, 503);
    let keys = server.get("/.well-known/jwks.json", &[]);
    assert_eq!((keys.status, keys.header("cache-control")), (503, Some("no-store")));
    assert!(server.get("/readyz", &[]).body.contains("signing keys: failed\n"));
}

/// C-30, C-31: one key, one algorithm.
#[test]
fn a_public_key_signs_nothing() {
    let server = spawn("EdDSA");
    let token = token(&server);
    let (header, claims) = parts(&token);
    let public = server.get("/.well-known/jwks.json", &[]).body;
    let x = serde_json::from_str::<Value>(&public).unwrap()["keys"][0]["x"].as_str().unwrap().to_owned();
    let confused = header.replace("EdDSA", "HS256");
    for key in [public.as_bytes(), x.as_bytes(), &URL_SAFE_NO_PAD.decode(&x).unwrap(), SECRET_KEY.as_bytes(), b""] {
        for header in [&header, &confused] {
            assert_eq!(server.get_as("/api/user/me", &forge(header, &claims, key)).status, 401);
        }
    }
    // Remembering that a signature is right is no reason to believe another one.
    assert_eq!(server.get_as("/api/user/me", &token).status, 200);
    let tampered = format!("{}A{}", &token[..token.len() - 5], &token[token.len() - 4..]);
    assert!(tampered == token || server.get_as("/api/user/me", &tampered).status == 401);
    server.database.execute("UPDATE users SET is_disabled = 1");
    assert_eq!(server.get_as("/api/user/me", &token).status, 401, "users are never remembered");
}

/// a new key is published before it signs, and the old one checks until its last token has expired.
#[test]
fn a_rotation_is_noticed_by_nobody() {
    let server = spawn("EdDSA");
    let other = server.beside(&[("SIGNING_ALGORITHM", "EdDSA")]);
    let old = token(&server);
    keys(&server, "EdDSA").rotate(UnixTime(START)).unwrap();
    until("both nodes publish both keys", || jwks(&server).keys.len() == 2 && jwks(&other).keys.len() == 2);
    assert_eq!(kid(&token(&server)), kid(&old), "the new one does not sign yet");
    for node in [&server, &other] {
        node.clock.advance(601);
    }
    let new = token(&server);
    assert_ne!(kid(&new), kid(&old));
    for node in [&server, &other] {
        for token in [&old, &new] {
            assert_eq!(node.get_as("/api/user/me", token).status, 200);
        }
    }
    // Half an hour later nothing of the old key can count, and it is not published any more.
    server.clock.advance(1800 + 200);
    until("the old key is gone", || jwks(&server).keys.len() == 1);
    assert_eq!(jwks(&server).keys[0].common.key_id.as_deref(), Some(kid(&new).as_str()));
}

#[test]
fn a_key_is_replaced_when_it_is_old() {
    let server = TestServer::spawn_with(&[("SIGNING_ALGORITHM", "ES256"), ("KEY_ROTATION_DAYS", "1")]);
    assert_eq!(jwks(&server).keys.len(), 1);
    server.clock.advance(24 * 60 * 60);
    until("the next key is published", || jwks(&server).keys.len() == 2);
}

/// A key that others may have.
#[test]
fn what_a_withdrawn_key_has_signed_is_refused() {
    let server = spawn("EdDSA");
    let token_before = token(&server);
    keys(&server, "EdDSA").retire(&kid(&token_before), UnixTime(START)).unwrap();
    until("it is refused", || server.get_as("/api/user/me", &token_before).status == 401);
    until("another key signs", || server.token("a@example.com", PASSWORD).status == 200);
    let after = token(&server);
    assert_ne!(kid(&after), kid(&token_before));
    assert_eq!(server.get_as("/api/user/me", &after).status, 200);
    let lines = keys(&server, "EdDSA").list().unwrap();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(keys(&server, "EdDSA").retire("unknown", UnixTime(START)).is_err());
}

/// keys outlive a restart, are shared by nodes, and are of no use without the secret.
#[test]
fn nodes_share_keys_and_a_secret_can_be_replaced() {
    let server = spawn("ES256");
    let token_before = token(&server);
    let replaced = [("SIGNING_ALGORITHM", "ES256"), ("SECRET_KEY", OTHER_SECRET), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
    let next = server.beside(&replaced);
    assert_eq!(next.get_as("/api/user/me", &token_before).status, 200);
    // The key has been sealed anew: the next start needs the old secret no more.
    let after = server.beside(&replaced[..2]);
    assert_eq!(after.get_as("/api/user/me", &token_before).status, 200);
    let environment = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("SECRET_KEY", SECRET_KEY),
        ("SIGNING_ALGORITHM", "ES256"),
        ("BIND_ADDR", "127.0.0.1:0"),
    ];
    let config =
        Config::load(environment.map(|(name, value)| (name.into(), value.into())), Path::new("/nonexistent")).unwrap();
    let outcome = actix_web::rt::System::new()
        .block_on(tegata::app::start(config, std::sync::Arc::new(tegata::domain::clock::SystemClock)));
    assert!(
        outcome.is_err_and(|error| error.to_string().contains("SECRET_KEY_PREVIOUS")),
        "a wrong secret is told at the start"
    );
}

/// HS256: what the previous secret signed still counts, tokens of both kinds.
#[test]
fn with_the_previous_secret_nobody_is_signed_out() {
    let server = TestServer::spawn();
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    let grant = server.token("a@example.com", PASSWORD).json();
    let (access, refresh) = (grant["access_token"].as_str().unwrap(), grant["refresh_token"].as_str().unwrap());
    let form = crate::harness::form(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]);
    let stranger = server.beside(&[("SECRET_KEY", OTHER_SECRET)]);
    assert_eq!((stranger.get_as("/api/user/me", access).status, stranger.token_raw(&form).status), (401, 400));
    let next = server.beside(&[("SECRET_KEY", OTHER_SECRET), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]);
    assert_eq!((next.get_as("/api/user/me", access).status, next.token_raw(&form).status), (200, 200));
    assert!(jwks(&server).keys.is_empty(), "a shared secret is not published");
}

/// R-11, RFC 8414 3.3.
#[test]
fn the_metadata_names_the_issuer_of_the_tokens() {
    let issuer = "https://auth.example.com";
    let server = TestServer::spawn_with(&[("ISSUER", issuer)]);
    let metadata = server.get("/.well-known/oauth-authorization-server", &[]).json();
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["token_endpoint"], format!("{issuer}/oauth2/token"));
    for (name, url) in
        metadata.as_object().unwrap().iter().filter(|(name, value)| *name != "issuer" && value.is_string())
    {
        let path = url.as_str().unwrap().strip_prefix(issuer).unwrap_or_else(|| panic!("{name}: {url}"));
        assert_ne!(server.get(path, &[]).status, 404, "{name}: {url}");
    }
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    let token = token(&server);
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["iss"], issuer);
    assert_eq!(server.get_as("/api/user/me", &token).status, 200);
    let unnamed = TestServer::spawn();
    assert_eq!(unnamed.get("/.well-known/oauth-authorization-server", &[]).status, 404);
}
