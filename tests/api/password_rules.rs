//! `GET` and `POST /api/password_rules`. C-01, C-07.

use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestServer};

fn ask(server: &TestServer, body: &serde_json::Value) -> Answer {
    let headers = [("content-type", "application/json")];
    server.send("POST", "/api/password_rules", &headers, body.to_string().as_bytes())
}

#[test]
fn the_rules_are_told_to_programs_and_to_people() {
    let server = TestServer::spawn_with(&[("PASSWORD_MIN_LENGTH", "12")]);
    let answer = server.get("/api/password_rules", &[]);
    assert_eq!(answer.status, 200);
    let rules = answer.json();
    assert_eq!((&rules["min_characters"], &rules["max_bytes"]), (&json!(12), &json!(1024)));
    let sentences: Vec<_> = rules["rules"].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap()).collect();
    assert!(sentences.len() == 3 && sentences[0].contains("12 characters"), "{sentences:?}");
    assert_eq!(server.send("HEAD", "/api/password_rules", &[], b"").status, 200);
    assert_eq!(server.send("PUT", "/api/password_rules", &[], b"").header("allow"), Some("GET, HEAD, POST"));
}

/// Whatever the dry run says of a password, registration says too.
#[test]
fn the_dry_run_and_registration_agree() {
    let server = TestServer::spawn_with(&[("ISSUER", "https://auth.margarethe-bank.example")]);
    let long = "ab3-".repeat(257);
    let candidates = [
        (PASSWORD, true),
        ("k3yb0ard-m0unta1n", true),
        ("\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}", true),
        ("short", false),
        ("password12345678", false),
        ("qwertyuiop", false),
        ("holm.ingeborg", false),
        ("margarethe", false),
        ("tegatategata", false),
        ("pass phrase \u{0} 12345", false),
        (&long, false),
    ];
    for (number, (password, is_acceptable)) in candidates.into_iter().enumerate() {
        let email = format!("holm.ingeborg@x{number}.example");
        let said = ask(&server, &json!({"password": password, "email": email}));
        assert_eq!((said.status, &said.json()["is_acceptable"]), (200, &json!(is_acceptable)), "{password:?}");
        let registered = server.register(&email, password);
        assert_eq!(registered.status, if is_acceptable { 201 } else { 422 }, "{password:?}");
        match is_acceptable {
            true => assert_eq!(said.json()["errors"], json!([])),
            // Why a password is easy to guess has several true answers, of which the estimate gives any.
            false => assert_eq!(said.json()["errors"][0]["field"], registered.json()["errors"][0]["field"]),
        }
    }
}

#[test]
fn people_are_told_what_to_do() {
    let server = TestServer::spawn();
    let message = |password: &str| {
        let said = ask(&server, &json!({"password": password, "email": "margarethe.holm@example.com"}));
        said.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message("short"), "a password needs at least 8 characters");
    for common in ["password12345678", "margarethe.holm", "aaaaaaaaaaaa"] {
        let message = message(common);
        assert!(message.contains("four words") && !message.contains(common), "{message}");
    }
}

/// People are still typing: an address that is none yet does not matter, a password has to be there.
#[test]
fn the_address_may_be_missing_or_half_written() {
    let server = TestServer::spawn();
    for body in [
        json!({"password": PASSWORD}),
        json!({"password": PASSWORD, "email": "a@"}),
        json!({"password": PASSWORD, "email": 1}),
    ] {
        assert_eq!(ask(&server, &body).json()["is_acceptable"], json!(true), "{body}");
    }
    let missing = ask(&server, &json!({"email": "a@example.com"}));
    assert_eq!((missing.status, &missing.json()["errors"][0]["field"]), (422, &json!("password")));
    assert_eq!(server.database.column("SELECT COUNT(*) FROM users"), ["0"]);
}

#[test]
fn a_client_may_ask_thirty_times_at_once() {
    let server = TestServer::spawn_with(&[("RATE_LIMIT", "on")]);
    let statuses: Vec<_> = (0..60).map(|_| ask(&server, &json!({"password": "password"})).status).collect();
    assert!(statuses[..30].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}
