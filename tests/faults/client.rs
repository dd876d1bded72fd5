//! A client that tells apart what others call an error: refused, reset, closed without an answer, no answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer may take: what has not come by then never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| *known == name)
            .map(|h| h.1)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn token(&self) -> String {
        self.json()["access_token"].as_str().unwrap_or_else(|| panic!("no token: {self:?}")).to_owned()
    }
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nobody listens: the request was not taken.
    Refused,
    Reset,
    /// Closed in order, but before the answer was whole.
    Closed,
    TimedOut,
}

fn silence(error: &std::io::Error) -> Silence {
    match error.kind() {
        ErrorKind::ConnectionRefused => Silence::Refused,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Silence::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Silence::Reset,
        kind => panic!("a client of its own failed: {kind:?} {error}"),
    }
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub fn open(address: SocketAddr) -> Result<Self, Silence> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| silence(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self { stream, unread: Vec::new() })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Silence> {
        self.stream.write_all(bytes).map_err(|error| silence(&error))
    }

    /// The next answer on the connection.
    pub fn answer(&mut self) -> Result<Answer, Silence> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8_lossy(&self.unread[..head_end]).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < head_end + length {
            self.read_more()?;
        }
        answer.body = String::from_utf8_lossy(&self.unread[head_end..head_end + length]).into_owned();
        self.unread.drain(..head_end + length);
        Ok(answer)
    }

    /// Whether the server has closed the connection, as it may at any time between two requests.
    pub fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let outcome = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the server closed the connection, or does within `patience`; reads what still comes.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        let began = std::time::Instant::now();
        while let Some(left) = patience.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.read_more() {
                Ok(()) => {}
                Err(silence) => return silence != Silence::TimedOut,
            }
        }
        false
    }

    /// Everything until the server closes.
    pub fn rest(mut self) -> Result<Vec<u8>, Silence> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                // A reset after the answers is one way to close on bytes that nobody will read.
                Err(Silence::Closed | Silence::Reset) => return Ok(self.unread),
                Err(silence) => return Err(silence),
            }
        }
    }

    fn read_more(&mut self) -> Result<(), Silence> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Silence::Closed),
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(silence(&error)),
        }
    }
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, request: &[u8]) -> Result<Answer, Silence> {
    let mut wire = Wire::open(address)?;
    // The server may answer and close before it has read everything.
    let _ = wire.send(request);
    wire.answer()
}

pub fn get(address: SocketAddr, path: &str) -> Result<Answer, Silence> {
    send(address, &request("GET", path, &[], b""))
}

pub fn get_as(address: SocketAddr, path: &str, token: &str) -> Result<Answer, Silence> {
    send(address, &request("GET", path, &[("authorization", &format!("Bearer {token}"))], b""))
}

pub fn register(address: SocketAddr, email: &str, password: &str) -> Result<Answer, Silence> {
    send(address, &registration(email, password))
}

pub fn sign_in(address: SocketAddr, email: &str, password: &str) -> Result<Answer, Silence> {
    send(address, &grant(email, password))
}

/// The same behind a proxy that says for whom.
pub fn sign_in_from(address: SocketAddr, client: &str, email: &str, password: &str) -> Result<Answer, Silence> {
    send(address, &grant_with(&[("x-forwarded-for", client)], email, password))
}

pub fn registration(email: &str, password: &str) -> Vec<u8> {
    let body = serde_json::json!({"email": email, "password": password}).to_string();
    request("POST", "/api/register", &[("content-type", "application/json")], body.as_bytes())
}

pub fn grant(email: &str, password: &str) -> Vec<u8> {
    grant_with(&[], email, password)
}

fn grant_with(headers: &[(&str, &str)], email: &str, password: &str) -> Vec<u8> {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let body = format!("username={}&password={}", encode(email), encode(password));
    let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
    request("POST", "/api/token", &headers, body.as_bytes())
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: faults\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        bytes += &format!("content-length: {}\r\n", body.len());
    }
    bytes += "\r\n";
    [bytes.as_bytes(), body].concat()
}
