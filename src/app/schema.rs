//! Brings the schema up to date at the start, without making the start wait for a database that is away.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::clock::Clock;
use crate::store::{Store, StoreError};

/// How long the start waits for the first attempt (F-06: the process is up within a second).
const PATIENCE: Duration = Duration::from_millis(700);
/// Between attempts; also the most often that the log hears of it.
const PAUSE: Duration = Duration::from_secs(1);

/// The attempts go on until the schema is there or this is dropped.
pub(crate) struct Migration {
    _stop: mpsc::Sender<()>,
}

/// Migrates on a thread of its own, again and again while the database is away.
///
/// Errors: the first attempt found a database that cannot be used, which waiting will not mend.
pub(crate) async fn migrate_in_background(store: Arc<Store>, clock: Arc<dyn Clock>) -> Result<Migration, StoreError> {
    let (stop, stopped) = mpsc::channel();
    let (first, first_attempt) = oneshot::channel();
    std::thread::spawn(move || {
        let mut outcome = attempt(&store, clock.as_ref());
        let mut is_done = outcome.is_ok();
        // The start may not be waiting any more; then the loop below goes on by itself.
        let _ = first.send(std::mem::replace(&mut outcome, Ok(())));
        while !is_done && stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            is_done = attempt(&store, clock.as_ref()).is_ok();
        }
    });
    match tokio::time::timeout(PATIENCE, first_attempt).await {
        Ok(Ok(Err(error))) if !matches!(error, StoreError::Unavailable(_)) => Err(error),
        _ => Ok(Migration { _stop: stop }),
    }
}

fn attempt(store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
    match store.migrate(clock.now()) {
        Ok(applied) => {
            if !applied.is_empty() {
                tracing::info!(?applied, "the schema is up to date");
            }
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "the schema cannot be brought up to date; trying again");
            Err(error)
        }
    }
}
