//! `POST /api/register`.

use std::sync::Arc;

use serde_json::json;

use crate::harness::{PASSWORD, TestServer};

fn fields(answer: &crate::harness::Answer) -> Vec<String> {
    let body = answer.json();
    body["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn created_with_the_email_as_given() {
    let server = TestServer::spawn();
    let answer = server.register("Alice@Example.com", PASSWORD);
    assert_eq!((answer.status, answer.json()), (201, json!({"id": 1, "email": "Alice@Example.com"})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(server.database.column("SELECT email_key FROM users"), ["alice@example.com"]);
}

/// C-08: the row holds a PHC string, and the same password makes another hash.
#[test]
fn the_row_holds_a_salted_phc_string() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    server.register("b@example.com", PASSWORD);
    let hashes = server.database.column("SELECT password_hash FROM users");
    assert!(hashes.iter().all(|hash| hash.starts_with("$scrypt$ln=4,r=8,p=1$")), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1]);
}

/// C-13: asking around costs an account for each address that has none.
#[test]
fn with_a_bad_password_nobody_hears_who_has_an_account() {
    let server = TestServer::spawn();
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    for bad in ["short", "password12345678"] {
        let [taken, free] = ["a@example.com", "b@example.com"].map(|email| server.register(email, bad));
        assert_eq!((taken.status, free.status), (422, 422), "{bad}");
        assert_eq!(taken.json()["errors"][0]["field"], free.json()["errors"][0]["field"], "{bad}");
    }
}

/// C-20, T-6: the same verdict on each engine.
#[test]
fn a_taken_email_is_a_409_whatever_its_spelling() {
    let server = TestServer::spawn();
    assert_eq!(server.register("jos\u{e9}@example.com", PASSWORD).status, 201);
    for same in
        ["JOS\u{c9}@example.com", "jose\u{301}@EXAMPLE.com", " jos\u{e9}@example.com ", "\u{ff4a}os\u{e9}@example.com"]
    {
        let answer = server.register(same, PASSWORD);
        assert_eq!((answer.status, &answer.json()["detail"]), (409, &json!("already used email address")), "{same}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for (id, other) in (2..).zip([
        "jose@example.com",
        "ss@x.org",
        "\u{df}@x.org",
        "\u{1f600}@x.org",
        "\u{1f601}@x.org",
        "i@x.org",
        "\u{131}@x.org",
    ]) {
        let answer = server.register(other, PASSWORD);
        assert_eq!(answer.status, 201, "{other}: {answer:?}");
        // Nobody else's row: each signs in as itself.
        let token = server.token(other, PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
        assert!(server.get_as("/api/user/me", &token).json()["email"] == other, "{other} is number {id}");
    }
}

/// C-21, T-7: at production cost, so that all of them wait for one hash.
#[test]
fn a_hundred_at_once_are_one_201_and_99_times_409() {
    // Hashing gives way to all other tests: nothing of this must end at the deadline.
    let settings = [("SCRYPT_LOG_N", "15"), ("SCRYPT_P", "3"), ("REQUEST_DEADLINE_SECS", "25")];
    let server = Arc::new(TestServer::spawn_with(&settings));
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.register("all@example.com", PASSWORD).status)
        })
        .collect();
    let mut statuses: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, [409; 99].as_slice()));
    assert_eq!(server.database.column("SELECT COUNT(*) FROM users"), ["1"]);
}

