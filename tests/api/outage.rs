//! What clients hear while the database is away (T-15, O-02). Injecting outages under load is for tests/faults.

use crate::database::TestDatabase;
use crate::harness::{PASSWORD, SECRET_KEY, START, TestServer, forge, parts};

/// Takes the tables away: for the server that is a database which cannot serve.
fn server_without_tables() -> (TestServer, String) {
    let server = TestServer::spawn();
    let token = server.signed_in("a@example.com");
    server.database.execute("DROP TABLE users");
    (server, token)
}

#[test]
fn a_good_token_is_never_called_bad_because_the_database_is_away() {
    let (server, token) = server_without_tables();
    assert_eq!(server.get_as("/api/user/me", &token).status, 503);
    assert_eq!(server.get_as("/api/is_logined", &token).status, 503);
    assert_eq!(server.get("/api/user/me", &[]).status, 401);
    assert_eq!(server.get_as("/api/user/me", "forged").status, 401);
    assert_eq!(server.get("/api/is_logined", &[]).body, r#"{"is_logined":false}"#);
    assert_eq!(server.get_as("/api/is_logined", "forged").body, r#"{"is_logined":false}"#);
}

#[test]
fn register_and_sign_in_say_503_and_when_to_come_back() {
    let (server, _) = server_without_tables();
    assert_eq!(server.register("b@example.com", PASSWORD).status, 503);
    let answer = server.token("a@example.com", PASSWORD);
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"temporarily_unavailable".into()));
    assert_eq!((server.get("/livez", &[]).status, server.get("/readyz", &[]).status), (200, 503));
    assert!(server.get("/readyz", &[]).body.contains("database: failed\n"));
}

/// O-02: the server starts without its database, serves what needs none, and says so.
#[test]
fn a_server_starts_without_its_database_server() {
    // Port 1 of the loopback address: refused at once.
    let server = TestServer::spawn_on(TestDatabase::create(), "mysql://nobody@127.0.0.1:1/none", &[]);
    assert_eq!((server.get("/livez", &[]).status, server.get("/readyz", &[]).status), (200, 503));
    assert_eq!(server.get("/api/is_logined", &[]).status, 200);
    assert_eq!(server.token("a@example.com", PASSWORD).status, 503);
    let other = TestServer::spawn();
    let (header, _) = parts(&other.signed_in("a@example.com"));
    let claims = format!(
        r#"{{"iss":"tegata","aud":"tegata","sub":"1","email":"a@example.com","iat":{START},"exp":{},"jti":"x"}}"#,
        START + 60
    );
    assert_eq!(server.get_as("/api/user/me", &forge(&header, &claims, SECRET_KEY.as_bytes())).status, 503);
}
