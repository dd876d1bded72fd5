//! The log tells of each request once, and of no secret.

use std::net::SocketAddr;

use mysql::prelude::Queryable;
use serde_json::Value;

use crate::account::{Account, PASSWORD};
use crate::client::{Answer, get, grant, registration, request, send};
use crate::database::TestDatabase;
use crate::logged::Logged;
use crate::process::SECRET_KEY;
use crate::wait::until;
use crate::{CHEAP, PATIENCE};

/// Requests good and bad, and what of them nobody may find in a log.
struct Visit {
    address: SocketAddr,
    asked: Vec<String>,
    secrets: Vec<String>,
}

impl Visit {
    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let id = format!("visit-{}", self.asked.len());
        let headers = [headers, &[("x-request-id", &id)]].concat();
        let answer = send(self.address, &request(method, path, &headers, body)).unwrap();
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()), "{answer:?}");
        self.asked.push(id);
        answer
    }

    /// A request as `client` makes it.
    fn send(&mut self, request: &[u8]) -> Answer {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ');
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.starts_with("content-type"))
            .collect();
        self.ask(first.next().unwrap(), first.next().unwrap(), &headers, body.as_bytes())
    }

    /// A password that is recognised wherever it turns up, also in its other forms.
    fn secret(&mut self, text: &str) -> String {
        let encoded = text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        self.secrets.extend([text.to_owned(), encoded]);
        text.to_owned()
    }

    fn make(address: SocketAddr) -> Self {
        let mut visit = Self { address, asked: Vec::new(), secrets: vec![SECRET_KEY.to_owned()] };
        let password = visit.secret("tulip-Gantry-58-lantern");
        let wrong = visit.secret("Wrong-osprey-17-kettle");
        assert_eq!(visit.send(&registration("a@example.com", &password)).status, 201);
        assert_eq!(visit.send(&registration("a@example.com", &wrong)).status, 409);
        assert_eq!(visit.send(&registration("no address", &wrong)).status, 422);
        assert_eq!(visit.send(&grant("a@example.com", &wrong)).status, 401);
        assert_eq!(visit.send(&grant("nobody@example.com", &wrong)).status, 401);
        let token = visit.send(&grant("a@example.com", &password)).token();
        visit.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        let bearer = format!("Bearer {token}");
        assert_eq!(visit.ask("GET", "/api/user/me", &[("authorization", &bearer)], b"").status, 200);
        assert_eq!(visit.ask("GET", "/api/is_logined", &[("authorization", &bearer)], b"").status, 200);
        assert_eq!(visit.ask("GET", "/api/user/me", &[], b"").status, 401);
        // Forged, cut short, of other schemes, twice, and in places where they should not be.
        let forged = format!("{bearer}x");
        assert_eq!(visit.ask("GET", "/api/user/me", &[("authorization", &forged)], b"").status, 401);
        assert_eq!(
            visit.ask("GET", "/api/user/me", &[("authorization", "Basic b3NwcmV5LTE3OnBhc3M=")], b"").status,
            401
        );
        visit.secrets.push("b3NwcmV5LTE3OnBhc3M=".to_owned());
        let twice = [("authorization", bearer.as_str()), ("authorization", &bearer)];
        assert_eq!(visit.ask("GET", "/api/user/me", &twice, b"").status, 400);
        assert_eq!(visit.ask("GET", &format!("/api/user/me?access_token={token}"), &[], b"").status, 401);
        let query = format!("/api/token?password={password}");
        assert_eq!(visit.ask("POST", &query, &[("content-type", "text/plain")], password.as_bytes()).status, 415);
        assert_eq!(
            visit.ask("GET", &format!("/nowhere?password={password}"), &[("cookie", &password)], b"").status,
            404
        );
        let json = [("content-type", "application/json")];
        let torn = format!("{{\"email\": \"b@example.com\", \"password\": \"{password}\"");
        assert_eq!(visit.ask("POST", "/api/register", &json, torn.as_bytes()).status, 400);
        let of_a_wrong_type = format!("{{\"email\": [\"{password}\"], \"password\": {{\"x\": \"{password}\"}}}}");
        assert_eq!(visit.ask("POST", "/api/register", &json, of_a_wrong_type.as_bytes()).status, 422);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let other_grant = format!("grant_type={wrong}&username=a%40example.com&password={password}");
        assert_eq!(visit.ask("POST", "/api/token", &form, other_grant.as_bytes()).status, 400);
        visit
    }

    /// The rows' hashes are secrets too: whole, and their last two parts, salt and hash.
    fn hashes(&mut self, hashes: &[String]) {
        assert!(!hashes.is_empty());
        for hash in hashes {
            self.secrets.push(hash.clone());
            self.secrets.extend(hash.rsplit('$').take(2).map(str::to_owned));
        }
    }

    /// O-08: each request has one line, and no secret is in any.
    fn judge(&self, log: &[String]) {
        let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for id in &self.asked {
            let told = lines.iter().filter(|line| line["message"] == "answered" && line["request_id"] == id.as_str());
            assert_eq!(told.count(), 1, "{id}");
        }
        for line in log {
            for secret in &self.secrets {
                assert!(secret.len() > 10 && !line.contains(secret.as_str()), "{secret} is in {line}");
            }
        }
    }
}

#[test]
fn the_log_tells_of_each_request_once_and_of_no_secret() {
    let database = TestDatabase::create();
    let server = Logged::start(&database.dir, &[CHEAP.as_slice(), &[("SECRET_KEY", SECRET_KEY)]].concat());
    let mut visit = Visit::make(server.address);
    let conn = rusqlite::Connection::open(database.dir.join("data/tegata.db")).unwrap();
    let hash = conn.query_row("SELECT password_hash FROM users", [], |row| row.get(0)).unwrap();
    visit.hashes(&[hash]);
    visit.judge(&server.end());
}

/// The same with a database that has a password, and that turns us away in the middle.
#[test]
fn the_log_tells_of_no_secret_when_mariadb_turns_us_away() {
    let database = TestDatabase::create();
    let mut account = Account::create("tegata_log");
    let server = Logged::start(&database.dir, &account.settings());
    until(PATIENCE, "it is ready", || get(server.address, "/readyz").unwrap().status == 200);
    let mut visit = Visit::make(server.address);
    visit.hashes(&account.admin.query(format!("SELECT password_hash FROM {}.users", account.name)).unwrap());
    visit.secret(PASSWORD);

    account.admin.query_drop(format!("ALTER USER {}@localhost IDENTIFIED BY 'another one'", account.name)).unwrap();
    account.end_every_connection();
    until(PATIENCE, "it is not ready", || get(server.address, "/readyz").unwrap().status == 503);
    assert_eq!(visit.send(&grant("a@example.com", "tulip-Gantry-58-lantern")).status, 503);
    let log = server.end();
    assert!(log.iter().any(|line| line.contains("Access denied")), "{log:#?}");
    visit.judge(&log);
}
