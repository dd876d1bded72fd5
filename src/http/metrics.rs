//! What the HTTP server is measured by, and `GET /metrics` on a listener of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::http::rate_limit::Action;

/// Counters and histograms, shared by all workers.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Labels, Histogram, fn() -> Histogram>,
    pub(crate) panics: Counter,
    pub(crate) lines_left_out: Counter,
    limited: Family<LimitLabel, Counter>,
    pub(crate) connections: ConnectionMetrics,
}

/// Of the connections.
#[derive(Clone, Default)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: Gauge,
    pub(crate) limit: Gauge,
    pub(crate) refused: Counter,
    pub(crate) crowded_out: Counter,
    pub(crate) slow: Counter,
    pub(crate) malformed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl Metrics {
    /// Makes them part of what `registry` tells.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let new = Self {
            requests: Family::new_with_constructor(seconds),
            panics: Counter::default(),
            lines_left_out: Counter::default(),
            limited: Family::default(),
            connections: ConnectionMetrics::default(),
        };
        let ConnectionMetrics { open, limit, refused, crowded_out, slow, malformed } = &new.connections;
        registry.register_with_unit(
            "http_request_duration",
            "From the end of a request's head to its answer, by route and status",
            Unit::Seconds,
            new.requests.clone(),
        );
        registry.register("http_panics", "Handlers that panicked", new.panics.clone());
        registry.register(
            "http_log_lines_left_out",
            "Requests that the log does not tell of, in a flood",
            new.lines_left_out.clone(),
        );
        // Made at the start: an alert on the increase of a series misses its first event otherwise.
        for action in Action::ALL {
            drop(new.limited.get_or_create(&LimitLabel { limit: action.name() }));
        }
        registry.register(
            "http_requests_limited",
            "Requests refused because their client had made too many, by what was limited",
            new.limited.clone(),
        );
        registry.register("http_connections", "Connections that are open", open.clone());
        registry.register("http_connections_limit", "Connections that there may be", limit.clone());
        registry.register(
            "http_connections_malformed",
            "Connections closed because what came was no HTTP",
            malformed.clone(),
        );
        registry.register("http_connections_refused", "Connections refused because all were at work", refused.clone());
        registry.register(
            "http_connections_crowded_out",
            "Waiting connections closed to make room for others",
            crowded_out.clone(),
        );
        registry.register("http_connections_slow", "Connections closed because a head took too long", slow.clone());
        new
    }

    /// A client had done something too often.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Labels { route, status }).observe(took.as_secs_f64());
    }
}

/// Serves what `registry` tells, in the OpenMetrics text format that Prometheus reads.
///
/// Errors: the address cannot be bound.
pub fn serve(address: SocketAddr, registry: Registry) -> io::Result<(Server, ServerHandle, SocketAddr)> {
    let registry = web::Data::from(Arc::new(registry));
    let server =
        HttpServer::new(move || App::new().app_data(registry.clone()).service(web::resource("/metrics").get(metrics)))
            .workers(1)
            .disable_signals()
            .bind(address)?;
    let address = server.addrs().first().copied().unwrap_or(address);
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle, address))
}

async fn metrics(registry: web::Data<Registry>) -> HttpResponse {
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => {
            HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(page)
        }
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
