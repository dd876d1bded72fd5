//! What is done now and then, on every node: the signing keys are read and replaced, the database is asked for a sign of
//! life, and what has expired is removed.

use std::time::Duration;

use actix_web::rt;
use tokio::task::JoinHandle;

use crate::accounts::signing_keys::refresh_keys;
use crate::accounts::{self, Shared};
use crate::app::StartError;
use crate::domain::clock::Gate;
use crate::store::purge::{Expired, Purge};
use crate::store::users::Ping;

/// How often the keys are read and the database is asked: an outage shows in the metrics also when nobody signs in.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds from one look for expired rows to the next.
const ROUNDS_TO_PURGE: u32 = 12;
/// Between two batches of them, so that other writes come in between.
const PAUSE: Duration = Duration::from_millis(100);
/// For how long an expired session is kept: a stolen refresh token that is used late is still recognised.
const KEPT_SECS: i64 = 24 * 60 * 60;
/// For how long an expired budget is kept: the clock of a node may be ahead of the others'.
const SKEW_SECS: i64 = 60 * 60;
/// How long the start waits for the keys.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads the signing keys, and goes on until it is aborted.
///
/// Errors: the secret does not open a key, which waiting will not mend.
pub(crate) async fn start(shared: Shared, rotation_secs: Option<i64>) -> Result<JoinHandle<()>, StartError> {
    let first = tokio::time::timeout(PATIENCE, refresh_keys(&shared, rotation_secs)).await;
    if let Ok(Err(accounts::Error::Internal(cause))) = first {
        return Err(StartError::SigningKeys(cause));
    }
    Ok(rt::spawn(async move {
        for round in 1_u32.. {
            // Without a key nothing can be signed or checked: that does not wait for the next round.
            tokio::time::sleep(if shared.keyring.is_ready() { ROUND } else { PAUSE }).await;
            // What is wrong with the database is told by the store.
            let _ = shared.db.call(Ping).await;
            if let Err(error) = refresh_keys(&shared, rotation_secs).await {
                static GATE: Gate = Gate::per_second(1);
                if GATE.passes().is_some() {
                    tracing::warn!(%error, "the signing keys were not read; those that are known go on");
                }
            }
            if round % ROUNDS_TO_PURGE == 0 {
                purge(&shared).await;
            }
        }
    }))
}

async fn purge(shared: &Shared) {
    let now = shared.clock.now();
    for (expired, before) in [(Expired::Sessions, now.plus(-KEPT_SECS)), (Expired::Budgets, now.plus(-SKEW_SECS))] {
        loop {
            match shared.db.call(Purge { expired, before }).await {
                Ok(Ok(true)) => tokio::time::sleep(PAUSE).await,
                Ok(Ok(false)) => break,
                // Said each minute: without the right to delete, tables would grow and nobody know.
                Ok(Err(error)) => {
                    tracing::warn!(%error, ?expired, "what has expired was not removed; the next minute tries again");
                    break;
                }
                // The workers are busy, or stopping.
                Err(_) => break,
            }
        }
    }
}
