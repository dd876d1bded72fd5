//! Sessions: refresh tokens, signing out, the list of one's sessions. R-01..R-06.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::{Answer, PASSWORD, TestServer, form, parts};

const DAY: i64 = 24 * 60 * 60;

struct Grant {
    access: String,
    refresh: String,
}

fn grant(answer: &Answer) -> Grant {
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |name: &str| answer.json()[name].as_str().unwrap_or_else(|| panic!("{name}: {answer:?}")).to_owned();
    Grant { access: text("access_token"), refresh: text("refresh_token") }
}

fn sign_in(server: &TestServer) -> Grant {
    grant(&server.token("a@example.com", PASSWORD))
}

fn refresh(server: &TestServer, token: &str) -> Answer {
    server.token_raw(&form(&[("grant_type", "refresh_token"), ("refresh_token", token)]))
}

fn post_as(server: &TestServer, path: &str, token: &str) -> u16 {
    server.send("POST", path, &[("authorization", &format!("Bearer {token}"))], b"").status
}

fn me(server: &TestServer, token: &str) -> u16 {
    server.get_as("/api/user/me", token).status
}

fn server() -> TestServer {
    let server = TestServer::spawn();
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    server
}

fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_grant".into()), "{answer:?}");
}

#[test]
fn a_refresh_token_gets_the_next_pair() {
    let server = server();
    let first = sign_in(&server);
    let answer = refresh(&server, &first.refresh);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let second = grant(&answer);
    assert!(second.refresh != first.refresh && second.access != first.access);
    // An access token counts until it expires or its session ends.
    assert_eq!((me(&server, &first.access), me(&server, &second.access)), (200, 200));
    server.clock.advance(1800);
    assert_eq!((me(&server, &first.access), me(&server, &second.access)), (401, 401));
    let third = grant(&refresh(&server, &second.refresh));
    assert_eq!(me(&server, &third.access), 200);
    assert_eq!(server.database.column("SELECT COUNT(*) FROM sessions"), ["1"], "however often");
}

/// C-36, R-17: each kind of token opens only what it is for.
#[test]
fn tokens_are_not_taken_for_one_another() {
    let server = server();
    let Grant { access, refresh: token } = sign_in(&server);
    assert_eq!(me(&server, &token), 401);
    assert_refused(&refresh(&server, &access));
    for damaged in
        ["x", "a.b.c", &token[1..], &format!("{token}A"), &token.replace(".0.", ".1."), &token.replace(".0.", ".00.")]
    {
        assert_refused(&refresh(&server, damaged));
    }
    let empty = refresh(&server, "");
    assert_eq!((empty.status, &empty.json()["error"]), (400, &"invalid_request".into()));
    // Nothing of this has cost the session.
    assert_eq!(refresh(&server, &token).status, 200);
}

