//! One line a request: who asked for what, and what became of it. Never the query, a header or a body.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;

use crate::domain::clock::Gate;
use crate::domain::user::UserId;
use crate::http::metrics::Metrics;
use crate::http::problem::{Kind, Problem};

/// More lines than this a second tell nobody more, and would cost a flood's worth of time and disk. The metrics count
/// every request.
const LINES_PER_SECOND: u64 = 1000;

/// Routes by which requests are counted: as many as there are, whatever clients ask for.
const ROUTES: &[&str] = &[
    "/api/user/me",
    "/api/is_logined",
    "/api/token",
    "/oauth2/token",
    "/oauth2/revoke",
    "/api/logout",
    "/api/logout_all",
    "/api/user/sessions",
    "/api/user/password",
    "/api/register",
    "/api/password_rules",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/api/hello",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/docs",
];

fn route(path: &str) -> &'static str {
    match ROUTES.iter().find(|route| **route == path) {
        Some(route) => route,
        None if path.starts_with("/docs/") => "/docs",
        None if path.starts_with("/api/user/sessions/") => "/api/user/sessions/{id}",
        None => "other",
    }
}

/// Whom a request turned out to be from; left in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct Caller(pub(crate) UserId);

/// A request that is being answered.
pub(crate) struct Entry {
    began: Instant,
    method: Method,
    route: &'static str,
    address: IpAddr,
}

/// How it ended.
pub(crate) struct Outcome<'a> {
    pub(crate) id: &'a HeaderValue,
    pub(crate) status: u16,
    pub(crate) problem: Option<&'a Problem>,
    /// Where it is known: who asked, and at which path, as the client wrote it.
    pub(crate) caller: Option<UserId>,
    pub(crate) path: Option<&'a str>,
}

impl Entry {
    pub(crate) fn begin(request: &ServiceRequest, address: IpAddr) -> Self {
        Self { began: Instant::now(), method: request.method().clone(), route: route(request.path()), address }
    }

    /// Counts it, and writes its line.
    pub(crate) fn end(&self, outcome: &Outcome<'_>, metrics: &Metrics) {
        let took = self.began.elapsed();
        metrics.answered(self.route, outcome.status, took);
        static GATE: Gate = Gate::per_second(LINES_PER_SECOND);
        // A mistake of ours is told however many there are.
        let is_ours = matches!(outcome.problem.map(Problem::kind), Some(Kind::Internal(_)));
        match GATE.passes() {
            Some(left_out) => self.tell(outcome, took, left_out),
            None if is_ours => self.tell(outcome, took, 0),
            None => drop(metrics.lines_left_out.inc()),
        }
    }

    fn tell(&self, outcome: &Outcome<'_>, took: Duration, left_out: u64) {
        let request_id = outcome.id.to_str().unwrap_or_default();
        let cause = match outcome.problem.map(Problem::kind) {
            Some(Kind::Internal(cause) | Kind::Unavailable(cause) | Kind::Overloaded(cause)) => Some(cause.as_str()),
            Some(Kind::TooManyRequests { limit, .. }) => Some(*limit),
            _ => None,
        };
        // The level has to be known when the program is built, so the line is written out once for each.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "tegata::request",
                    request_id,
                    method = self.method.as_str(),
                    path = outcome.path.filter(|_| self.route == "other").map_or(self.route, shortened),
                    status = outcome.status,
                    milliseconds = took.as_micros() as f64 / 1000.0,
                    user = outcome.caller.map(|id| id.0),
                    address = %self.address,
                    problem = outcome.problem.map(Problem::name),
                    cause,
                    left_out = (left_out > 0).then_some(left_out),
                    "answered"
                )
            };
        }
        match outcome.status {
            503 => line!(warn),
            500.. => line!(error),
            _ => line!(info),
        }
    }
}

/// As much of a path as is worth a line.
fn shortened(path: &str) -> &str {
    path.get(..100).unwrap_or(path)
}
