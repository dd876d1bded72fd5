//! Registrations of one address take turns on this node. A hundred at once then cost one hash and ninety-nine
//! look-ups, instead of a hundred hashes of which ninety-nine are thrown away. Who is first across nodes is for
//! the database's unique key to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// From this many remembered keys on, those that nobody waits for are forgotten.
const PRUNE_AT: usize = 1024;

/// Who is having a turn, by key.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for `key`'s turn; it ends when the guard is dropped. First come, first served.
    pub(crate) async fn take(&self, key: &str) -> OwnedMutexGuard<()> {
        self.turn_of(key).lock_owned().await
    }

    fn turn_of(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        // A poisoned lock cannot leave the map half changed: each change is one call.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= PRUNE_AT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[actix_web::test]
    async fn one_turn_a_key_and_keys_do_not_wait_for_each_other() {
        let turns = Turns::default();
        let mine = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(mine);
        assert!(turns.take("a").now_or_never().is_some());
    }

    #[actix_web::test]
    async fn keys_that_nobody_waits_for_are_forgotten() {
        let turns = Turns::default();
        let held = turns.take("held").await;
        for key in 0..2 * PRUNE_AT {
            turns.take(&key.to_string()).await;
        }
        assert!(turns.0.lock().unwrap().len() <= PRUNE_AT);
        assert!(turns.take("held").now_or_never().is_none());
        drop(held);
    }
}
