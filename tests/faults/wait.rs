//! Waiting: the one place of the suite that does. A fault has a length, and what it does to others takes time.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "the suite's one place to wait in; no event loop runs in this process")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until it is so and gives the time that it took; fails after `patience`.
pub fn until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < patience, "after {patience:?} still not so: {what}");
        pause(Duration::from_millis(5));
    }
    began.elapsed()
}
