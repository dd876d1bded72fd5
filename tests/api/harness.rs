//! A server of a test's own, made from settings the way production makes it, and what a client needs to talk to it.
#![allow(dead_code, clippy::allow_attributes, reason = "each suite that includes this uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tegata::app;
use tegata::config::Config;
use tegata::domain::clock::{Clock, UnixTime};
use tokio::sync::oneshot;

use crate::database::TestDatabase;

pub const SECRET_KEY: &str = "the quick brown fox jumps over 13 lazy dogs";
pub const PASSWORD: &str = "correct horse battery staple";
/// A moment in 2026, from which a test's clock starts.
pub const START: i64 = 1_790_000_000;

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct HandClock(Arc<AtomicI64>);

impl Clock for HandClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

impl HandClock {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub clock: HandClock,
    pub database: TestDatabase,
    agent: ureq::Agent,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// A server on an empty database, with cheap hashes.
    pub fn spawn() -> Self {
        Self::spawn_with(&[])
    }

    /// The same, with settings of the test's own.
    pub fn spawn_with(settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create();
        let url = database.url.clone();
        Self::spawn_on(database, &url, settings)
    }

    /// The same, told another `DATABASE_URL` than the database's.
    pub fn spawn_on(database: TestDatabase, url: &str, settings: &[(&str, &str)]) -> Self {
        let dir = database.dir.to_str().unwrap();
        let mut environment = vec![
            ("SECRET_KEY", SECRET_KEY),
            ("DATABASE_URL", url),
            ("DATA_DIR", dir),
            ("BIND_ADDR", "127.0.0.1:0"),
            ("SCRYPT_LOG_N", "4"),
            ("SCRYPT_P", "1"),
            ("ALLOW_WEAK_SCRYPT", "true"),
            ("HASH_THREADS", "2"),
            // All come from one address and sign in over and over; tests of the limits set this otherwise.
            ("RATE_LIMIT", "off"),
        ];
        environment.extend(settings);
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(environment, &database.dir.join(".env")).unwrap();
        let clock = HandClock(Arc::new(AtomicI64::new(START)));
        let (address, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let clock = clock.clone();
            move || {
                actix_web::rt::System::new().block_on(async move {
                    let running = app::start(config, Arc::new(clock)).await.unwrap();
                    address.send(running.address).unwrap();
                    let _ = stopped.await;
                    running.stop().await.unwrap();
                });
            }
        });
        let address = started.recv().expect("the server starts");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            // The server closes what is idle for 5 s; a busy machine may not let a client ask for as long.
            .max_idle_age(Duration::from_secs(2))
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Self { address, clock, database, agent, stop: Some(stop), thread: Some(thread) }
    }

    /// Another server on the same database.
    pub fn beside(&self, settings: &[(&str, &str)]) -> Self {
        Self::spawn_on(TestDatabase::create(), &self.database.url, settings)
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, b"")
    }

    /// GET with a bearer token.
    pub fn get_as(&self, path: &str, token: &str) -> Answer {
        self.get(path, &[("authorization", &format!("Bearer {token}"))])
    }

    pub fn register(&self, email: &str, password: &str) -> Answer {
        self.register_raw(json!({"email": email, "password": password}).to_string().as_bytes())
    }

    pub fn register_raw(&self, body: &[u8]) -> Answer {
        self.send("POST", "/api/register", &[("content-type", "application/json")], body)
    }

    pub fn token(&self, email: &str, password: &str) -> Answer {
        self.token_raw(&form(&[("username", email), ("password", password)]))
    }

    pub fn token_raw(&self, body: &[u8]) -> Answer {
        self.send("POST", "/api/token", &[("content-type", "application/x-www-form-urlencoded")], body)
    }

    /// Registers `email` with [`PASSWORD`] and signs in.
    pub fn signed_in(&self, email: &str) -> String {
        assert_eq!(self.register(email, PASSWORD).status, 201);
        self.token(email, PASSWORD).json()["access_token"].as_str().unwrap().to_owned()
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        };
        Answer::from(response.unwrap())
    }

    /// Sends bytes as they are and reads until the server closes or falls silent for `patience`.
    pub fn raw(&self, bytes: &[u8], patience: Duration) -> RawAnswer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        let is_closed = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(count) => text.extend_from_slice(&chunk[..count]),
                Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        RawAnswer { text: String::from_utf8_lossy(&text).into_owned(), is_closed }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let outcome = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || matches!(outcome, Some(Ok(()))),
            "the server stops with nothing left undone"
        );
    }
}

pub struct RawAnswer {
    pub text: String,
    pub is_closed: bool,
}

impl RawAnswer {
    /// The statuses of all answers on the connection.
    pub fn statuses(&self) -> Vec<u16> {
        self.text
            .match_indices("HTTP/1.1 ")
            .map(|(at, found)| self.text[at + found.len()..][..3].parse().unwrap())
            .collect()
    }

    /// What the contract asks of every answer, also of those to what is no request.
    pub fn check_what_every_answer_has(&self) {
        for answer in self.text.split("HTTP/1.1 ").skip(1) {
            for header in ["cache-control: no-store", "x-content-type-options: nosniff", "x-request-id: "] {
                assert!(answer.contains(header), "{header} is missing in: {answer}");
            }
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl From<ureq::http::Response<ureq::Body>> for Answer {
    fn from(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let body = response.body_mut().read_to_string().unwrap();
        let answer = Self { status: response.status().as_u16(), headers, body };
        answer.check_what_every_answer_has();
        answer
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// C-24, C-50, C-51 and the contract's first paragraph, for each answer that any test receives.
    fn check_what_every_answer_has(&self) {
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| (1..=64).contains(&id.len())), "{self:?}");
        assert_eq!(self.header("server"), None, "{self:?}");
        if self.header("content-security-policy").is_none() {
            // What is published may be kept, and is about nobody.
            let is_published = ["{\"keys\":[", "{\"issuer\":"].iter().any(|start| self.body.starts_with(start));
            let expected = if is_published { "public, max-age=300" } else { "no-store" };
            assert_eq!(self.header("cache-control"), Some(expected), "{self:?}");
        }
        if self.status >= 400
            && !self.body.is_empty()
            && self.header("content-type") != Some("text/plain; charset=utf-8")
        {
            let body = self.json();
            assert_eq!(body["status"], self.status);
            assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
            for key in ["type", "title", "detail"] {
                assert!(body[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {self:?}");
            }
            for hidden in ["$scrypt$", "SELECT", "INSERT", "panicked", "sqlite", "mysql", "/src/", PASSWORD, SECRET_KEY]
            {
                assert!(!self.body.contains(hidden), "{hidden}: {self:?}");
            }
        }
        if self.status == 429 {
            let wait: u64 = self.header("retry-after").unwrap_or_default().parse().unwrap_or_default();
            assert!((1..=900).contains(&wait), "{self:?}");
        }
        if self.status == 503 && self.header("content-type") != Some("text/plain; charset=utf-8") {
            assert_eq!(self.header("retry-after"), Some("1"), "{self:?}");
        }
    }
}

/// An encoded form.
pub fn form(parameters: &[(&str, &str)]) -> Vec<u8> {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&").into_bytes()
}

/// A JWT with any header and claims, signed with HMAC-SHA-256.
pub fn forge(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The header and the claims of a token, as text.
pub fn parts(token: &str) -> (String, String) {
    let mut parts = token.split('.').map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()));
    (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
}
