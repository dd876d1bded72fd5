//! Everything around the four endpoints: hello, health, the API document, unknown paths and methods.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{PASSWORD, TestServer};

#[test]
fn hello_is_a_json_string() {
    let server = TestServer::spawn();
    let answer = server.get("/api/hello", &[]);
    assert_eq!((answer.status, answer.json()), (200, json!("Hello")));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn health_tells_part_by_part() {
    let server = TestServer::spawn();
    assert_eq!(server.get("/livez", &[]).status, 200);
    let ready = server.get("/readyz", &[]);
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, "database: ok\ndatabase workers: ok\nsigning keys: ok\nhash workers: ok\nnot shutting down: ok\n")
    );
}

/// C-52: unknown paths and methods, in the one error shape.
#[test]
fn unknown_paths_are_404_and_other_methods_405() {
    let server = TestServer::spawn();
    for path in
        ["/", "/api", "/api/", "/api/nothing", "/api/user/me/", "/API/HELLO", "/docs/nothing", "/.env", "/api/../livez"]
    {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")), "{path}");
    }
    for (path, allow) in [
        ("/api/register", "POST"),
        ("/api/token", "POST"),
        ("/api/user/me", "GET, HEAD"),
        ("/api/is_logined", "GET, HEAD"),
        ("/api/hello", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ] {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            let answer = server.send(method, path, &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
        }
        let head = server.send("HEAD", path, &[], b"");
        assert_eq!((head.status == 405, head.body.as_str()), (allow == "POST", ""), "HEAD {path}");
    }
}

/// C-58: no cross-origin answers.
#[test]
fn cors_is_off() {
    let server = TestServer::spawn();
    for origin in ["https://evil.example", "null"] {
        let answer = server.get("/api/hello", &[("origin", origin)]);
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{answer:?}");
    }
}

#[test]
fn the_request_id_is_taken_over_if_it_is_harmless() {
    let server = TestServer::spawn();
    assert_eq!(server.get("/nowhere", &[("x-request-id", "my-id_1.2")]).json()["request_id"], "my-id_1.2");
    let made = server.get("/nowhere", &[("x-request-id", "not harmless")]);
    assert_ne!(made.json()["request_id"], "not harmless");
}

#[test]
fn the_api_document_describes_every_route() {
    let server = TestServer::spawn();
    let document = server.get("/openapi.json", &[]).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    // Each that the route table has, but for the document's own.
    let table = include_str!("../../src/http/mod.rs").lines().filter_map(|line| line.split('"').nth(1));
    let routes: Vec<_> = table.filter(|first| first.starts_with('/')).map(str::to_owned).collect();
    assert!(routes.len() >= 19, "{routes:?}");
    for route in routes.iter().filter(|route| **route != "/openapi.json" && !route.starts_with("/docs")) {
        assert!(paths.contains(route), "{route} is missing in {paths:?}");
    }
    let scheme = &document["components"]["securitySchemes"]["OAuth2PasswordBearer"];
    assert_eq!(scheme["flows"]["password"]["tokenUrl"], "/api/token");
    assert_eq!(document["paths"]["/api/user/me"]["get"]["security"], json!([{"OAuth2PasswordBearer": []}]));
}

#[test]
fn swagger_ui_comes_from_the_binary() {
    let server = TestServer::spawn();
    let redirect = server.get("/docs", &[]);
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("/docs/")));
    for (path, media_type) in [
        ("/docs/", "text/html"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-initializer.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
    ] {
        let answer = server.get(path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with(media_type), "{path}: {answer:?}");
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert!(!answer.body.is_empty());
    }
}

/// F-22: work that waits for a hash thread is skipped when its client has vanished.
#[test]
fn queued_registrations_of_clients_who_vanished_are_skipped() {
    const CLIENTS: usize = 14;
    const PATIENCE: Duration = Duration::from_secs(60);
    let cost = [("SCRYPT_LOG_N", "15"), ("SCRYPT_P", "3"), ("HASH_THREADS", "1")];
    // Hashing gives way to all other tests: nothing of this must end at the deadline.
    let server = TestServer::spawn_with(&[&cost[..], &[("REQUEST_DEADLINE_SECS", "60")]].concat());
    let streams: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let body = json!({"email": format!("{number}@example.com"), "password": PASSWORD}).to_string();
            let length = body.len();
            let mut stream = TcpStream::connect(server.address).unwrap();
            write!(stream, "POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            stream
        })
        .collect();
    // Once the first is there, the others have long been in the queue behind it.
    let began = Instant::now();
    streams[0].set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    while server.database.column("SELECT COUNT(*) FROM users") == ["0"] {
        assert!(began.elapsed() < PATIENCE, "nobody was registered");
        let _ = streams[0].peek(&mut [0]);
    }
    for stream in streams {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    // First come, first served: when this one is answered, nothing is left of those before it.
    assert_eq!(server.register("last@example.com", PASSWORD).status, 201);
    let rows: usize = server.database.column("SELECT COUNT(*) FROM users")[0].parse().unwrap();
    assert!(rows < CLIENTS / 2, "{rows} rows: the work of clients who had vanished was done");
}
