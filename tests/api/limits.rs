//! How often one may try. C-13..C-17, T-10.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestServer, form};

/// The server's only neighbour is a proxy, so that a test can be as many clients as it likes.
const BEHIND_A_PROXY: [(&str, &str); 2] = [("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "127.0.0.1")];
const HOME: &str = "192.0.2.1";
const WRONG: &str = "wrong horse battery staple";
const PATIENCE: Duration = Duration::from_secs(30);
const QUARTER: i64 = 15 * 60;

/// An address that nobody has used yet.
fn somewhere() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + COUNT.fetch_add(1, Ordering::Relaxed)).to_string()
}

fn sign_in(server: &TestServer, address: &str, email: &str, password: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-forwarded-for", address)];
    server.send("POST", "/api/token", &headers, &form(&[("username", email), ("password", password)]))
}

/// Guesses at once, each from another address, by status.
fn guess(servers: &[&TestServer], count: usize, email: &str) -> BTreeMap<u16, usize> {
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..count)
            .map(|number| {
                let server = servers[number % servers.len()];
                scope.spawn(move || sign_in(server, &somewhere(), email, WRONG).status)
            })
            .collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    answers.into_iter().fold(BTreeMap::new(), |mut counts, status| {
        *counts.entry(status).or_default() += 1;
        counts
    })
}

fn register_at_home(server: &TestServer, email: &str) {
    assert_eq!(server.register(email, PASSWORD).status, 201);
    assert_eq!(sign_in(server, HOME, email, PASSWORD).status, 200);
}

/// Everything but the request's id.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap();
    let headers = answer.headers.iter().filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let mut headers: Vec<_> = headers.cloned().collect();
    // Their order is drawn anew for each answer.
    headers.sort();
    (answer.status, headers, answer.body.replace(id, "ID"))
}

/// C-14, T-10.
#[test]
fn of_200_guesses_at_once_ten_are_looked_at_whether_or_not_there_is_an_account() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    let expected = BTreeMap::from([(401, 10), (429, 190)]);
    assert_eq!(guess(&[&server], 200, "a@example.com"), expected);
    assert_eq!(guess(&[&server], 200, "nobody@example.com"), expected);
    assert_eq!(guess(&[&server], 200, "no address at all"), expected);
}

/// C-11 for who guesses on: nothing tells an account from none, nor a right password from a wrong one.
#[test]
fn over_the_budget_all_answers_are_the_same() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    for email in ["a@example.com", "nobody@example.com"] {
        guess(&[&server], 10, email);
    }
    let refused = sign_in(&server, &somewhere(), "nobody@example.com", WRONG);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("900")));
    let body = refused.json();
    assert_eq!((&body["error"], &body["status"]), (&json!("temporarily_unavailable"), &json!(429)));
    for (email, password) in [("a@example.com", WRONG), ("a@example.com", PASSWORD), ("nobody@example.com", PASSWORD)] {
        assert_eq!(essence(&sign_in(&server, &somewhere(), email, password)), essence(&refused), "{email} {password}");
    }
    // By the letter of RFC 6749 as well.
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-forwarded-for", "198.51.100.1")];
    let body = form(&[("grant_type", "password"), ("username", "a@example.com"), ("password", PASSWORD)]);
    assert_eq!(server.send("POST", "/oauth2/token", &headers, &body).status, 429);
    // After a quarter of an hour somebody may try again, once.
    server.clock.advance(QUARTER);
    assert_eq!(sign_in(&server, &somewhere(), "a@example.com", PASSWORD).status, 200);
}

/// C-15.
#[test]
fn strangers_cannot_lock_out_the_owner() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    for round in 0..5 {
        let looked_at = guess(&[&server], 50, "a@example.com");
        assert_eq!(looked_at.get(&401), (round == 0).then_some(&10));
        for _ in 0..3 {
            assert_eq!(sign_in(&server, HOME, "a@example.com", PASSWORD).status, 200);
        }
    }
    // A machine in the owner's own network can spoil that network's budget, and no other one.
    let at_home = (0..15).map(|_| sign_in(&server, HOME, "a@example.com", WRONG).status).collect::<Vec<_>>();
    assert_eq!(at_home.iter().filter(|status| **status == 401).count(), 10, "{at_home:?}");
    assert_eq!(sign_in(&server, HOME, "a@example.com", PASSWORD).status, 429);
}

