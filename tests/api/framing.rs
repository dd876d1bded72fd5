//! What arrives as bytes: sizes, slow bodies, ambiguous framing, pipelining. C-53..C-55, F-26, F-27, F-39.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{PASSWORD, RawAnswer, TestServer};

const PATIENCE: Duration = Duration::from_secs(3);

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// C-53: by its announced length, before a byte of it is sent.
#[test]
fn a_large_body_is_refused_before_it_is_read() {
    let server = TestServer::spawn();
    for (headers, path) in
        [("Content-Length: 1073741824\r\n", "register"), ("Content-Length: 16385\r\nExpect: 100-continue\r\n", "token")]
    {
        let content_type = if path == "token" { "application/x-www-form-urlencoded" } else { "application/json" };
        let head = format!("POST /api/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n{headers}\r\n");
        let answer = server.raw(head.as_bytes(), PATIENCE);
        // Not `100 Continue` first: the client asked, and the answer is no.
        assert_eq!(answer.statuses(), [413], "{}", answer.text);
        answer.check_what_every_answer_has();
        assert!(answer.is_closed, "the rest of the body must not be taken for a request");
    }
}

/// C-53: and by what arrives, when nothing is announced.
#[test]
fn an_endless_chunked_body_is_refused_at_16_kib() {
    let server = TestServer::spawn();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&post("Transfer-Encoding: chunked\r\n", "")).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096));
    let (mut sent, began) = (0_u64, Instant::now());
    // Only a closed connection ends it: what is taken before that lies in buffers on the way.
    while began.elapsed() < Duration::from_secs(20) && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 4096;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "the connection is still open after {sent} bytes");
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
}

/// The same where no body is expected: the answer comes, and the connection is closed.
#[test]
fn a_body_that_nobody_reads_does_not_hold_the_connection() {
    let server = TestServer::spawn();
    for path in ["/api/hello", "/api/user/me", "/nowhere"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let answer = server.raw(head.as_bytes(), PATIENCE);
        assert_eq!((answer.statuses().len(), answer.is_closed), (1, true), "{path}: {}", answer.text);
    }
    // A body that ends is no reason to close.
    let two =
        "GET /api/hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".repeat(2);
    let answer = server.raw(two.as_bytes(), Duration::from_millis(500));
    assert_eq!(answer.statuses(), [200, 200], "{}", answer.text);
}

#[test]
fn a_body_of_16_kib_is_read() {
    let server = TestServer::spawn();
    let frame = r#"{"email": "a@example.com", "password": "correct horse battery", "x": ""}"#;
    let body = frame.replace(r#""x": """#, &format!(r#""x": "{}""#, "x".repeat(16 * 1024 - frame.len())));
    assert_eq!(body.len(), 16 * 1024);
    assert_eq!(server.register_raw(body.as_bytes()).status, 201);
    assert_eq!(server.register_raw(format!("{body} ").as_bytes()).status, 413);
}

/// C-54: the whole body within ten seconds, however steadily it trickles.
#[test]
fn a_slow_body_is_a_408() {
    let server = TestServer::spawn();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    stream.write_all(&post("Content-Length: 100\r\n", "")).unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while began.elapsed() < Duration::from_secs(20) {
        let _ = stream.write_all(b" ");
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

/// C-54: the head within five seconds, also that of a later request, and one that came along with another.
#[test]
fn a_slow_head_is_a_408() {
    let server = TestServer::spawn();
    let good = "GET /api/hello HTTP/1.1\r\nHost: x\r\n\r\n";
    std::thread::scope(|scope| {
        for before in ["", good] {
            let server = &server;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
                stream.write_all(before.as_bytes()).unwrap();
                // Before the connection counts as idle.
                let mut answers = Vec::new();
                let began = Instant::now();
                let mut head = "GET /api/hello HTTP/1.1\r\nHost: x\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x'));
                let mut chunk = [0; 1024];
                let is_closed = loop {
                    assert!(began.elapsed() < Duration::from_secs(20), "still open: {answers:?}");
                    let _ = stream.write_all(&[head.next().unwrap()]);
                    match stream.read(&mut chunk) {
                        Ok(0) => break true,
                        Ok(count) => answers.extend_from_slice(&chunk[..count]),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break false,
                    }
                };
                let answer = RawAnswer { text: String::from_utf8(answers).unwrap(), is_closed };
                assert_eq!(answer.statuses().last(), Some(&408), "{}", answer.text);
                answer.check_what_every_answer_has();
            });
        }
        // What is left of a head after a request that came with it: closed, with or without a word.
        let answer = server.raw(format!("{good}GET /api/hel").as_bytes(), Duration::from_secs(15));
        assert!(answer.is_closed && answer.statuses()[0] == 200, "{}", answer.text);
    });
}

/// F-25: a connection on which nothing is asked is closed, without a word.
#[test]
fn an_idle_connection_is_closed() {
    let server = TestServer::spawn();
    let answer = server.raw(b"", Duration::from_secs(15));
    assert_eq!((answer.text.as_str(), answer.is_closed), ("", true));
}

/// F-24, F-25: those who keep the server waiting make room for those who ask for something.
#[test]
fn slow_and_idle_clients_cannot_keep_others_out() {
    let server = TestServer::spawn_with(&[("MAX_CONNECTIONS", "20")]);
    let hold = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut held: Vec<_> = (0..100).map(|number| hold(if number % 2 == 0 { b"" } else { b"GET /api/hel" })).collect();
    // The last of them are in when the first of them are out.
    for stream in held.iter_mut().take(80) {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    for _ in 0..20 {
        let answer = server.raw(b"GET /api/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", PATIENCE);
        assert_eq!(answer.statuses(), [200], "{}", answer.text);
    }
}

/// C-55, RFC 9112 6.3.
#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let server = TestServer::spawn();
    let smuggled = "GET /api/hello HTTP/1.1\r\nHost: x\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n",
        "Content-Length: 0, 44\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "X: a\r\n folded\r\n",
        "Bad Name: x\r\n",
        "Content-Length : 0\r\n",
        "Host: y\r\n",
        "X: bare line feed\n",
    ] {
        let answer = server.raw(&post(headers, &format!("0\r\n\r\n{smuggled}")), PATIENCE);
        assert_eq!((answer.statuses(), answer.is_closed), (vec![400], true), "{headers:?}: {}", answer.text);
        answer.check_what_every_answer_has();
    }
    let no_host = server.raw(b"GET /api/hello HTTP/1.1\r\n\r\n", PATIENCE);
    assert_eq!((no_host.statuses(), no_host.is_closed), (vec![400], true));
}

/// F-39: order kept, and one bad request does not poison the next.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::spawn();
    let good = "GET /api/hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let bad = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /api/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = server.raw(format!("{}{last}", format!("{good}{bad}").repeat(100)).as_bytes(), PATIENCE);
    let expected: Vec<u16> = [200, 404].repeat(100).into_iter().chain([200]).collect();
    assert_eq!((answer.statuses(), answer.is_closed), (expected, true));
}

#[test]
fn an_oversized_head_is_refused() {
    let server = TestServer::spawn();
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(200 * 1024));
    for headers in [many, long] {
        let answer = server.raw(format!("GET /api/hello HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes(), PATIENCE);
        assert!(
            answer.is_closed && answer.statuses().iter().all(|status| [400, 431].contains(status)),
            "{}",
            answer.text
        );
        answer.check_what_every_answer_has();
    }
}
