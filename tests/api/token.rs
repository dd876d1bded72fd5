//! `POST /api/token`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, START, TestServer, form, parts};

/// What a refusal says, without what differs from request to request.
fn refusal(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("request_id");
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "x-request-id", "content-length"].contains(&name.as_str()));
    headers.sort();
    (answer.status, headers, body)
}

/// C-40, C-50; RFC 6749 5.1, RFC 9068 2.
#[test]
fn the_right_password_gets_a_token() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    let answer = server.token("A@Example.com", PASSWORD);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1800)));
    let (header, claims) = parts(body["access_token"].as_str().unwrap());
    let (header, claims): (Value, Value) =
        (serde_json::from_str(&header).unwrap(), serde_json::from_str(&claims).unwrap());
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("at+jwt")));
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("1"), &json!("a@example.com")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("tegata"), &json!("tegata")));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(START), &json!(START + 1800)));
}

/// C-40: two of one second differ.
#[test]
fn two_tokens_of_one_second_differ() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    let token = || server.token("a@example.com", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    assert_ne!(token(), token());
}

/// C-11.
#[test]
fn every_refusal_is_the_same_refusal() {
    let server = TestServer::spawn();
    for name in ["wrong", "disabled", "without", "empty"] {
        server.register(&format!("{name}@example.com"), PASSWORD);
    }
    server.database.execute("UPDATE users SET is_disabled = 1 WHERE email = 'disabled@example.com'");
    server.database.execute("UPDATE users SET password_hash = NULL WHERE email = 'without@example.com'");
    server.database.execute("UPDATE users SET password_hash = '' WHERE email = 'empty@example.com'");
    let wrong = server.token("wrong@example.com", "incorrect horse");
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer realm=\"tegata\""));
    assert_eq!(wrong.header("content-type"), Some("application/json"));
    assert_eq!(wrong.json()["error"], "invalid_grant");
    for key in ["error_description", "detail"] {
        assert_eq!(wrong.json()[key], "incorrect email or password");
    }
    for (email, password) in [
        ("unknown@example.com", PASSWORD),
        ("disabled@example.com", PASSWORD),
        ("without@example.com", PASSWORD),
        ("empty@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("wrong@example.com", &"x".repeat(2000)),
        ("wrong@example.com", "nul\u{0}inside"),
    ] {
        assert_eq!(refusal(&server.token(email, password)), refusal(&wrong), "{email}");
    }
}

/// C-02, C-03, C-04, C-05, T-4, T-12.
#[test]
fn the_whole_password_counts_as_it_was_typed() {
    let server = TestServer::spawn();
    let long = format!("{}xyz", "k2-".repeat(40));
    for (id, (password, lookalikes)) in [
        (
            "pass phrase 12345",
            ["pass phrase 12345\u{0}", "Pass phrase 12345", " pass phrase 12345", "pass phrase 12345 "],
        ),
        ("  two  spaces  ", ["two  spaces", "  two spaces  ", "  two  spaces", "  TWO  spaces  "]),
        (&long, [&long[..72], &long[..122], &format!("{long}!"), &long.replace('z', "Z")]),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("{id}@example.com");
        assert_eq!(server.register(&email, password).status, 201, "{password}");
        assert_eq!(server.token(&email, password).status, 200);
        for lookalike in lookalikes {
            assert_eq!(server.token(&email, lookalike).status, 401, "{lookalike:?}");
        }
    }
    server.register("nfc@example.com", "un caf\u{e9} noir");
    assert_eq!(server.token("nfc@example.com", "un cafe\u{301} noir").status, 200);
}

/// C-06, C-56, RFC 6749 5.2.
#[test]
fn requests_that_are_none_are_a_400() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    let credentials = String::from_utf8(form(&[("username", "a@example.com"), ("password", PASSWORD)])).unwrap();
    for body in [
        "grant_type=password".to_owned(),
        "username=a%40example.com".to_owned(),
        "username=&password=x".to_owned(),
        "username=a%40example.com&password=".to_owned(),
        format!("{credentials}&username=b"),
        format!("{credentials}&scope=&scope="),
        "username=a%40example.com&password=%FF".to_owned(),
    ] {
        let answer = server.token_raw(body.as_bytes());
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
    }
    for grant in ["client_credentials", "authorization_code", "Password"] {
        let answer = server.token_raw(format!("{credentials}&grant_type={grant}").as_bytes());
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("unsupported_grant_type")), "{grant}");
    }
    for extra in ["", "&grant_type=password", "&grant_type=", "&scope=&client_id=&client_secret=", "&unknown=1"] {
        assert_eq!(server.token_raw(format!("{credentials}{extra}").as_bytes()).status, 200, "{extra}");
    }
}

