//! Which budgets this node has just found used up. Whoever is turned away at one takes no place in the hash queue first,
//! so that a flood at one account keeps nobody else from signing in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::clock::UnixTime;
use crate::store::budgets::{Bucket, Buckets};

/// Most budgets that are remembered, in some 300 KB. Using one up takes as many hashes as are in it, so that no flood
/// comes near; and whoever is forgotten is refused a little later.
const REMEMBERED: usize = 4096;

/// Until when there is nothing in them, as far as this node knows. It is asked whether to look, never for the answer:
/// an operator, or a sign-in on another node, may have given some back.
#[derive(Default)]
pub(super) struct UsedUp(Mutex<HashMap<Bucket, UnixTime>>);

impl UsedUp {
    /// Remembers one.
    pub(super) fn remember(&self, bucket: Bucket, until: UnixTime) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(bucket, until);
    }

    /// Whether one of the two may be.
    pub(super) fn may_hold(&self, buckets: &Buckets, now: UnixTime) -> bool {
        let known = self.lock();
        [buckets.strangers, buckets.own].iter().any(|bucket| known.get(bucket).is_some_and(|until| now < *until))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bucket, UnixTime>> {
        // Nothing in between can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: usize) -> Bucket {
        let mut bucket = [0; 32];
        bucket[..8].copy_from_slice(&number.to_be_bytes());
        Bucket(bucket)
    }

    #[test]
    fn either_budget_is_remembered_until_there_is_some_again() {
        let used_up = UsedUp::default();
        used_up.remember(bucket(1), UnixTime(900));
        for (strangers, own, now, expected) in
            [(1, 2, 899, true), (2, 1, 0, true), (1, 2, 900, false), (2, 3, 0, false)]
        {
            let buckets = Buckets { strangers: bucket(strangers), own: bucket(own) };
            assert_eq!(used_up.may_hold(&buckets, UnixTime(now)), expected, "{strangers} {own} {now}");
        }
    }

    #[test]
    fn it_does_not_grow() {
        let used_up = UsedUp::default();
        for number in 0..3 * REMEMBERED {
            used_up.remember(bucket(number), UnixTime(900));
            assert!(used_up.lock().len() <= REMEMBERED);
        }
    }
}
