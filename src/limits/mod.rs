//! Token buckets in memory: how often somebody may do something. The arithmetic is governor's (GCRA); the book in which
//! it is kept is ours, because it must not grow with the number of strangers (C-18).

mod book;

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::{Quota, RateLimiter};

use crate::limits::book::{Book, Shelf};

/// How much everybody has.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How many at once.
    pub burst: NonZeroU32,
    /// How long it takes until there is one more.
    pub period: Duration,
}

impl Budget {
    /// How long it takes until all of it is there again.
    fn window(self) -> Duration {
        self.period * self.burst.get()
    }
}

/// It is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// When there will be some again.
    pub retry_after: Duration,
}

/// Limiters that keep one book, and with it one bound on memory.
pub struct Limiters<const N: usize> {
    each: [RateLimiter<u64, Shelf, MonotonicClock>; N],
    budgets: [Budget; N],
    book: Arc<Book>,
    /// Keyed anew at each start: nobody can choose keys that collide.
    hasher: RandomState,
}

impl<const N: usize> Limiters<N> {
    /// One for each of the `budgets`, all together for at least `capacity` clients at a time.
    #[must_use]
    pub fn new(budgets: [Budget; N], capacity: usize) -> Self {
        let window = budgets.iter().map(|budget| budget.window()).max().unwrap_or_default();
        let book = Arc::new(Book::new(capacity, window));
        let limiter = |budget: Budget| {
            // A period of nothing would be no limit; the shortest there is stands for it.
            let period = budget.period.max(Duration::from_nanos(1));
            let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MAX));
            RateLimiter::new(quota.allow_burst(budget.burst), Shelf(Arc::clone(&book)), MonotonicClock)
        };
        Self { each: budgets.map(limiter), budgets, book, hasher: RandomState::new() }
    }

    /// Takes one from what `who` has of budget `which`.
    ///
    /// Errors: [`UsedUp`].
    pub fn take(&self, which: usize, who: impl Hash) -> Result<(), UsedUp> {
        let limiter = &self.each[which];
        limiter.check_key(&self.key(which, who)).map_err(|not_until| {
            let retry_after = not_until.wait_time_from(limiter.clock().now());
            UsedUp { retry_after }
        })
    }

    /// Undoes one [`Limiters::take`].
    pub fn give_back(&self, which: usize, who: impl Hash) {
        self.book.give_back(self.key(which, who), self.budgets[which].period);
    }

    fn key(&self, which: usize, who: impl Hash) -> u64 {
        self.hasher.hash_one((which, who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(burst: u32, seconds: u64) -> Budget {
        Budget { burst: NonZeroU32::new(burst).unwrap(), period: Duration::from_secs(seconds) }
    }

    #[test]
    fn everybody_has_a_burst_of_their_own_in_each_budget() {
        let limiters = Limiters::new([budget(3, 900), budget(1, 60)], 1000);
        for who in ["a", "b"] {
            assert_eq!([0; 3].map(|which| limiters.take(which, who)), [Ok(()); 3]);
            let UsedUp { retry_after } = limiters.take(0, who).unwrap_err();
            assert!(retry_after <= Duration::from_secs(900) && retry_after > Duration::from_secs(890));
            assert_eq!(limiters.take(1, who), Ok(()));
            assert!(limiters.take(1, who).is_err());
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let limiters = Limiters::new([budget(1, 900)], 1000);
        limiters.take(0, "a").unwrap();
        assert!(limiters.take(0, "a").is_err());
        limiters.give_back(0, "a");
        assert_eq!(limiters.take(0, "a"), Ok(()));
        assert!(limiters.take(0, "a").is_err());
    }

    #[test]
    fn of_many_at_once_no_more_come_through_than_there_is() {
        let limiters = Limiters::new([budget(10, 900)], 1000);
        let passed = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        if limiters.take(0, "a").is_ok() {
                            passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 10);
    }
}
