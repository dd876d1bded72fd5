//! The line to the database, as far as anybody here knows: up, or away. While it is away nobody waits for it (a
//! breaker): requests hear so at once. The pool's own attempts to reconnect, twice a second, find out when it is back.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::domain::clock::Gate;
use crate::store::error::StoreError;
use crate::store::metrics::Metrics;

/// Shared by all workers and the threads that connect.
pub(crate) struct Line {
    state: Mutex<State>,
    /// What [`State::away_since`] says, for those who cannot wait for a lock.
    is_away: AtomicBool,
    /// Connections of an older generation were opened before something happened to one of them.
    generation: AtomicU64,
    metrics: Metrics,
}

struct State {
    /// Connections of this generation that are open.
    sound: usize,
    away_since: Option<Instant>,
}

impl Line {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let state = Mutex::new(State { sound: 0, away_since: None });
        Self { state, is_away: AtomicBool::new(false), generation: AtomicU64::new(0), metrics }
    }

    /// Errors: [`StoreError::Unavailable`] while the database is away.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("away since a moment ago, and being looked for".to_owned()));
        }
        Ok(())
    }

    /// Whether a connection opened in `generation` can be trusted without asking.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Relaxed) == generation
    }

    /// A connection was opened; returns its generation.
    pub(crate) fn opened(&self) -> u64 {
        let mut state = self.lock();
        state.sound += 1;
        self.metrics.connections.inc();
        if let Some(since) = state.away_since.take() {
            self.is_away.store(false, Ordering::Relaxed);
            self.metrics.away.set(0);
            tracing::info!(away_seconds = since.elapsed().as_secs_f32(), "the database is back");
        }
        self.generation.load(Ordering::Relaxed)
    }

    /// A connection of `generation` was closed.
    pub(crate) fn closed(&self, generation: u64) {
        let mut state = self.lock();
        if self.is_current(generation) {
            state.sound = state.sound.saturating_sub(1);
        }
        self.metrics.connections.dec();
    }

    /// No connection could be opened. The database is away if there is none left to work with; otherwise it may just
    /// have no room for one more (F-07).
    pub(crate) fn not_opened(&self, error: &dyn Display) {
        report_away(error);
        let mut state = self.lock();
        if state.sound == 0 {
            self.give_up(&mut state);
        }
    }

    /// A connection broke while it was used: those opened before it may be broken too.
    pub(crate) fn lost(&self) {
        self.suspect(&mut self.lock());
    }

    /// The database took a question and did not answer in time: it is away for all, until a new connection opens.
    pub(crate) fn stalled(&self) {
        report_away(&"no answer in time");
        let mut state = self.lock();
        self.suspect(&mut state);
        self.give_up(&mut state);
    }

    fn suspect(&self, state: &mut State) {
        state.sound = 0;
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn give_up(&self, state: &mut State) {
        if state.away_since.is_none() {
            state.away_since = Some(Instant::now());
            self.is_away.store(true, Ordering::Relaxed);
            self.metrics.away.set(1);
            self.metrics.outages.inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: a panic cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs that the database cannot be used: once a second at most, whoever finds it out, however often (F-06).
pub fn report_away(error: &dyn Display) {
    static GATE: Gate = Gate::per_second(1);
    if GATE.passes().is_some() {
        tracing::warn!(%error, "cannot use the database; trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::new(Metrics::default())
    }

    #[test]
    fn away_means_that_no_connection_is_left_and_none_can_be_opened() {
        let line = line();
        let first = line.opened();
        line.not_opened(&"too many connections");
        assert!(line.check().is_ok(), "the one that is open goes on serving");
        line.closed(first);
        line.not_opened(&"refused");
        assert!(line.check().is_err());
        line.opened();
        assert!(line.check().is_ok());
    }

    #[test]
    fn one_lost_connection_makes_the_older_ones_suspect() {
        let line = line();
        let (first, second) = (line.opened(), line.opened());
        line.lost();
        assert!(!line.is_current(first) && !line.is_current(second));
        assert!(line.check().is_ok(), "nobody has tried to connect yet");
        line.not_opened(&"refused");
        assert!(line.check().is_err());
        let third = line.opened();
        // The old ones are closed one by one; that says nothing about the new one.
        line.closed(first);
        line.closed(second);
        line.not_opened(&"too many connections");
        assert!(line.is_current(third) && line.check().is_ok());
    }

    #[test]
    fn a_stalled_database_is_away_until_a_connection_opens() {
        let line = line();
        let stalled = line.opened();
        line.stalled();
        assert!(line.check().is_err() && !line.is_current(stalled));
        line.closed(stalled);
        line.opened();
        assert!(line.check().is_ok());
    }
}
