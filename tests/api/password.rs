//! `POST /api/user/password`. R-05, C-09.

use std::sync::atomic::{AtomicBool, Ordering};

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

/// ASVS 6.2.11: what an attacker would try first for this person, as at registration.
#[test]
fn a_new_password_of_ones_own_words_is_refused() {
    let server = TestServer::spawn_with(&[("ISSUER", "https://auth.margarethe-bank.example")]);
    let token = server.signed_in("holm.ingeborg@example.com");
    for bad in ["holm.ingeborg", "margarethe"] {
        assert_eq!(field(&change(&server, &token, PASSWORD, bad)), (422, "new_password".to_owned()), "{bad:?}");
    }
    assert_eq!(change(&server, &token, PASSWORD, NEW).status, 204);
}

/// ASVS 7.4.3, with hashes that take long enough to be under way: what is opened with the old password while it is
/// replaced does not live on.
#[test]
fn a_sign_in_under_way_does_not_outlive_the_old_password() {
    let server = TestServer::spawn_with(&[("SCRYPT_LOG_N", "12"), ("SCRYPT_R", "8")]);
    let token = server.signed_in("a@example.com");
    let is_over = AtomicBool::new(false);
    let granted: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut granted = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let answer = server.token("a@example.com", PASSWORD);
                        match answer.status {
                            200 => granted.push(answer.json()),
                            status => assert_eq!(status, 401),
                        }
                    }
                    granted
                })
            })
            .collect();
        for _ in 0..3 {
            assert_eq!(server.token("a@example.com", PASSWORD).status, 200);
        }
        assert_eq!(change(&server, &token, PASSWORD, NEW).status, 204);
        for _ in 0..3 {
            assert_eq!(server.token("a@example.com", PASSWORD).status, 401);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(granted.len() > 3);
    for grant in granted {
        assert_eq!(server.get_as("/api/user/me", grant["access_token"].as_str().unwrap()).status, 401);
        let refresh =
            form(&[("grant_type", "refresh_token"), ("refresh_token", grant["refresh_token"].as_str().unwrap())]);
        assert_eq!(server.token_raw(&refresh).status, 400);
    }
}

/// ASVS 6.2.3: each change takes the password as it is, not as it was.
#[test]
fn of_several_changes_at_once_one_wins() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    let replacements: Vec<_> = (0..8).map(|number| format!("{number} horses battery staple")).collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let changes: Vec<_> =
            replacements.iter().map(|new| scope.spawn(|| change(&server, &token, PASSWORD, new).status)).collect();
        changes.into_iter().map(|change| change.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    // The others came with a password, or with a token, that was good no more.
    assert!(statuses.iter().all(|status| [204, 401, 422].contains(status)), "{statuses:?}");
    let winner = statuses.iter().position(|status| *status == 204).unwrap();
    assert_eq!(server.token("a@example.com", &replacements[winner]).status, 200);
}
