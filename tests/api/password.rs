//! `POST /api/user/password`. R-05, C-09.

use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestServer, form};

const NEW: &str = "another horse battery staple";

fn change(server: &TestServer, token: &str, current: &str, new: &str) -> Answer {
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
    let body = json!({"current_password": current, "new_password": new}).to_string();
    server.send("POST", "/api/user/password", &headers, body.as_bytes())
}

fn field(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_new_password_ends_everything_that_the_old_one_opened() {
    let server = TestServer::spawn();
    let here = server.signed_in("a@example.com");
    let there = server.token("a@example.com", PASSWORD).json();
    let other = server.signed_in("b@example.com");
    assert_eq!(change(&server, &here, PASSWORD, NEW).status, 204);
    for token in [&here, there["access_token"].as_str().unwrap()] {
        assert_eq!(server.get_as("/api/user/me", token).status, 401);
    }
    let refresh = form(&[("grant_type", "refresh_token"), ("refresh_token", there["refresh_token"].as_str().unwrap())]);
    assert_eq!(server.token_raw(&refresh).status, 400);
    assert_eq!(server.token("a@example.com", PASSWORD).status, 401);
    let again = server.token("a@example.com", NEW);
    assert_eq!(server.get_as("/api/user/me", again.json()["access_token"].as_str().unwrap()).status, 200);
    assert_eq!(server.get_as("/api/user/me", &other).status, 200, "nobody else's");
}

#[test]
fn the_present_password_and_a_good_new_one_are_asked_for() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    for wrong in ["wrong horse battery staple", "", "\u{0}"] {
        assert_eq!(field(&change(&server, &token, wrong, NEW)), (422, "current_password".to_owned()), "{wrong:?}");
    }
    for bad in ["short", "password12345", "\u{0}another horse battery"] {
        assert_eq!(field(&change(&server, &token, PASSWORD, bad)), (422, "new_password".to_owned()), "{bad:?}");
    }
    let headers = [("content-type", "application/json")];
    assert_eq!(server.send("POST", "/api/user/password", &headers, b"{}").status, 401);
    let headers = [("authorization", &*format!("Bearer {token}")), headers[0]];
    assert_eq!(
        field(&server.send("POST", "/api/user/password", &headers, b"{}")),
        (422, "current_password".to_owned())
    );
    assert_eq!(server.get_as("/api/user/me", &token).status, 200, "none of this has signed anybody out");
    assert_eq!(server.token("a@example.com", PASSWORD).status, 200);
}
