//! Wires everything, starts it in order and stops it in order.

mod housekeeping;
mod key_file;
pub mod keys;
pub mod log;
mod memory;
mod process;
mod schema;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::accounts::{self, Shared};
use crate::app::key_file::KeyFileError;
use crate::app::memory::TooLittleMemory;
use crate::config::{Config, KeySource};
use crate::domain::clock::Clock;
use crate::hashing::HashError;
use crate::http::{self, Listening};
use crate::pool;
use crate::store::{self, DatabaseUrl, Store, StoreError};
use crate::tokens::{self, Keyring, Rejected, SecretKey};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("DATA_DIR {0}: {1}")]
    DataDir(String, io::Error),
    /// There is no signing key.
    #[error("no signing key: {0}")]
    Key(#[from] KeyFileError),
    /// The key cannot be used.
    #[error("the signing key cannot be used")]
    Keyring(#[from] Rejected),
    /// The database answers and cannot be used.
    #[error("the database cannot be used: {0}")]
    Store(#[from] StoreError),
    /// No randomness for the decoy.
    #[error("no decoy hash: {0}")]
    Decoy(#[from] HashError),
    /// The signing keys cannot be opened.
    #[error("{0}")]
    SigningKeys(String),
    /// Hashing could use more memory than there is.
    #[error("{0}")]
    Memory(#[from] TooLittleMemory),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// Signals cannot be caught.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

/// A server that runs.
pub struct Running {
    /// Where it listens, with the port that was picked.
    pub address: SocketAddr,
    /// Where the key came from, for people.
    pub key_origin: String,
    /// Where it tells its metrics, if it does.
    pub metrics_address: Option<SocketAddr>,
    shared: Shared,
    store: Arc<Store>,
    http: Listening,
    housekeeping: JoinHandle<()>,
    metrics: Option<ServerHandle>,
    patience: Duration,
    _migration: schema::Migration,
}

/// Messages that were queued or running when patience ran out; whether they took effect is unknown.
#[derive(Debug)]
pub struct Abandoned(pub usize);

/// Makes the data directory if the settings keep anything in it.
pub fn prepare_data_dir(config: &Config) -> Result<(), StartError> {
    if matches!(config.key, KeySource::File(_)) || matches!(config.store.url, DatabaseUrl::Sqlite(_)) {
        key_file::make_private_dir(&config.data_dir)
            .map_err(|error| StartError::DataDir(config.data_dir.display().to_string(), error))?;
    }
    Ok(())
}

/// The secret, and where it came from, for people.
fn signing_secret(source: &KeySource) -> Result<(SecretKey, String), StartError> {
    match source {
        KeySource::Settings(key) => Ok((key.clone(), "SECRET_KEY".to_owned())),
        KeySource::File(path) => {
            let (key, is_new) = key_file::read_or_make(path)?;
            Ok((key, format!("{}{}", path.display(), if is_new { " (made just now)" } else { "" })))
        }
    }
}

fn token_settings(config: &Config, secret: SecretKey) -> tokens::Settings {
    tokens::Settings {
        secret,
        previous: config.previous_key.clone(),
        algorithm: config.algorithm,
        issuer: config.issuer.clone().unwrap_or_else(|| tokens::ISSUER.to_owned()),
        lifetime_secs: config.token_lifetime_secs,
    }
}

/// Starts everything; the server answers when this returns, and is ready when its database is.
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    memory::check(config.hashing.threads, config.hashing.cost.memory())?;
    prepare_data_dir(&config)?;
    let (secret, key_origin) = signing_secret(&config.key)?;
    let keyring = Keyring::new(&token_settings(&config, secret))?;
    let store = Arc::new(Store::new(config.store));
    let migration = schema::migrate_in_background(Arc::clone(&store), Arc::clone(&clock)).await?;
    if !config.http.limits_rate {
        tracing::warn!("RATE_LIMIT=off: passwords can be guessed without end; for load tests only");
    }
    let mut registry = Registry::default();
    process::register(&mut registry);
    let ours = registry.sub_registry_with_prefix("tegata");
    let pools = pool::Metrics::register(ours);
    let db = store.start(&pools, &store::Metrics::register(ours));
    let hasher = config.hashing.start(&pools);
    let metrics = accounts::Metrics::register(ours);
    let shared = Shared::new(config.accounts, db, hasher, config.hashing.cost, keyring, clock, metrics)?;
    let housekeeping = housekeeping::start(shared.clone(), config.key_rotation_secs).await?;
    let http_metrics = http::metrics::Metrics::register(ours);
    let limits = process::within_file_limit(config.http.limits);
    let bind = config.http.bind;
    let settings = http::Settings { limits, ..config.http };
    let http = http::serve(settings, shared.clone(), http_metrics).map_err(|error| StartError::Bind(bind, error))?;
    let address = http.address;
    let (metrics, metrics_address) = match config.metrics_address {
        None => (None, None),
        Some(bind) => {
            let (server, handle, address) =
                http::metrics::serve(bind, registry).map_err(|error| StartError::Bind(bind, error))?;
            rt::spawn(server);
            (Some(handle), Some(address))
        }
    };
    let patience = config.accounts.deadline;
    let _migration = migration;
    Ok(Running {
        address,
        key_origin,
        metrics_address,
        shared,
        store,
        http,
        housekeeping,
        metrics,
        patience,
        _migration,
    })
}

impl Running {
    /// Stops in order: not ready and each answer the last of its connection, no new connections, the requests under
    /// way, what the pools still hold.
    pub async fn stop(self) -> Result<(), Abandoned> {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.http.stop().await;
        self.housekeeping.abort();
        let hasher = self.shared.hasher.drain(self.patience).await;
        let db = self.shared.db.drain(self.patience).await;
        self.store.tidy();
        if let Some(metrics) = self.metrics {
            metrics.stop(false).await;
        }
        match hasher.err().unwrap_or(0) + db.err().unwrap_or(0) {
            0 => Ok(()),
            abandoned => Err(Abandoned(abandoned)),
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that was accepted was answered.
    Clean,
    /// There was work that could not be finished; whether it took effect is unknown.
    Abandoning,
    /// It was told not to wait, by the signal of this number.
    AtOnce(i32),
}

/// Runs the server until a signal ends it: SIGTERM lets requests finish; SIGINT, SIGQUIT and a second SIGTERM do not.
/// What was acknowledged is in the database in any case.
pub async fn serve(config: Config, clock: Arc<dyn Clock>) -> Result<End, StartError> {
    let database = config.store.url.to_string();
    let is_json = config.log.is_json;
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let running = start(config, clock).await?;
    announce(&running, &database, is_json);
    let signal = signals.next().await;
    if signal != SignalKind::terminate() {
        return Ok(at_once(signal));
    }
    tracing::info!("stopping; a second SIGTERM stops at once");
    tokio::select! {
        outcome = running.stop() => match outcome {
            Ok(()) => {
                tracing::info!("stopped, nothing left undone");
                Ok(End::Clean)
            }
            Err(Abandoned(count)) => {
                tracing::error!(count, "stopped with work under way; whether it took effect is unknown");
                Ok(End::Abandoning)
            }
        },
        signal = signals.next() => Ok(at_once(signal)),
    }
}

fn at_once(signal: SignalKind) -> End {
    let signal = signal.as_raw_value();
    tracing::warn!(signal, "stopped at once");
    End::AtOnce(signal)
}

/// Says where it listens and what it uses: to people on standard output, to machines as a log line.
fn announce(running: &Running, database: &str, is_json: bool) {
    let Running { address, key_origin, metrics_address, .. } = running;
    if is_json {
        let metrics = metrics_address.map(tracing::field::display);
        tracing::info!(%address, metrics, database, signing_key = key_origin, "listening");
        return;
    }
    let metrics = metrics_address.map_or(String::new(), |at| format!("  metrics      http://{at}/metrics\n"));
    let lines = format!(
        "tegata {}\n  listening    http://{address}\n  try it       http://{address}/docs\n{metrics}  database     {database}\n  signing key  {key_origin}\n",
        env!("CARGO_PKG_VERSION")
    );
    // Whoever closed standard output does not want to know.
    let _ = io::stdout().write_all(lines.as_bytes());
}

/// The signals that end the server. SIGHUP is caught and ignored: a closed terminal is no reason to stop serving.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    _hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
        }
    }
}
