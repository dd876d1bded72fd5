//! Tokens that are not ours, or not now: C-30..C-37, T-11, F-29, F-30.

use serde_json::{Value, json};

use crate::harness::{SECRET_KEY, START, TestServer, forge, parts};

/// FastAPI's tutorial key, which everybody has read.
const PUBLISHED_KEY: &str = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7";

struct Workshop {
    server: TestServer,
    token: String,
    header: String,
    claims: Value,
}

impl Workshop {
    fn open() -> Self {
        let server = TestServer::spawn();
        let token = server.signed_in("a@example.com");
        let (header, claims) = parts(&token);
        Self { server, token, header, claims: serde_json::from_str(&claims).unwrap() }
    }

    /// Signed with the right key.
    fn with_header(&self, header: &str) -> String {
        forge(header, &self.claims.to_string(), SECRET_KEY.as_bytes())
    }

    fn with_claims(&self, claims: &str) -> String {
        forge(&self.header, claims, SECRET_KEY.as_bytes())
    }

    /// With one claim replaced; `None` leaves it out.
    fn with(&self, name: &str, value: Option<Value>) -> String {
        let mut claims = self.claims.as_object().unwrap().clone();
        match value {
            Some(value) => claims.insert(name.to_owned(), value),
            None => claims.remove(name),
        };
        self.with_claims(&Value::Object(claims).to_string())
    }

    fn assert_refused(&self, token: &str, why: &str) {
        let answer = self.server.get_as("/api/user/me", token);
        // What RFC 6750 2.1 does not let a token look like is a malformed request, not a bad token.
        let is_b64token = !token.trim_end_matches('=').is_empty() && !token.trim_end_matches('=').contains('=');
        assert_eq!(answer.status, if is_b64token { 401 } else { 400 }, "{why}: {answer:?}");
        let answer = self.server.get_as("/api/is_logined", token);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"is_logined":false}"#), "{why}");
    }
}

/// The workshop's own tools make good tokens: whatever is refused below is refused for what was changed.
#[test]
fn a_token_made_here_with_nothing_changed_is_accepted() {
    let workshop = Workshop::open();
    for token in [workshop.with("email", Some(json!("a@example.com"))), workshop.with("nbf", Some(json!(START)))] {
        assert_eq!(workshop.server.get_as("/api/user/me", &token).status, 200);
    }
}

/// C-30..C-33.
#[test]
fn other_headers() {
    let workshop = Workshop::open();
    let kid = serde_json::from_str::<Value>(&workshop.header).unwrap()["kid"].clone();
    for header in [
        json!({"typ": "at+jwt", "alg": "none", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "None", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "nOnE", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "HS384", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "HS512", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "RS256", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "ES256", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "", "kid": kid}),
        json!({"typ": "at+jwt", "kid": kid}),
        json!({"typ": "JWT", "alg": "HS256", "kid": kid}),
        json!({"alg": "HS256", "kid": kid}),
        json!({"typ": "id+jwt", "alg": "HS256", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "HS256"}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": "../../dev/null"}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": "' OR 1=1 --"}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": "k".repeat(2000)}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "crit": ["x"], "x": 1}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "jku": "http://127.0.0.1:1/jwks.json"}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "jwk": {"kty": "oct", "k": "AAAA"}}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "x5u": "http://127.0.0.1:1/"}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "x5c": ["AAAA"]}),
        json!({"typ": "at+jwt", "alg": "HS256", "kid": kid, "b64": false, "crit": ["b64"]}),
    ] {
        workshop.assert_refused(&workshop.with_header(&header.to_string()), &header.to_string());
    }
    for header in ["", "null", "[]", "{}", "{", "{\"alg\":\"HS256\",\"alg\":\"none\"}"] {
        workshop.assert_refused(&workshop.with_header(header), header);
    }
}

