//! The environment, and a `.env` file, as settings. Every problem is told at once, by name, and no message repeats
//! the value of a secret.

mod reference;
mod sources;

use std::ffi::OsString;
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::password::{MAX_BYTES, MIN_CODE_POINTS, PasswordRules};
use crate::domain::signing_key::SigningAlgorithm;
use crate::hashing::Cost;
use crate::store::DatabaseUrl;
use crate::tokens::SecretKey;
use crate::{accounts, hashing, http, store};

pub use crate::config::reference::{help, reference};

/// The values as text, as envy finds them. Parsing each one ourselves tells all mistakes at once, where envy would
/// stop at the first and quote its value.
#[derive(Default, Deserialize)]
struct RawConfig {
    secret_key: Option<String>,
    secret_key_previous: Option<String>,
    signing_algorithm: Option<String>,
    key_rotation_days: Option<String>,
    issuer: Option<String>,
    database_url: Option<String>,
    data_dir: Option<String>,
    bind_addr: Option<String>,
    access_token_expire_minutes: Option<String>,
    refresh_token_expire_days: Option<String>,
    session_max_days: Option<String>,
    password_min_length: Option<String>,
    scrypt_log_n: Option<String>,
    scrypt_r: Option<String>,
    scrypt_p: Option<String>,
    allow_weak_scrypt: Option<String>,
    hash_threads: Option<String>,
    db_threads: Option<String>,
    request_deadline_secs: Option<String>,
    rate_limit: Option<String>,
    trusted_proxies: Option<String>,
    max_connections: Option<String>,
    max_connections_per_address: Option<String>,
    metrics_addr: Option<String>,
    log_format: Option<String>,
    rust_log: Option<String>,
}

/// Where the signing key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// `SECRET_KEY` or `SECRET_KEY_FILE`.
    Settings(SecretKey),
    /// This file; made when it is not there.
    File(PathBuf),
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// One JSON object a line instead of text.
    pub is_json: bool,
    /// What `tracing_subscriber::EnvFilter` takes.
    pub filter: String,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the made key and SQLite.
    pub data_dir: PathBuf,
    /// The signing key.
    pub key: KeySource,
    /// The signing key before this one.
    pub previous_key: Option<SecretKey>,
    /// How access tokens are signed.
    pub algorithm: SigningAlgorithm,
    /// Seconds that a signing key is used; `None`: for ever.
    pub key_rotation_secs: Option<i64>,
    /// `iss` of tokens, and where this server is found: an `https` URL.
    pub issuer: Option<String>,
    /// Seconds that a token lives.
    pub token_lifetime_secs: i64,
    /// For the database.
    pub store: store::Settings,
    /// For the hash pool.
    pub hashing: hashing::Settings,
    /// For the use cases.
    pub accounts: accounts::Settings,
    /// For the HTTP server.
    pub http: http::Settings,
    /// Where to tell metrics, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    /// For the log.
    pub log: LogSettings,
}

