//! The metrics: those that the rules and the dashboard ask for are there, and they move.

use std::path::Path;

use serde_json::Value;

use crate::account::Account;
use crate::client::{Wire, get, get_as, register, request, sign_in};
use crate::database::TestDatabase;
use crate::page::Page;
use crate::process::Server;
use crate::wait::until;
use crate::{CHEAP, PATIENCE};

const PASSWORD: &str = "correct horse battery staple";
const RETRIES: &str = "tegata_database_retries_total";

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Every query of the rules and of the dashboard.
fn queries() -> Vec<String> {
    fn expressions(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if ["expr", "definition"].contains(&name.as_str()) => {
                            found.push(text.clone());
                        }
                        _ => expressions(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    expressions(&serde_json::from_str(&read("docs/monitoring/grafana-dashboard.json")).unwrap(), &mut found);
    assert!(found.len() > 20, "the dashboard has queries");
    let rules = read("docs/monitoring/alerts.yml");
    let is_code = |line: &&str| !line.trim_start().starts_with(['#', '-']) && !line.contains("summary:");
    found.push(rules.lines().filter(is_code).collect::<Vec<_>>().join("\n"));
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// A rule on a metric that is not there never fires, and nobody notices.
#[test]
fn every_metric_that_rules_and_dashboard_ask_for_is_there() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &[CHEAP.as_slice(), &[("METRICS_ADDR", "127.0.0.1:0")]].concat());
    assert_eq!(register(server.address, "a@example.com", PASSWORD).unwrap().status, 201);
    let token = sign_in(server.address, "a@example.com", PASSWORD).unwrap().token();
    for path in ["/api/user/me", "/readyz"] {
        assert_eq!(get_as(server.address, path, &token).unwrap().status, 200);
    }
    let page = Page::of(&server);
    let queries = queries();
    let asked: Vec<&str> = queries
        .iter()
        .flat_map(|query| words(query))
        .filter(|word| word.starts_with("tegata_") || word.starts_with("process_"))
        .collect();
    assert!(asked.len() > 50, "{asked:?}");
    // There from the first retry on, which `a_query_that_ran_again_is_counted` makes.
    for name in asked.into_iter().filter(|name| *name != RETRIES) {
        assert!(page.names().any(|known| known == name), "{name} is asked for and not there");
    }
    for label in ["pool=\"", "route=\""] {
        for query in &queries {
            for value in query.split(label).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let series = format!("{label}{value}\"");
                assert!(page.series.keys().any(|known| known.contains(&series)), "{series} is asked for and not there");
            }
        }
    }
}

#[test]
fn requests_are_counted_by_route_and_status() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &[CHEAP.as_slice(), &[("METRICS_ADDR", "127.0.0.1:0")]].concat());
    assert_eq!(register(server.address, "a@example.com", PASSWORD).unwrap().status, 201);
    let token = sign_in(server.address, "a@example.com", PASSWORD).unwrap().token();
    let before = Page::of(&server);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(get_as(server.address, "/api/user/me", &token).unwrap().status, 200);
                }
            });
        }
    });
    for number in 0..3 {
        assert_eq!(get(server.address, "/api/user/me").unwrap().status, 401);
        // Clients choose paths, and must not choose how many series there are.
        assert_eq!(get(server.address, &format!("/no/such/{number}")).unwrap().status, 404);
    }
    let after = Page::of(&server);
    let more = |route, status| after.answered(route, status) - before.answered(route, status);
    assert_eq!((more("/api/user/me", 200), more("/api/user/me", 401), more("other", 404)), (40.0, 3.0, 3.0));
    let lookups = |page: &Page| page.sum("tegata_lookup_batch_rows_count", &[]);
    assert!((1.0..=40.0).contains(&(lookups(&after) - lookups(&before))));
    let reads = |page: &Page| page.sum("tegata_pool_work_seconds_count", &["pool=\"db-read\""]);
    assert_eq!(reads(&after) - reads(&before), lookups(&after) - lookups(&before));
}

#[test]
fn refusals_for_want_of_a_place_are_counted() {
    let database = TestDatabase::create();
    let settings = [("HASH_THREADS", "1"), ("REQUEST_DEADLINE_SECS", "1"), ("METRICS_ADDR", "127.0.0.1:0")];
    let server = Server::start(&database.dir, &settings);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|_| scope.spawn(|| sign_in(server.address, "nobody@example.com", PASSWORD).unwrap().status))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!(refused > 0 && statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    let page = Page::of(&server);
    assert_eq!(page.answered("/api/token", 503), f64::from(u32::try_from(refused).unwrap()));
    assert!(page.sum("tegata_pool_refused_total", &["pool=\"hash\""]) > 0.0);
    let is_idle = || Page::of(&server).sum("tegata_pool_slots_in_use", &["pool=\"hash\""]) == 0.0;
    until(PATIENCE, "every place is free again", is_idle);
}

#[test]
fn connections_are_counted_while_they_are_open_and_slow_ones_when_they_are_closed() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &[("METRICS_ADDR", "127.0.0.1:0")]);
    let open = || Page::of(&server).sum("tegata_http_connections", &[]);
    let mut wires: Vec<_> = (0..5).map(|_| Wire::open(server.address).unwrap()).collect();
    for wire in &mut wires {
        wire.send(&request("GET", "/livez", &[], b"")).unwrap();
        assert_eq!(wire.answer().unwrap().status, 200);
    }
    assert_eq!(open(), 5.0);
    drop(wires);
    until(PATIENCE, "all are gone", || open() == 0.0);
    let mut slow = Wire::open(server.address).unwrap();
    slow.send(b"GET /livez HTTP/1.1\r\nhost: x").unwrap();
    assert_eq!(slow.answer().unwrap().status, 408);
    assert_eq!(Page::of(&server).sum("tegata_http_connections_slow_total", &[]), 1.0);
}

#[test]
fn a_query_that_ran_again_is_counted() {
    let database = TestDatabase::create();
    let mut account = Account::create("tegata_retries");
    let server =
        Server::start(&database.dir, &[account.settings().as_slice(), &[("METRICS_ADDR", "127.0.0.1:0")]].concat());
    until(PATIENCE, "it is ready", || get(server.address, "/readyz").unwrap().status == 200);
    account.end_every_connection();
    until(PATIENCE, "it is ready again", || get(server.address, "/readyz").unwrap().status == 200);
    assert!(Page::of(&server).sum(RETRIES, &["reason=\"lost the connection\""]) >= 1.0);
}