/// C-31, C-39.
#[test]
fn other_keys() {
    let workshop = Workshop::open();
    let claims = workshop.claims.to_string();
    for key in [b"".as_slice(), &[0; 32], b"secret", PUBLISHED_KEY.as_bytes(), b"-----BEGIN PUBLIC KEY-----"] {
        workshop.assert_refused(&forge(&workshop.header, &claims, key), &String::from_utf8_lossy(key));
    }
    let (unsigned, _) = workshop.token.rsplit_once('.').unwrap();
    for signature in ["", "A", "AAAA", "=", "null"] {
        workshop.assert_refused(&format!("{unsigned}.{signature}"), signature);
    }
}

/// C-34, F-30.
#[test]
fn other_times() {
    let workshop = Workshop::open();
    for exp in [
        None,
        Some(json!(null)),
        Some(json!("1999999999")),
        Some(json!(1_999_999_999.5)),
        Some(json!(-1)),
        Some(json!(0)),
        Some(json!(START)),
        Some(json!(START - 1)),
        Some(json!(START - 30)),
        Some(json!(true)),
        Some(json!([START + 60])),
        Some(json!(u64::MAX)),
    ] {
        workshop.assert_refused(&workshop.with("exp", exp.clone()), &format!("exp {exp:?}"));
    }
    let huge = workshop.claims.to_string().replace(&(START + 1800).to_string(), "1e400");
    workshop.assert_refused(&workshop.with_claims(&huge), "exp 1e400");
    for (name, value) in
        [("nbf", json!(START + 10)), ("nbf", json!("x")), ("iat", json!(START + 3600)), ("iat", json!(null))]
    {
        workshop.assert_refused(&workshop.with(name, Some(value.clone())), &format!("{name} {value}"));
    }
    workshop.assert_refused(&workshop.with("iat", None), "no iat");
}

/// C-35, C-36.
#[test]
fn other_claims() {
    let workshop = Workshop::open();
    for name in ["iss", "aud", "sub", "jti", "email"] {
        for value in [None, Some(json!(null)), Some(json!(["tegata"])), Some(json!({})), Some(json!(1))] {
            workshop.assert_refused(&workshop.with(name, value.clone()), &format!("{name} {value:?}"));
        }
    }
    for (name, value) in [
        ("iss", "Tegata"),
        ("iss", ""),
        ("aud", "tegata "),
        ("aud", "other"),
        ("sub", ""),
        ("sub", "0"),
        ("sub", "2"),
        ("sub", "-1"),
        ("sub", "+1"),
        ("sub", "01"),
        ("sub", " 1"),
        ("sub", "1 OR 1=1"),
        ("sub", "99999999999999999999"),
        ("jti", ""),
    ] {
        workshop.assert_refused(&workshop.with(name, Some(json!(value))), &format!("{name} {value}"));
    }
    let claims = workshop.claims.to_string();
    let twice = claims.replacen('{', r#"{"sub":"1","#, 1);
    for odd in [twice.as_str(), "", "null", "[]", "{}", "{", &format!("{claims}x"), &claims[..claims.len() - 1]] {
        workshop.assert_refused(&workshop.with_claims(odd), odd);
    }
}

/// C-37: every bit counts.
#[test]
fn every_flipped_bit() {
    let workshop = Workshop::open();
    for at in 0..workshop.token.len() {
        for bit in 0..7 {
            let mut bytes = workshop.token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            if flipped.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
                continue;
            }
            let answer = workshop.server.get_as("/api/user/me", &flipped);
            assert!([400, 401].contains(&answer.status), "bit {bit} of byte {at}: {answer:?}");
        }
    }
}

/// C-37.
#[test]
fn other_shapes() {
    let workshop = Workshop::open();
    let token = &workshop.token;
    let [header, claims, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for odd in [
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{token}.{signature}"),
        format!("{token}...."),
        format!(".{token}"),
        format!("{token}."),
        format!("{token}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!("{header}..{signature}"),
        "..".to_owned(),
        ".".to_owned(),
        token.replace('.', "/"),
        format!("{token}{token}"),
        "a".repeat(60_000),
        "correct-horse-battery-staple".to_owned(),
    ] {
        let why = odd.get(..60).unwrap_or(&odd).to_owned();
        workshop.assert_refused(&odd, &why);
    }
}