/// What is wrong with the settings, one sentence each.
#[derive(Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl Config {
    /// Reads the process's environment and the file `dotenv`, which need not exist; the environment wins.
    ///
    /// Errors: everything that is wrong, at once.
    pub fn load(environment: impl IntoIterator<Item = (OsString, OsString)>, dotenv: &Path) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let values = sources::read(environment, dotenv, &mut problems);
        let raw = envy::from_iter::<_, RawConfig>(values).unwrap_or_else(|_| {
            problems.push("the settings cannot be read".to_owned());
            RawConfig::default()
        });
        let config = Self::check(raw, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }

    fn check(raw: RawConfig, problems: &mut Vec<String>) -> Option<Self> {
        let data_dir = PathBuf::from(raw.data_dir.unwrap_or_else(|| "./data".to_owned()));
        let url = match &raw.database_url {
            None => Some(DatabaseUrl::Sqlite(data_dir.join("tegata.db"))),
            Some(url) => report("DATABASE_URL", DatabaseUrl::parse(url), problems),
        };
        let key = match (&raw.secret_key, &url) {
            (Some(key), _) => report("SECRET_KEY", SecretKey::parse(key), problems).map(KeySource::Settings),
            (None, Some(DatabaseUrl::Mysql(_))) => {
                problems.push(
                    "SECRET_KEY is required with MySQL, because replicas must agree on it; make one with: openssl rand -hex 32"
                        .to_owned(),
                );
                None
            }
            (None, _) => Some(KeySource::File(data_dir.join("secret.key"))),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let minutes: i64 = number("ACCESS_TOKEN_EXPIRE_MINUTES", raw.access_token_expire_minutes, 30, 1..=60, problems);
        let idle: i64 = number("REFRESH_TOKEN_EXPIRE_DAYS", raw.refresh_token_expire_days, 30, 1..=365, problems);
        let max: i64 = number("SESSION_MAX_DAYS", raw.session_max_days, idle.max(90), 1..=3650, problems);
        if max < idle {
            problems.push(format!("SESSION_MAX_DAYS={max} is less than REFRESH_TOKEN_EXPIRE_DAYS={idle}"));
        }
        let previous = raw.secret_key_previous.as_ref();
        let previous_key = previous.and_then(|key| report("SECRET_KEY_PREVIOUS", SecretKey::parse(key), problems));
        let choices = SigningAlgorithm::ALL.map(SigningAlgorithm::name);
        let algorithm = one_of("SIGNING_ALGORITHM", raw.signing_algorithm, choices, problems);
        let rotation: i64 = number("KEY_ROTATION_DAYS", raw.key_rotation_days, 90, 0..=3650, problems);
        let issuer = raw.issuer.and_then(|issuer| report("ISSUER", issuer_url(&issuer), problems));
        let min_length =
            number("PASSWORD_MIN_LENGTH", raw.password_min_length, MIN_CODE_POINTS, MIN_CODE_POINTS..=64, problems);
        let deadline = number("REQUEST_DEADLINE_SECS", raw.request_deadline_secs, 5, 1..=60, problems);
        let hash_threads = number("HASH_THREADS", raw.hash_threads, cores, 1..=256, problems);
        let db_threads = number("DB_THREADS", raw.db_threads, 4, 1..=64, problems);
        let log_n = number("SCRYPT_LOG_N", raw.scrypt_log_n, 15, 1..=20, problems);
        let r = number("SCRYPT_R", raw.scrypt_r, 8, 1..=32, problems);
        let p = number("SCRYPT_P", raw.scrypt_p, 3, 1..=16, problems);
        let allow_weak = one_of("ALLOW_WEAK_SCRYPT", raw.allow_weak_scrypt, ["false", "true"], problems) == 1;
        let cost = report("SCRYPT_LOG_N, SCRYPT_R and SCRYPT_P do not go together:", Cost::new(log_n, r, p), problems);
        if cost.is_some_and(|cost| !cost.is_strong()) && !allow_weak {
            problems.push(format!(
                "SCRYPT_LOG_N={log_n} SCRYPT_R={r} SCRYPT_P={p} is below OWASP's table (15 8 3, 16 8 2 or 17 8 1); \
                 ALLOW_WEAK_SCRYPT=true accepts it, for tests"
            ));
        }
        let bind = address("BIND_ADDR", raw.bind_addr.as_deref().unwrap_or("127.0.0.1:8000"), problems);
        let metrics_address = raw.metrics_addr.and_then(|at| address("METRICS_ADDR", &at, problems));
        let total: usize = number("MAX_CONNECTIONS", raw.max_connections, 10_000, 10..=1_000_000, problems);
        let per_address = number(
            "MAX_CONNECTIONS_PER_ADDRESS",
            raw.max_connections_per_address,
            total.div_ceil(4),
            1..=total,
            problems,
        );
        let limits = one_of("RATE_LIMIT", raw.rate_limit, ["on", "off"], problems) == 0;
        let proxies = raw.trusted_proxies.unwrap_or_default();
        let trusted_proxies = report("TRUSTED_PROXIES", http::TrustedProxies::parse(&proxies), problems);
        let is_json = one_of("LOG_FORMAT", raw.log_format, ["text", "json"], problems) == 1;
        let filter = format!("{QUIET},{}", raw.rust_log.as_deref().unwrap_or("info"));
        if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
            problems.push("RUST_LOG is not a log filter, such as info or info,tegata::store=debug".to_owned());
        }
        let deadline = Duration::from_secs(deadline);
        Some(Self {
            data_dir,
            key: key?,
            previous_key,
            algorithm: SigningAlgorithm::ALL.get(algorithm).copied()?,
            key_rotation_secs: (rotation > 0).then_some(rotation * DAY),
            issuer,
            token_lifetime_secs: minutes * 60,
            store: store::Settings { url: url?, threads: db_threads, queue: DB_QUEUE },
            // A hash that starts late still ends in time: the queue is what 4/5 of the deadline can do.
            hashing: hashing::Settings { cost: cost?, threads: hash_threads, patience: deadline * 4 / 5 },
            accounts: accounts::Settings {
                rules: PasswordRules { min_code_points: min_length },
                deadline,
                sessions: accounts::SessionSettings { idle_secs: idle * DAY, max_secs: max * DAY },
                limits_attempts: limits,
            },
            http: http::Settings {
                bind: bind?,
                workers: cores,
                limits: http::Limits { total, per_address },
                limits_rate: limits,
                trusted_proxies: trusted_proxies?,
                shutdown_timeout: deadline,
            },
            metrics_address,
            log: LogSettings { is_json, filter },
        })
    }
}

/// Said before whatever the settings say, which may say otherwise: the HTTP server's own account of how it starts and
/// stops, and a line for each client that speaks no HTTP, tell an operator nothing.
const QUIET: &str = "actix_server=off,actix_http=off";

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