/// An IPv6 network is the owner's as a whole.
#[test]
fn another_address_of_the_owners_network_is_the_owners() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    assert_eq!(server.register("a@example.com", PASSWORD).status, 201);
    assert_eq!(sign_in(&server, "2001:db8::1", "a@example.com", PASSWORD).status, 200);
    guess(&[&server], 10, "a@example.com");
    assert_eq!(sign_in(&server, "2001:db8::2:1", "a@example.com", PASSWORD).status, 200);
    assert_eq!(sign_in(&server, "2001:db8:0:1::1", "a@example.com", PASSWORD).status, 429);
}

/// Whoever is over the budget takes no place in the hash queue: a flood at one account keeps nobody from signing in, and
/// is refused also while there are no places left.
#[test]
fn who_is_over_the_budget_takes_no_place_from_others() {
    // A third of the default's cost, and nine places.
    let cost = [("SCRYPT_LOG_N", "13"), ("SCRYPT_R", "8"), ("SCRYPT_P", "4"), ("HASH_THREADS", "1")];
    let server = TestServer::spawn_with(&[&BEHIND_A_PROXY[..], &cost, &[("REQUEST_DEADLINE_SECS", "1")]].concat());
    let is_used_up = (0..100).any(|_| sign_in(&server, &somewhere(), "a@example.com", WRONG).status == 429);
    assert!(is_used_up);
    let (over, is_over) = mpsc::channel::<()>();
    let others: Vec<u16> = std::thread::scope(|scope| {
        let server = &server;
        let others: Vec<_> = (0..30)
            .map(|number| {
                scope.spawn(move || sign_in(server, &somewhere(), &format!("b{number}@example.com"), WRONG).status)
            })
            .collect();
        let guesses = scope.spawn(move || {
            // Now and then: hashing gives way to everything else on this machine, other tests' too.
            while is_over.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                assert_eq!(sign_in(server, &somewhere(), "a@example.com", WRONG).status, 429);
            }
        });
        let others = others.into_iter().map(|other| other.join().unwrap()).collect();
        drop(over);
        guesses.join().unwrap();
        others
    });
    assert!(others.contains(&503), "there were more than there are places: {others:?}");
}

#[test]
fn two_servers_on_one_database_share_the_budget() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    let second = server.beside(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    assert_eq!(guess(&[&server, &second], 200, "a@example.com"), BTreeMap::from([(401, 10), (429, 190)]));
    assert_eq!(sign_in(&second, HOME, "a@example.com", PASSWORD).status, 200, "home is known on every node");
}

/// C-17.
#[test]
fn all_spellings_of_an_address_share_one_budget() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    let spellings = ["A@x.org", "a@X.org", "a@x.org ", "\u{ff41}@x.org", "a@x.org"];
    let statuses: Vec<_> =
        spellings.iter().cycle().take(11).map(|email| sign_in(&server, HOME, email, WRONG).status).collect();
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10], 429);
}

#[test]
fn a_network_is_the_owners_for_ninety_days() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    server.clock.advance(90 * 24 * 60 * 60 - 1);
    guess(&[&server], 10, "a@example.com");
    assert_eq!(sign_in(&server, HOME, "a@example.com", WRONG).status, 401);
    server.clock.advance(1);
    assert_eq!(sign_in(&server, HOME, "a@example.com", PASSWORD).status, 429);
}

#[test]
fn who_signs_in_over_and_over_uses_nothing_up() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    for _ in 0..40 {
        assert_eq!(sign_in(&server, HOME, "a@example.com", PASSWORD).status, 200);
        assert_eq!(sign_in(&server, &somewhere(), "a@example.com", PASSWORD).status, 200);
    }
}

/// Somebody with a stolen token guesses the password on.
#[test]
fn changing_the_password_counts_like_signing_in() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    let token = server.signed_in("a@example.com");
    let bearer = format!("Bearer {token}");
    let change = |address: &str, current: &str| {
        let headers = [("authorization", &*bearer), ("content-type", "application/json"), ("x-forwarded-for", address)];
        let body = json!({"current_password": current, "new_password": "another horse battery staple"}).to_string();
        server.send("POST", "/api/user/password", &headers, body.as_bytes())
    };
    let statuses: Vec<_> = (0..11).map(|_| change(&somewhere(), WRONG).status).collect();
    assert_eq!((&statuses[..10], statuses[10]), (&[422; 10][..], 429));
    let refused = change(&somewhere(), PASSWORD);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("900")));
    // The token came to the proxy's own address, which is the owner's network.
    assert_eq!(change("127.0.0.1", PASSWORD).status, 204);
}

