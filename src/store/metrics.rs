//! What the store is measured by.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges, shared by all workers.
#[derive(Clone, Default)]
pub struct Metrics {
    pub(super) connections: Gauge,
    pub(super) away: Gauge,
    pub(super) outages: Counter,
    pub(super) retries: Family<Labels, Counter>,
}

/// Why a query ran again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) reason: &'static str,
}

pub(super) const LOST_A_RACE: Labels = Labels { reason: "lost a race" };
pub(super) const LOST_THE_CONNECTION: Labels = Labels { reason: "lost the connection" };

impl Metrics {
    /// Makes them part of what `registry` tells.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("database_connections", "Connections that are open", new.connections.clone());
        registry.register(
            "database_away",
            "1 while the breaker is open: the database cannot be reached and requests hear 503 at once",
            new.away.clone(),
        );
        registry.register("database_outages", "Times that the breaker opened", new.outages.clone());
        // There from the start: what appears with its first event hides it from whoever watches for a change.
        for reason in [LOST_A_RACE, LOST_THE_CONNECTION] {
            drop(new.retries.get_or_create(&reason));
        }
        registry.register("database_retries", "Queries that ran again, by reason", new.retries.clone());
        new
    }
}
