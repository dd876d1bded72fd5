//! `GET /api/is_logined`: never 401, never a guess.

use crate::harness::{Answer, TestServer};

fn assert_says(answer: &Answer, is_logined: bool) {
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, if is_logined { r#"{"is_logined":true}"# } else { r#"{"is_logined":false}"# })
    );
    assert_eq!((answer.header("vary"), answer.header("www-authenticate")), (Some("Authorization"), None));
}

#[test]
fn yes_with_a_valid_token_and_no_with_anything_else() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    assert_says(&server.get_as("/api/is_logined", &token), true);
    let bearer = format!("Bearer {token}");
    for headers in [
        [].as_slice(),
        &[("authorization", "Basic YTpi")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer a,b")],
        &[("authorization", "Bearer not-a-token")],
        &[("authorization", &bearer[..bearer.len() - 2])],
        &[("authorization", &bearer), ("authorization", &bearer)],
    ] {
        assert_says(&server.get("/api/is_logined", headers), false);
    }
    server.clock.advance(1800);
    assert_says(&server.get_as("/api/is_logined", &token), false);
}

/// C-38.
#[test]
fn no_as_soon_as_the_user_is_disabled_or_gone() {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    server.database.execute("UPDATE users SET is_disabled = 1");
    assert_says(&server.get_as("/api/is_logined", &token), false);
    server.database.execute("DELETE FROM users");
    assert_says(&server.get_as("/api/is_logined", &token), false);
}