/// Queries that may wait for a database worker. Sign-ins and registrations hold a place in the hash pool first, and
/// look-ups travel together, so this many never wait in a healthy server.
const DB_QUEUE: usize = 1024;

// A password of the longest length must be possible at every setting.
const _: () = assert!(MAX_BYTES >= 64 * 4);

fn report<T, E: Display>(name: &str, outcome: Result<T, E>, problems: &mut Vec<String>) -> Option<T> {
    outcome.map_err(|error| problems.push(format!("{name} {error}"))).ok()
}

/// RFC 8414 2: an `https` URL without query and fragment. On this machine `http` will do, for tests.
fn issuer_url(text: &str) -> Result<String, &'static str> {
    let text = text.trim().trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| {
        let local = text.strip_prefix("http://")?;
        (local.starts_with("127.0.0.1:") || local.starts_with("localhost:")).then_some(local)
    });
    match host {
        Some(host) if !host.is_empty() && !host.contains(['?', '#', '@', ' ', '"', '\\']) && !host.contains('/') => {
            Ok(text.to_owned())
        }
        _ => Err("must be where clients find this server, without a path, such as https://auth.example.com"),
    }
}

fn address(name: &str, value: &str, problems: &mut Vec<String>) -> Option<SocketAddr> {
    let found = value.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    if found.is_none() {
        problems.push(format!("{name} is not an address with a port, such as 127.0.0.1:8000 or [::]:8000"));
    }
    found
}

fn number<T>(name: &str, raw: Option<String>, default: T, range: RangeInclusive<T>, problems: &mut Vec<String>) -> T
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let Some(raw) = raw else { return default };
    match raw.trim().parse() {
        Ok(number) if range.contains(&number) => number,
        _ => {
            problems.push(format!("{name} must be a whole number from {} to {}", range.start(), range.end()));
            default
        }
    }
}

/// The place of the value among `choices`, of which the first is the default.
fn one_of<const N: usize>(name: &str, raw: Option<String>, choices: [&str; N], problems: &mut Vec<String>) -> usize {
    let Some(raw) = raw else { return 0 };
    choices.iter().position(|choice| *choice == raw.trim()).unwrap_or_else(|| {
        problems.push(format!("{name} must be {}", choices.join(" or ")));
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::SETTINGS;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(pairs.iter().map(|(name, value)| (name.into(), value.into())), Path::new("/nonexistent/.env"))
    }

    fn problems(pairs: &[(&str, &str)]) -> String {
        load(pairs).unwrap_err().0.join("\n")
    }

    #[test]
    fn nothing_set_is_a_working_server_on_sqlite() {
        let config = load(&[]).unwrap();
        assert_eq!(config.store.url.to_string(), "sqlite ./data/tegata.db");
        assert!(matches!(config.key, KeySource::File(path) if path == Path::new("./data/secret.key")));
        assert_eq!(config.hashing.cost, Cost::new(15, 8, 3).unwrap());
        assert_eq!((config.token_lifetime_secs, config.accounts.deadline.as_secs()), (1800, 5));
    }

    /// C-39, O-15.
    #[test]
    fn every_problem_is_told_at_once_and_no_secret() {
        let told = problems(&[
            ("SECRET_KEY", "hush"),
            ("DATABASE_URL", "postgres://me:hush@db/x"),
            ("BIND_ADDR", "nowhere"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "600"),
            ("SCRYPT_LOG_N", "10"),
            ("DB_THREADS", "0"),
            ("LOG_FORMAT", "xml"),
        ]);
        for name in [
            "SECRET_KEY",
            "DATABASE_URL",
            "BIND_ADDR",
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            "OWASP",
            "DB_THREADS",
            "LOG_FORMAT",
        ] {
            assert!(told.contains(name), "{name} is missing in: {told}");
        }
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn mysql_wants_a_key_that_replicas_share() {
        assert!(problems(&[("DATABASE_URL", "mysql://me@db/app")]).contains("openssl rand -hex 32"));
    }

    #[test]
    fn weak_scrypt_needs_a_word() {
        let weak = [("SCRYPT_LOG_N", "4"), ("SCRYPT_P", "1")];
        assert!(load(&weak).is_err());
        assert!(load(&[weak[0], weak[1], ("ALLOW_WEAK_SCRYPT", "true")]).is_ok());
    }

    #[test]
    fn empty_values_count_as_not_set() {
        assert!(load(&[("SECRET_KEY", ""), ("DATABASE_URL", ""), ("DB_THREADS", "")]).is_ok());
    }

    #[test]
    fn each_setting_is_read_and_each_that_is_read_is_documented() {
        // A field of RawConfig that no setting names, or the other way round, shows as a value that is not looked at.
        for setting in SETTINGS {
            let absurd = "\u{1f600}!";
            let taken_as_it_is = ["DATA_DIR"].contains(&setting.name);
            assert_eq!(load(&[(setting.name, absurd)]).is_ok(), taken_as_it_is, "{}", setting.name);
        }
    }
}