/// O-06: what cannot be counted is not looked at.
#[test]
fn without_its_table_nobody_gets_in() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    register_at_home(&server, "a@example.com");
    server.database.execute("DROP TABLE sign_in_budgets");
    let answer = sign_in(&server, HOME, "a@example.com", PASSWORD);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(server.get("/readyz", &[]).status, 503);
}

/// C-16, T-10: who is no proxy of ours can say what it likes.
#[test]
fn forged_headers_change_nothing() {
    let server = TestServer::spawn_with(&[("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "198.51.100.0/24")]);
    let statuses: Vec<_> = (0..100)
        .map(|number| {
            let (address, email) = (somewhere(), format!("{number}@example.com"));
            let forwarded = format!("for={address}");
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-forwarded-for", &*address),
                ("forwarded", &*forwarded),
                ("x-real-ip", &*address),
            ];
            server.send("POST", "/api/token", &headers, &form(&[("username", &email), ("password", WRONG)])).status
        })
        .collect();
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    // One more every other second, and the machine may be slow.
    assert!((60..80).contains(&looked_at), "{looked_at}");
    assert_eq!(statuses.last(), Some(&429));
}

/// The same behind a proxy of ours: it wrote the right-most hop, and the client the others.
#[test]
fn what_a_client_tells_the_proxy_changes_nothing() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    let ask = |forwarded_for: &str, extra: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", forwarded_for),
            ("forwarded", extra),
            ("x-real-ip", extra),
        ];
        server.send("POST", "/api/register", &headers, br#"{"email":"a@example.com","password":"short"}"#);
        let body = json!({"email": format!("{extra}@example.com"), "password": PASSWORD}).to_string();
        server.send("POST", "/api/register", &headers, body.as_bytes())
    };
    for number in 0..20 {
        let (forged, extra) = (somewhere(), format!("a{number}"));
        assert_eq!(ask(&format!("{forged}, {HOME}"), &extra).status, 201);
    }
    let refused = ask(&format!("{}, {HOME}", somewhere()), "b");
    assert_eq!(refused.status, 429, "the twenty-first");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=180).contains(&wait), "{wait}");
    assert_eq!(ask("192.0.2.2", "c").status, 201, "somebody else");
    // An IPv6 network is one client, whatever address of it is used.
    for number in 0..20 {
        assert_eq!(ask(&format!("2001:db8::{number}"), &format!("d{number}")).status, 201);
    }
    assert_eq!(ask("2001:db8::ffff", "e").status, 429);
    assert_eq!(ask("2001:db8:0:1::1", "f").status, 201);
}

#[test]
fn each_client_has_so_many_requests_and_the_operator_is_never_refused() {
    let server = TestServer::spawn_with(&BEHIND_A_PROXY);
    let ask = |path: &str, address: &str| server.get(path, &[("x-forwarded-for", address)]);
    // Many on one connection: faster than a thousand a second.
    let many = format!("GET /api/hello HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {HOME}\r\n\r\n").repeat(500);
    let many = many + "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut allowed = 0;
    let refused = (0..200).find_map(|_| {
        let answers = server.raw(many.as_bytes(), PATIENCE).text;
        allowed += answers.matches("HTTP/1.1 200").count();
        let at = answers.find("HTTP/1.1 429")?;
        Some(answers[at..].lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    });
    let refused = refused.expect("100,000 requests are too many");
    assert!(allowed >= 5000, "{allowed}");
    for header in ["retry-after: 1", "content-type: application/problem+json"] {
        assert!(refused.iter().any(|line| line == header), "{refused:?}");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(path, HOME).status, 200);
    }
    assert_eq!(ask("/api/hello", "192.0.2.2").status, 200, "somebody else");
}

#[test]
fn limits_can_be_switched_off_for_load_tests() {
    let server = TestServer::spawn_with(&[("RATE_LIMIT", "off")]);
    assert_eq!(guess(&[&server], 100, "a@example.com"), BTreeMap::from([(401, 100)]));
    assert_eq!(server.database.column("SELECT COUNT(*) FROM sign_in_budgets"), ["0"]);
}
