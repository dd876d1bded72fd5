//! Clients that want to write a line of the log themselves.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Wire, get};
use crate::database::TestDatabase;
use crate::logged::Logged;
use crate::process::Server;

/// What a client sends to write a line of its own, to colour one or to break one.
fn forgeries() -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = [
        &b"/\r\nFORGED line"[..],
        b"/\nFORGED line",
        b"/%0d%0aFORGED%20line",
        b"/%1b[31mFORGED",
        b"/\x1b[31mFORGED",
        b"/\",\"forged\":\"FORGED",
        b"/\\\",\\\"forged\\\":\\\"",
        b"/\xc3\xa9\xe2\x80\xa8FORGED",
        b"/\xff\xfeFORGED",
        b"/\x00FORGED",
    ]
    .iter()
    .map(|path| [b"GET ", *path, b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"].concat())
    .collect();
    for header in [
        &b"x-request-id: a\r\n FORGED line"[..],
        b"x-request-id: a\nFORGED line",
        b"x-request-id: \x1b[31mFORGED",
        b"x-request-id: \",\"forged\":\"FORGED",
        b"user-agent: \x1b]0;FORGED\x07",
        b"authorization: Bearer \x1b[31mFORGED\x1b[0m",
        b"host: FORGED\x1b[2J",
        b"x: FORGED\r",
        b"content-type: FORGED\x1b[31m",
    ] {
        for method in [&b"GET"[..], b"POST"] {
            let head = [method, b" /api/user/me HTTP/1.1\r\nhost: x\r\n", header, b"\r\nconnection: close\r\n\r\n"];
            requests.push(head.concat());
        }
    }
    requests.push(b"\x1b[31mFORGED / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec());
    requests.push(b"FORGED\x1b[31m".to_vec());
    requests
}

/// Sends each, and then something plain, by which one knows that all lines before it are written.
fn attack(address: SocketAddr) {
    for forgery in forgeries() {
        let mut wire = Wire::open(address).unwrap();
        wire.send(&forgery).unwrap();
        let _ = wire.stream.shutdown(std::net::Shutdown::Write);
        // Refused or answered, whichever: it is over when the server closes.
        let _ = wire.rest();
    }
    assert_eq!(get(address, "/livez").unwrap().status, 200);
}

#[test]
fn a_client_cannot_forge_a_line_of_the_log() {
    let database = TestDatabase::create();
    let server = Logged::start(&database.dir, &[]);
    attack(server.address);
    for line in server.end() {
        assert!(!line.contains(char::is_control), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert!(object.get("forged").is_none(), "{line}");
    }

    let server = Server::start(&database.dir, &[("RUST_LOG", "debug")]);
    attack(server.address);
    server.signal(Signal::TERM);
    let (status, log) = server.wait();
    assert!(status.success() && log.lines().count() > 5, "{log}");
    for line in log.lines() {
        // Each line begins with the time, which nobody else writes.
        assert!(line.starts_with("20") && line.get(10..11) == Some("T"), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