/// tabs that race all end with a working pair, and one chain lives.
#[test]
fn two_hundred_refreshes_of_one_token_at_once() {
    let server = Arc::new(server());
    let first = sign_in(&server);
    let grants: Vec<_> = std::thread::scope(|scope| {
        let racing: Vec<_> = (0..200).map(|_| scope.spawn(|| grant(&refresh(&server, &first.refresh)))).collect();
        racing.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(grants.iter().all(|grant| grant.refresh == grants[0].refresh), "one chain");
    assert!(grants.iter().all(|grant| me(&server, &grant.access) == 200));
    assert_eq!(refresh(&server, &grants[0].refresh).status, 200);
    assert_eq!(server.database.column("SELECT generation FROM sessions"), ["2"]);
}

/// a client that lost the answer asks again.
#[test]
fn a_lost_answer_can_be_had_again() {
    let server = server();
    let first = sign_in(&server);
    let lost = grant(&refresh(&server, &first.refresh));
    server.clock.advance(10);
    let again = grant(&refresh(&server, &first.refresh));
    assert_eq!(again.refresh, lost.refresh);
    assert_eq!(me(&server, &again.access), 200);
}

/// later than that, two parties have the token, and nobody knows which of them is the owner.
#[test]
fn a_token_that_is_used_late_again_ends_the_session() {
    let server = server();
    let (stolen, other) = (sign_in(&server), sign_in(&server));
    let newest = grant(&refresh(&server, &stolen.refresh));
    server.clock.advance(60);
    assert_refused(&refresh(&server, &stolen.refresh));
    assert_refused(&refresh(&server, &newest.refresh));
    assert_eq!(me(&server, &newest.access), 401);
    assert_eq!(me(&server, &other.access), 200, "the user's other sessions go on");
}

#[test]
fn a_session_slides_and_ends() {
    let server = server();
    let mut newest = sign_in(&server);
    for _ in 0..4 {
        server.clock.advance(20 * DAY);
        newest = grant(&refresh(&server, &newest.refresh));
    }
    server.clock.advance(11 * DAY);
    assert_refused(&refresh(&server, &newest.refresh));
    let idle = sign_in(&server);
    server.clock.advance(31 * DAY);
    assert_refused(&refresh(&server, &idle.refresh));
}

///
#[test]
fn signing_out_holds_on_the_next_request() {
    let server = server();
    let (here, there) = (sign_in(&server), sign_in(&server));
    assert_eq!(post_as(&server, "/api/logout", &here.access), 204);
    assert_eq!((me(&server, &here.access), me(&server, &there.access)), (401, 200));
    assert_refused(&refresh(&server, &here.refresh));
    assert_eq!(post_as(&server, "/api/logout", &here.access), 401, "signed out already");
    let again = sign_in(&server);
    assert_eq!(post_as(&server, "/api/logout_all", &there.access), 204);
    for ended in [&there, &again] {
        assert_eq!(me(&server, &ended.access), 401);
        assert_refused(&refresh(&server, &ended.refresh));
    }
    assert_eq!(me(&server, &sign_in(&server).access), 200, "and signing in again works at once");
}

/// disabled and deleted users.
#[test]
fn a_session_ends_with_its_user() {
    let server = server();
    let Grant { access, refresh: token } = sign_in(&server);
    server.database.execute("UPDATE users SET is_disabled = 1");
    assert_eq!(me(&server, &access), 401);
    assert_refused(&refresh(&server, &token));
    server.database.execute("UPDATE users SET is_disabled = 0");
    let Grant { access, refresh: token } = sign_in(&server);
    server.database.execute("DELETE FROM users");
    assert_eq!(me(&server, &access), 401);
    assert_refused(&refresh(&server, &token));
}

#[test]
fn the_list_tells_when_where_and_on_what() {
    let server = server();
    let agent = |name: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("user-agent", name)];
        grant(&server.send(
            "POST",
            "/api/token",
            &headers,
            &form(&[("username", "a@example.com"), ("password", PASSWORD)]),
        ))
    };
    let phone = agent(&format!("Phone {}", "x".repeat(300)));
    server.clock.advance(5);
    let laptop = agent("Laptop");
    let list = |token: &str| server.get_as("/api/user/sessions", token).json().as_array().unwrap().clone();
    let sessions = list(&laptop.access);
    let field = |name: &str| sessions.iter().map(|session| session[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("is_current"), [Value::Bool(true), Value::Bool(false)], "the one used last first");
    assert_eq!(field("address"), ["127.0.0.1", "127.0.0.1"]);
    assert_eq!(sessions[0]["user_agent"], "Laptop");
    assert_eq!(sessions[1]["user_agent"].as_str().unwrap().len(), 200);
    assert_eq!(sessions[0]["created_at"].as_i64().unwrap() - sessions[1]["created_at"].as_i64().unwrap(), 5);
    // One of them can be ended from the other.
    let delete = |id: &str| {
        let headers = [("authorization", format!("Bearer {}", laptop.access))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.send("DELETE", &format!("/api/user/sessions/{id}"), &headers, b"").status
    };
    let id = sessions[1]["id"].as_str().unwrap();
    assert_eq!((delete(id), delete(id), delete("nonsense")), (204, 404, 404));
    assert_eq!((me(&server, &phone.access), me(&server, &laptop.access)), (401, 200));
    assert_eq!(list(&laptop.access).len(), 1);
    // Nobody else's.
    server.register("b@example.com", PASSWORD);
    let other = grant(&server.token("b@example.com", PASSWORD));
    let theirs = list(&other.access)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(delete(&theirs), 404);
    assert_eq!(me(&server, &other.access), 200);
}

/// ASVS 7.2.3: each of the 128 bits is set in some names and not in others.
#[test]
fn names_of_sessions_are_random() {
    let server = server();
    let names: HashSet<u128> = (0..100)
        .map(|_| {
            let (_, claims) = parts(&sign_in(&server).access);
            let claims: Value = serde_json::from_str(&claims).unwrap();
            let name = URL_SAFE_NO_PAD.decode(claims["sid"].as_str().unwrap()).unwrap();
            u128::from_be_bytes(name.try_into().unwrap())
        })
        .collect();
    assert_eq!(names.len(), 100);
    assert_eq!(names.iter().fold(0, |all, name| all | name), u128::MAX);
    assert_eq!(names.iter().fold(u128::MAX, |all, name| all & name), 0);
}

/// C-16: behind a proxy it is the client's address that people recognise, not the proxy's nor one that was forged.
#[test]
fn the_list_tells_the_clients_address_behind_a_proxy() {
    let server = TestServer::spawn_with(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    server.register("a@example.com", PASSWORD);
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("x-forwarded-for", "203.0.113.9, 2001:db8::7")];
    let body = form(&[("username", "a@example.com"), ("password", PASSWORD)]);
    let signed_in = grant(&server.send("POST", "/api/token", &headers, &body));
    assert_eq!(server.get_as("/api/user/sessions", &signed_in.access).json()[0]["address"], "2001:db8::7");
}

/// RFC 7009 2.2, R-06.
#[test]
fn either_token_revokes_its_session_and_unknown_ones_are_fine() {
    let server = server();
    let revoke = |body: &[u8]| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        server.send("POST", "/oauth2/revoke", &headers, body).status
    };
    for by_refresh in [true, false] {
        let Grant { access, refresh: token } = sign_in(&server);
        let hint = if by_refresh { "refresh_token" } else { "access_token" };
        let presented = if by_refresh { &token } else { &access };
        assert_eq!(revoke(&form(&[("token", presented), ("token_type_hint", hint)])), 200);
        assert_eq!(me(&server, &access), 401);
        assert_refused(&refresh(&server, &token));
        assert_eq!(revoke(&form(&[("token", presented)])), 200, "again");
    }
    assert_eq!(revoke(&form(&[("token", "nonsense")])), 200);
    assert_eq!(revoke(b""), 400);
    assert_eq!(server.get("/oauth2/revoke", &[]).status, 405);
}

/// RFC 6749 5.2: bad credentials are the grant's fault and not the client's.
#[test]
fn the_endpoint_of_the_standard_is_strict() {
    let server = server();
    let token = |parameters: &[(&str, &str)]| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        server.send("POST", "/oauth2/token", &headers, &form(parameters))
    };
    let credentials = [("username", "a@example.com"), ("password", PASSWORD)];
    let missing = token(&credentials);
    assert_eq!((missing.status, &missing.json()["error"]), (400, &"invalid_request".into()));
    let given = grant(&token(&[&[("grant_type", "password")], &credentials[..]].concat()));
    assert_eq!(me(&server, &given.access), 200);
    let wrong = token(&[("grant_type", "password"), ("username", "a@example.com"), ("password", "wrong password")]);
    assert_eq!(wrong.header("www-authenticate"), None);
    assert_refused(&wrong);
    let next = token(&[("grant_type", "refresh_token"), ("refresh_token", &given.refresh)]);
    assert_refused(&token(&[("grant_type", "refresh_token"), ("refresh_token", "nonsense")]));
    assert_eq!(grant(&next).refresh.split('.').nth(1), Some("1"));
}

/// F-08: without a session an access token is held against its user's row.
#[test]
fn a_sign_in_without_a_session_still_counts() {
    let server = server();
    server.database.execute("ALTER TABLE sessions RENAME TO elsewhere");
    let answer = server.token("a@example.com", PASSWORD);
    assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None), "{answer:?}");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(me(&server, &token), 200);
    server.database.execute("ALTER TABLE elsewhere RENAME TO sessions");
    assert_eq!(server.get_as("/api/user/sessions", &token).json().as_array().unwrap().len(), 0);
    server.clock.advance(1);
    assert_eq!(post_as(&server, "/api/logout_all", &token), 204);
    assert_eq!(me(&server, &token), 401);
    server.clock.advance(1);
    assert_eq!(me(&server, &sign_in(&server).access), 200);
}
