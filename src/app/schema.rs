//! Brings the schema up to date at the start, without making the start wait for a database that is away.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::clock::Clock;
use crate::store::{self, Store, StoreError};

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
    let is_embedded = store.is_embedded();
    let (stop, stopped) = mpsc::channel();
    let (first, first_attempt) = oneshot::channel();
    std::thread::spawn(move || {
        let outcome = migrate(&store, clock.as_ref());
        let mut is_done = outcome.is_ok();
        // If the start waits no more, the loop below goes on by itself; if it gave up, it has dropped our sender.
        let _ = first.send(outcome);
        while !is_done && stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            is_done = migrate(&store, clock.as_ref()).map_err(|error| store::report_away(&error)).is_ok();
        }
    });
    match tokio::time::timeout(PATIENCE, first_attempt).await {
        // A server may come back; a file that cannot be opened, or a statement that is refused, will not mend itself.
        Ok(Ok(Err(error))) if is_embedded || !error.is_passing() => Err(error),
        Ok(Ok(Err(error))) => {
            store::report_away(&error);
            Ok(Migration { _stop: stop })
        }
        _ => Ok(Migration { _stop: stop }),
    }
}

fn migrate(store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
    let applied = store.migrate(clock.now())?;
    if !applied.is_empty() {
        tracing::info!(?applied, "the schema is up to date");
    }
    Ok(())
}
