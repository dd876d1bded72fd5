//! Removes sessions that have expired, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use tokio::task::JoinHandle;

use crate::domain::clock::Clock;
use crate::store::Database;
use crate::store::sessions::PurgeSessions;

/// How often to look. On several nodes each looks for itself.
const ROUND: Duration = Duration::from_secs(60);
/// Between two batches, so that other writes come in between.
const PAUSE: Duration = Duration::from_millis(100);
/// For how long an expired session is kept: a stolen refresh token that is used late is still recognised.
const KEPT_SECS: i64 = 24 * 60 * 60;

/// Goes on until it is aborted.
pub(crate) fn purge_sessions(db: Database, clock: Arc<dyn Clock>) -> JoinHandle<()> {
    rt::spawn(async move {
        loop {
            tokio::time::sleep(ROUND).await;
            let before = clock.now().plus(-KEPT_SECS);
            // A database that is away has nothing to remove; the next round tries again.
            while let Ok(Ok(true)) = db.call(PurgeSessions { before }).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
}
