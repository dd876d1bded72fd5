//! `GET /api/user/me`.

use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestServer};

fn assert_refused(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!((answer.status, answer.header("www-authenticate")), (status, Some(challenge)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[test]
fn a_token_opens_it() {
    let server = TestServer::spawn();
    let token = server.signed_in("Alice@example.com");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = server.get("/api/user/me", &[("authorization", &format!("{scheme} {token}"))]);
        assert_eq!((answer.status, answer.json()), (200, json!({"id": 1, "email": "Alice@example.com"})), "{scheme}");
    }
}

/// RFC 6750 3.1: without a token no error code.
#[test]
fn without_a_token_it_is_a_plain_challenge() {
    let server = TestServer::spawn();
    for headers in [[].as_slice(), &[("authorization", "Basic YTpi")], &[("authorization", "")]] {
        let answer = server.get("/api/user/me", headers);
        assert_refused(&answer, 401, "Bearer realm=\"tegata\"");
        assert_eq!(answer.json()["detail"], "not authenticated");
    }
}

/// C-42, T-15.
#[test]
fn an_illegible_header_is_a_400() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    let bearer = format!("Bearer {token}");
    for headers in [
        [("authorization", "Bearer")].as_slice(),
        &[("authorization", "Bearer a b")],
        &[("authorization", "Bearer a,b")],
        &[("authorization", &bearer), ("authorization", &bearer)],
    ] {
        let answer = server.get("/api/user/me", headers);
        assert_refused(&answer, 400, "Bearer realm=\"tegata\", error=\"invalid_request\"");
    }
}

#[test]
fn a_token_in_the_query_is_ignored() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    let answer = server.get(&format!("/api/user/me?access_token={token}"), &[]);
    assert_refused(&answer, 401, "Bearer realm=\"tegata\"");
}

/// C-34: no leeway after expiry.
#[test]
fn an_expired_token_is_refused() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    server.clock.advance(1799);
    assert_eq!(server.get_as("/api/user/me", &token).status, 200);
    server.clock.advance(1);
    let answer = server.get_as("/api/user/me", &token);
    assert_refused(&answer, 401, "Bearer realm=\"tegata\", error=\"invalid_token\"");
    assert_eq!(answer.json()["detail"], "could not validate credentials");
}

/// C-38: on the very next request.
#[test]
fn disabling_and_deleting_hold_at_once() {
    let server = TestServer::spawn();
    let (disabled, deleted) = (server.signed_in("disabled@example.com"), server.signed_in("deleted@example.com"));
    assert_eq!(server.get_as("/api/user/me", &disabled).status, 200);
    server.database.execute("UPDATE users SET is_disabled = 1 WHERE email = 'disabled@example.com'");
    assert_refused(&server.get_as("/api/user/me", &disabled), 401, "Bearer realm=\"tegata\", error=\"invalid_token\"");
    server.database.execute("UPDATE users SET is_disabled = 0 WHERE email = 'disabled@example.com'");
    assert_eq!(server.get_as("/api/user/me", &disabled).status, 200);
    server.database.execute("DELETE FROM users WHERE email = 'deleted@example.com'");
    assert_refused(&server.get_as("/api/user/me", &deleted), 401, "Bearer realm=\"tegata\", error=\"invalid_token\"");
}

/// C-26: an id is never reused, so an old token does not open a new account.
#[test]
fn who_registers_a_deleted_address_is_somebody_else() {
    let server = TestServer::spawn();
    let old = server.signed_in("a@example.com");
    server.database.execute("DELETE FROM users WHERE email = 'a@example.com'");
    assert_eq!(server.register("a@example.com", PASSWORD).json()["id"], 2);
    assert_eq!(server.get_as("/api/user/me", &old).status, 401);
}

/// A damaged row fails its own user: looked up in the same moment, the others are served.
#[test]
fn many_users_at_once_each_see_themselves() {
    let server = std::sync::Arc::new(TestServer::spawn());
    let tokens: Vec<_> = (0..40).map(|number| server.signed_in(&format!("{number}@example.com"))).collect();
    let clients: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(number, token)| {
            let server = std::sync::Arc::clone(&server);
            std::thread::spawn(move || {
                for _ in 0..25 {
                    let me = server.get_as("/api/user/me", &token);
                    assert_eq!(me.json()["email"], format!("{number}@example.com"), "{me:?}");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

/// Live means live: while 64 connections ask without pause, a user is disabled, and no request that was sent after the
/// UPDATE's commit is answered 200.
#[test]
fn nobody_is_let_in_after_the_commit() {
    let server = std::sync::Arc::new(TestServer::spawn());
    let token = server.signed_in("a@example.com");
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (server, token, is_over) =
                (std::sync::Arc::clone(&server), token.clone(), std::sync::Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut heard = Vec::new();
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let sent = std::time::Instant::now();
                    heard.push((sent, server.get_as("/api/user/me", &token).status));
                }
                heard
            })
        })
        .collect();
    // Until the crowd is there: then, in its midst, the commit.
    for _ in 0..200 {
        assert_eq!(server.get_as("/api/user/me", &token).status, 200);
    }
    server.database.execute("UPDATE users SET is_disabled = 1");
    let committed = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(server.get_as("/api/user/me", &token).status, 401);
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let heard: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let (after, before): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(sent, _)| *sent > committed);
    assert!(before.iter().any(|(_, status)| *status == 200) && after.len() > 64);
    let others: Vec<_> = after.iter().filter(|(_, status)| *status != 401).collect();
    assert!(others.is_empty(), "answered something else than 401 after the commit at {committed:?}: {others:?}");
}