#[test]
fn other_media_types_and_methods_are_told_so() {
    let server = TestServer::spawn();
    let answer = server.send("POST", "/api/token", &[("content-type", "application/json")], b"{}");
    assert_eq!((answer.status, &answer.json()["error"]), (415, &json!("invalid_request")));
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.send(method, "/api/token", &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
}

/// C-56: credentials do not belong into a URL, where logs would keep them.
#[test]
fn parameters_in_the_query_are_not_read() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    let query = String::from_utf8(form(&[("username", "a@example.com"), ("password", PASSWORD)])).unwrap();
    let content_type = [("content-type", "application/x-www-form-urlencoded")];
    let answer = server.send("POST", &format!("/api/token?{query}"), &content_type, b"grant_type=password");
    assert_eq!(answer.status, 400);
}

/// C-10, T-2: a damaged row fails its own user, however often, and nobody else.
#[test]
fn a_damaged_hash_fails_that_user_only() {
    let server = TestServer::spawn();
    server.register("damaged@example.com", PASSWORD);
    let healthy = server.signed_in("healthy@example.com");
    for damage in [
        "$scrypt$ln=30,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "$scrypt$ln=63,r=4294967295,p=4294967295$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "$scrypt$ln=15,r=8,p=3$$",
        "p\u{e4}ssw\u{f6}rd\u{1f600}",
    ] {
        server
            .database
            .execute(&format!("UPDATE users SET password_hash = '{damage}' WHERE email = 'damaged@example.com'"));
        for _ in 0..6 {
            assert_eq!(server.token("damaged@example.com", PASSWORD).status, 401, "{damage}");
        }
        assert_eq!(server.token("healthy@example.com", PASSWORD).status, 200);
        assert_eq!(server.get_as("/api/user/me", &healthy).status, 200);
    }
}

/// C-09: a hash at another cost is brought to today's at the next good login, and at no other.
#[test]
fn a_stale_hash_is_renewed_by_a_good_login() {
    let server = TestServer::spawn();
    server.register("a@example.com", PASSWORD);
    // pleaseletmein at ln=14 r=8 p=1, from RFC 7914 12.
    let stale = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw";
    server.database.execute(&format!("UPDATE users SET password_hash = '{stale}'"));
    assert_eq!(server.token("a@example.com", "pleaseletmeout").status, 401);
    assert_eq!(server.database.column("SELECT password_hash FROM users"), [stale]);
    assert_eq!(server.token("a@example.com", "pleaseletmein").status, 200);
    assert!(server.database.column("SELECT password_hash FROM users")[0].starts_with("$scrypt$ln=4,r=8,p=1$"));
    assert_eq!(server.token("a@example.com", "pleaseletmein").status, 200);
}

/// C-09: while fifty logins renew a stale hash, the password is changed; the change stays.
#[test]
fn renewing_a_hash_never_undoes_a_password_change() {
    let server = Arc::new(TestServer::spawn_with(&[("HASH_THREADS", "8")]));
    server.register("a@example.com", PASSWORD);
    let other = TestServer::spawn_with(&[("SCRYPT_LOG_N", "5")]);
    for (email, password) in [("old@example.com", PASSWORD), ("new@example.com", "another horse entirely")] {
        assert_eq!(other.register(email, password).status, 201);
    }
    let hashes = other.database.column("SELECT password_hash FROM users ORDER BY id");
    server.database.execute(&format!("UPDATE users SET password_hash = '{}'", hashes[0]));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.token("a@example.com", PASSWORD).status)
        })
        .collect();
    server.database.execute(&format!("UPDATE users SET password_hash = '{}'", hashes[1]));
    for client in clients {
        let status = client.join().unwrap();
        assert!([200, 401].contains(&status), "{status}");
    }
    assert_eq!(server.token("a@example.com", PASSWORD).status, 401);
    assert_eq!(server.token("a@example.com", "another horse entirely").status, 200);
}

/// C-22: what was acknowledged can be used at once.
#[test]
fn whoever_registered_can_sign_in_at_once() {
    let server = TestServer::spawn();
    for number in 0..300 {
        let email = format!("{number}@example.com");
        assert_eq!(server.register(&email, PASSWORD).status, 201);
        assert_eq!(server.token(&email, PASSWORD).status, 200);
    }
}
