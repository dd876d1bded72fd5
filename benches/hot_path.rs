//! Micro-benchmarks of what happens for every request: `cargo bench`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use prometheus_client::registry::Registry;
use tegata::accounts::{self, Services, SessionSettings, Shared, identify::identify};
use tegata::domain::clock::{Clock, SystemClock};
use tegata::domain::email::Email;
use tegata::domain::password::{Password, PasswordHash, PasswordRules};
use tegata::domain::signing_key::SigningAlgorithm;
use tegata::domain::user::{User, UserId};
use tegata::hashing::{self, Cost};
use tegata::pool;
use tegata::store::users::CreateUser;
use tegata::store::{self, DatabaseUrl, Store};
use tegata::tokens::{AUDIENCE, ISSUER, Keyring, SecretKey, Settings};

const SECRET: &str = "the quick brown fox jumps over 13 lazy dogs";

fn keyring() -> Keyring {
    let secret = SecretKey::parse(SECRET).expect("a good key");
    Keyring::new(&Settings {
        secret,
        previous: None,
        algorithm: SigningAlgorithm::Hs256,
        issuer: ISSUER.to_owned(),
        lifetime_secs: 3600,
    })
    .expect("a keyring")
}

fn token(keyring: &Keyring, id: i64) -> String {
    let user = User { id: UserId(id), email: "someone@example.com".to_owned(), is_disabled: false };
    keyring.issue(&user, None, SystemClock.now()).expect("a token").token
}

/// Our check of a token beside the library's own.
fn verify(criterion: &mut Criterion) {
    let keyring = keyring();
    let token = token(&keyring, 1);
    let now = SystemClock.now();
    let mut group = criterion.benchmark_group("verify");
    group.bench_function("keyring", |b| b.iter(|| keyring.check(black_box(&token), now)));
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    group.bench_function("jsonwebtoken::decode", |b| {
        b.iter(|| jsonwebtoken::decode::<serde_json::Value>(black_box(&token), &key, &validation))
    });
}

/// What registering and signing in parse.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.bench_function("email", |b| b.iter(|| Email::parse(black_box("Someone.Else+tag@Mail.Example.com"))));
    group
        .bench_function("email, beyond ASCII", |b| b.iter(|| Email::parse(black_box("jos\u{e9}@b\u{fc}cher.example"))));
    group.bench_function("password", |b| {
        b.iter(|| Password::parse(black_box("correct horse battery staple").to_owned()))
    });
}

/// Sixty-four look-ups at once, from token to user, on SQLite: what gathering leaves of a query each.
fn gather(criterion: &mut Criterion) {
    let system = actix_web::rt::System::new();
    let dir = std::env::temp_dir().join(format!("tegata-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let tokens: Vec<String> = (1..=64).map(|id| token(&keyring(), id)).collect();
    let services = system.block_on(async {
        let url = DatabaseUrl::parse(&format!("sqlite://{}", dir.join("bench.db").display())).expect("a URL");
        let store = Store::new(store::Settings { url, threads: 2, queue: 1000 });
        store.migrate(SystemClock.now()).expect("a schema");
        let db = store.start(&pool::Metrics::default(), &store::Metrics::default());
        for number in 0..64 {
            let email = Email::parse(&format!("{number}@example.com")).expect("an address");
            let create = CreateUser { email, password_hash: PasswordHash::new(String::new()), now: SystemClock.now() };
            let created = db.call(create).await.expect("an answer").expect("a database");
            created.expect("a new user");
        }
        let cost = Cost::new(4, 8, 1).expect("a cost");
        let hasher =
            hashing::Settings { cost, threads: 1, patience: Duration::from_secs(1) }.start(&pool::Metrics::default());
        let rules = PasswordRules { min_code_points: 8 };
        let sessions = SessionSettings { idle_secs: 86_400, max_secs: 86_400 };
        let settings = accounts::Settings { rules, deadline: Duration::from_secs(5), sessions, limits_attempts: true };
        let metrics = accounts::Metrics::register(&mut Registry::default());
        Services::start(
            Shared::new(settings, db, hasher, cost, keyring(), Arc::new(SystemClock), metrics).expect("services"),
        )
    });
    let mut group = criterion.benchmark_group("gather");
    for count in [1, 64] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} look-ups at once"), |b| {
            b.iter(|| {
                system.block_on(async {
                    let asked = tokens.iter().take(count as usize).map(|token| identify(&services, token.clone()));
                    assert!(join_all(asked).await.iter().all(Result::is_ok));
                });
            })
        });
    }
    group.finish();
    let _ = std::fs::remove_dir_all(dir);
}

criterion_group!(hot_path, verify, parse, gather);
criterion_main!(hot_path);
