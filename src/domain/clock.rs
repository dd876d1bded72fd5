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

/// A gate that opens once a second, for log lines that a flood of equal causes would repeat.
#[derive(Debug)]
pub struct OnceASecond {
    last: AtomicU64,
}

impl OnceASecond {
    /// A gate that has not been asked yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it lives in statics, which need a const fn")]
    pub const fn new() -> Self {
        Self { last: AtomicU64::new(0) }
    }

    /// Whether this is the first to come in this second. Measured on the monotonic clock.
    pub fn opens(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        // One more than the seconds gone, so that the first second differs from "never".
        let second = START.elapsed().as_secs() + 1;
        self.last.swap(second, Ordering::Relaxed) != second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_for_the_first_to_come() {
        let gate = OnceASecond::new();
        assert!(gate.opens());
        // A thousand calls may straddle the end of a second, and never two.
        assert!((0..1000).filter(|_| gate.opens()).count() <= 1);
    }
}
