//! What pools are measured by, one series a pool.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    pool: &'static str,
}

/// What all pools are measured by.
#[derive(Clone)]
pub struct Metrics {
    in_use: Family<Labels, Gauge>,
    size: Family<Labels, Gauge>,
    waits: Family<Labels, Histogram, fn() -> Histogram>,
    runs: Family<Labels, Histogram, fn() -> Histogram>,
    refused: Family<Labels, Counter>,
    panics: Family<Labels, Counter>,
}

/// From a tenth of a millisecond to the longest that a request may take.
fn seconds() -> Histogram {
    Histogram::new([0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

impl Metrics {
    /// Makes them part of what `registry` tells.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("pool_slots_in_use", "Messages queued or at work", new.in_use.clone());
        registry.register("pool_slots", "Messages that may be queued or at work", new.size.clone());
        registry.register_with_unit("pool_wait", "Time in the queue", Unit::Seconds, new.waits.clone());
        registry.register_with_unit("pool_work", "Time at work", Unit::Seconds, new.runs.clone());
        registry.register("pool_refused", "Messages refused because every slot was taken", new.refused.clone());
        registry.register("pool_panics", "Panics that a worker survived", new.panics.clone());
        new
    }

    /// The share of the pool `pool`, which has `size` slots.
    pub(super) fn of_pool(&self, pool: &'static str, size: usize) -> Gauges {
        let labels = Labels { pool };
        self.size.get_or_create(&labels).set(i64::try_from(size).unwrap_or(i64::MAX));
        Gauges {
            in_use: self.in_use.get_or_create_owned(&labels),
            waits: self.waits.get_or_create_owned(&labels),
            runs: self.runs.get_or_create_owned(&labels),
            refused: self.refused.get_or_create_owned(&labels),
            panics: self.panics.get_or_create_owned(&labels),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            in_use: Family::default(),
            size: Family::default(),
            waits: Family::new_with_constructor(seconds),
            runs: Family::new_with_constructor(seconds),
            refused: Family::default(),
            panics: Family::default(),
        }
    }
}

/// One pool's share of [`Metrics`].
pub(super) struct Gauges {
    pub(super) in_use: Gauge,
    pub(super) waits: Histogram,
    pub(super) runs: Histogram,
    pub(super) refused: Counter,
    pub(super) panics: Counter,
}
