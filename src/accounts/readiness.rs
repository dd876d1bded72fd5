//! Readiness: whether requests sent here can be served, part by part.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::accounts::Services;
use crate::store::users::Ping;

/// How long the database may take to answer (O-01).
const PATIENCE: Duration = Duration::from_millis(500);

/// One field a check; `true` is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The tables can be read.
    pub database: bool,
    /// Every database worker is alive.
    pub database_workers: bool,
    /// There is a key to sign with.
    pub signing_keys: bool,
    /// Every hash worker is alive.
    pub hash_workers: bool,
    /// The server has not begun to stop.
    pub not_stopping: bool,
}

impl Readiness {
    /// Whether all is well.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self.database && self.database_workers && self.signing_keys && self.hash_workers && self.not_stopping
    }
}

/// Checks every part; takes at most half a second.
pub async fn readiness(services: &Services) -> Readiness {
    let shared = &services.shared;
    let answer = tokio::time::timeout(PATIENCE, shared.db.call(Ping)).await;
    Readiness {
        database: matches!(answer, Ok(Ok(Ok(())))),
        database_workers: shared.db.is_whole(),
        signing_keys: shared.keyring.is_ready(),
        hash_workers: shared.hasher.is_whole(),
        not_stopping: !shared.is_stopping.load(Ordering::Relaxed),
    }
}
