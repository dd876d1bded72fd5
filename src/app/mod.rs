//! Wires everything, starts it in order and stops it in order.

mod key_file;
mod memory;
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
use crate::http;
use crate::pool;
use crate::store::{self, DatabaseUrl, Store, StoreError};
use crate::tokens::{self, Keyring, Rejected};

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
    shared: Shared,
    server: JoinHandle<io::Result<()>>,
    handle: ServerHandle,
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

/// Starts everything; the server answers when this returns, and is ready when its database is.
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    memory::check(config.hashing.threads, config.hashing.cost.memory())?;
    prepare_data_dir(&config)?;
    let (secret, key_origin) = match config.key {
        KeySource::Settings(key) => (key, "SECRET_KEY".to_owned()),
        KeySource::File(path) => {
            let (key, is_new) = key_file::read_or_make(&path)?;
            (key, format!("{}{}", path.display(), if is_new { " (made just now)" } else { "" }))
        }
    };
    let keyring = Keyring::new(&tokens::Settings { secret, lifetime_secs: config.token_lifetime_secs })?;
    let store = Arc::new(Store::new(config.store));
    let migration = schema::migrate_in_background(Arc::clone(&store), Arc::clone(&clock)).await?;
    let mut registry = Registry::with_prefix("tegata");
    let pools = pool::Metrics::register(&mut registry);
    let db = store.start(&pools, &store::Metrics::register(&mut registry));
    let hasher = config.hashing.start(&pools);
    let metrics = accounts::Metrics::register(&mut registry);
    let shared = Shared::new(config.accounts, db, hasher, config.hashing.cost, keyring, clock, metrics)?;
    let (server, handle, address) =
        http::serve(config.http, shared.clone()).map_err(|error| StartError::Bind(config.http.bind, error))?;
    let server = rt::spawn(server);
    let patience = config.accounts.deadline;
    Ok(Running { address, key_origin, shared, server, handle, patience, _migration: migration })
}

impl Running {
    /// Stops in order: not ready, no new connections, the requests under way, what the pools still hold.
    pub async fn stop(self) -> Result<(), Abandoned> {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.handle.stop(true).await;
        // It has stopped; an error of its own would have nobody left to tell.
        let _ = self.server.await;
        let hasher = self.shared.hasher.drain(self.patience).await;
        let db = self.shared.db.drain(self.patience).await;
        match hasher.err().unwrap_or(0) + db.err().unwrap_or(0) {
            0 => Ok(()),
            abandoned => Err(Abandoned(abandoned)),
        }
    }
}

/// Runs the server until a signal ends it: SIGTERM lets requests finish, SIGINT and SIGQUIT too; a second one ends
/// it at once. `true`: nothing was lost.
pub async fn serve(config: Config, clock: Arc<dyn Clock>) -> Result<bool, StartError> {
    let database = config.store.url.to_string();
    let is_json = config.log.is_json;
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let running = start(config, clock).await?;
    announce(&running, &database, is_json);
    let name = signals.next().await;
    tracing::info!(signal = name, "stopping; send it again to stop at once");
    tokio::select! {
        outcome = running.stop() => match outcome {
            Ok(()) => {
                tracing::info!("stopped, nothing left undone");
                Ok(true)
            }
            Err(Abandoned(count)) => {
                tracing::error!(count, "stopped with work under way; whether it took effect is unknown");
                Ok(false)
            }
        },
        name = signals.next() => {
            tracing::error!(signal = name, "stopped at once");
            Ok(false)
        }
    }
}

/// Says where it listens and what it uses: to people on standard output, to machines as a log line.
fn announce(running: &Running, database: &str, is_json: bool) {
    let Running { address, key_origin, .. } = running;
    if is_json {
        tracing::info!(%address, database, signing_key = key_origin, "listening");
        return;
    }
    let lines = format!(
        "tegata {}\n  listening    http://{address}\n  try it       http://{address}/docs\n  database     {database}\n  signing key  {key_origin}\n",
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

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}