#[test]
fn both_fields_wrong_are_told_at_once() {
    let server = TestServer::spawn();
    let answer = server.register("nobody", "short");
    assert_eq!((answer.status, fields(&answer)), (422, vec!["email".to_owned(), "password".to_owned()]));
    assert_eq!(fields(&server.register_raw(b"{}")), ["email", "password"]);
    assert_eq!(fields(&server.register_raw(br#"{"email": 1, "password": null}"#)), ["email", "password"]);
}

/// C-01, C-02, C-04, C-27, C-28.
#[test]
fn what_the_rules_refuse_is_a_422() {
    let server = TestServer::spawn();
    let (long_email, long_password) = (format!("{}@example.com", "a".repeat(243)), "aB3-".repeat(257));
    for email in [
        "",
        "a",
        "a@",
        "a b@example.com",
        "a\u{0}@example.com",
        "a\r\nb@example.com",
        "a\u{200b}@example.com",
        &long_email,
    ] {
        assert_eq!(fields(&server.register(email, PASSWORD)), ["email"], "{email:?}");
    }
    for password in ["", "1234567", "pass phrase\u{0}", "password12345678", "someone@example.com", &long_password] {
        let answer = server.register("someone@example.com", password);
        assert_eq!((answer.status, fields(&answer)), (422, vec!["password".to_owned()]), "{password:?}");
        assert!(password.is_empty() || !answer.body.contains(password), "an answer never repeats a password");
    }
    assert_eq!(server.register("emoji@example.com", &"😀".repeat(8)).status, 201);
    assert_eq!(server.register("long@example.com", &"aB3-".repeat(256)).status, 201);
    assert_eq!(server.database.column("SELECT COUNT(*) FROM users"), ["2"]);
}

/// C-23.
#[test]
fn unknown_and_privileged_fields_never_bind() {
    let server = TestServer::spawn();
    let body = json!({"email": "a@example.com", "password": PASSWORD, "id": 99, "is_admin": true, "is_disabled": true,
        "email_verified": true, "password_hash": "x", "hashed_password": "x", "created_at": 0});
    let answer = server.register_raw(body.to_string().as_bytes());
    assert_eq!((answer.status, answer.json()), (201, json!({"id": 1, "email": "a@example.com"})));
    assert_eq!(server.token("a@example.com", PASSWORD).status, 200);
}

/// C-06, C-57.
#[test]
fn malformed_bodies_are_a_400() {
    let server = TestServer::spawn();
    let good = format!(r#"{{"email": "a@example.com", "password": "{PASSWORD}"}}"#);
    let deep = [b"[".repeat(8_000), b"]".repeat(8_000)].concat();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"[]",
        b"\"x\"",
        &[good.as_bytes(), b"x"].concat(),
        br#"{"email": "a@example.com", "email": "b@example.com", "password": "correct horse battery"}"#,
        b"{\"email\": \"a@example.com\", \"password\": \"correct horse \xff\"}",
        br#"{"email": "a@example.com", "password": "correct horse \ud800"}"#,
        br#"{"email": "a@example.com", "password": "correct horse battery", "x": 1e999}"#,
        &[b"\xef\xbb\xbf", good.as_bytes()].concat(),
        &deep,
        &utf16,
    ];
    for body in bodies {
        let answer = server.register_raw(body);
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(body.get(..40).unwrap_or(body)));
    }
    assert_eq!(server.database.column("SELECT COUNT(*) FROM users"), ["0"]);
}

#[test]
fn other_media_types_are_a_415() {
    let server = TestServer::spawn();
    let body = json!({"email": "a@example.com", "password": PASSWORD}).to_string();
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json; charset=latin1"]
    {
        let answer = server.send("POST", "/api/register", &[("content-type", media_type)], body.as_bytes());
        assert_eq!(answer.status, 415, "{media_type}");
    }
    assert_eq!(server.send("POST", "/api/register", &[], body.as_bytes()).status, 415);
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(server.send("POST", "/api/register", &packed, body.as_bytes()).status, 415);
    for media_type in ["application/json", "Application/JSON; charset=UTF-8"] {
        let answer = server.send("POST", "/api/register", &[("content-type", media_type)], body.as_bytes());
        assert!([201, 409].contains(&answer.status), "{media_type}");
    }
}

/// C-25: odd text is data.
#[test]
fn odd_text_is_stored_as_it_is() {
    let server = TestServer::spawn();
    for email in ["o'brien@example.com", "a/b{c}|d@example.com", "100%@example.com", "\u{5f20}\u{4f1f}@example.com"] {
        assert_eq!(server.register(email, PASSWORD).json()["email"], email);
    }
    let password = "'; DROP TABLE users; -- \\ \" \u{202e} \u{1f600}";
    assert_eq!(server.register("quotes@example.com", password).status, 201);
    assert_eq!(server.token("quotes@example.com", password).status, 200);
}
