//! Time as a value. The edge asks the [`Clock`] once per request; everything deeper takes `now` as data.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC, the unit of every time in the database and in tokens (RFC 7519 2, NumericDate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The moment `seconds` later; saturates at the ends of the range.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// Where `now` comes from: the system in production, a hand that can be moved in tests.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> UnixTime;
}

/// The machine's wall clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> UnixTime {
        // A clock before 1970 reads as 0: tokens are then refused as not yet valid, and nothing panics.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }
}

/// Lets so many through in a second, and counts the others: for log lines that a flood would repeat.
#[derive(Debug)]
pub struct Gate {
    limit: u64,
    /// The second that is counted, and how many have come in it.
    second: AtomicU64,
    count: AtomicU64,
    left_out: AtomicU64,
}

impl Gate {
    /// Lets `limit` through in each second.
    #[must_use]
    pub const fn per_second(limit: u64) -> Self {
        Self { limit, second: AtomicU64::new(0), count: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether to go on, and if so, how many were left out since the last time. Measured on the monotonic clock.
    pub fn passes(&self) -> Option<u64> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        // One more than the seconds gone, so that the first second differs from "never".
        let second = START.elapsed().as_secs() + 1;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lets_the_first_ones_through_and_counts_the_others() {
        let gate = Gate::per_second(2);
        let passed: Vec<_> = (0..1000).filter_map(|_| gate.passes()).collect();
        // A thousand calls may straddle the end of a second, and never two.
        assert!((2..=4).contains(&passed.len()), "{passed:?}");
        assert_eq!(passed[..2], [0, 0]);
        assert_eq!(passed.iter().sum::<u64>() + gate.left_out.load(Ordering::Relaxed), 1000 - passed.len() as u64);
    }
}
