//! HTTP: URLs, JSON, problems, headers, limits. Handlers parse, call one use case and render.

mod bare;
pub mod bearer;
pub mod body;
mod client_address;
mod connections;
mod envelope;
mod health;
mod listener;
pub mod metrics;
mod openapi;
mod password;
mod password_rules;
pub mod problem;
mod rate_limit;
mod register;
mod request_id;
mod request_log;
mod session;
mod stream;
mod token;
mod unread;
mod user;
mod well_known;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::guard::{self, Guard};
use actix_web::middleware::from_fn;
use actix_web::{App, Resource, Route, web};

use crate::accounts::{Services, Shared};
use crate::http::connections::Connections;
use crate::http::envelope::{Surroundings, envelope};
use crate::http::metrics::Metrics;
use crate::http::problem::{Kind, Problem};
use crate::http::rate_limit::RateLimits;

pub use crate::http::client_address::TrustedProxies;
pub use crate::http::connections::Limits;
pub use crate::http::listener::Listening;

/// What the HTTP server needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 picks one.
    pub bind: SocketAddr,
    /// Worker threads, each with an event loop.
    pub workers: usize,
    /// How many connections there may be.
    pub limits: Limits,
    /// Whether each client is held to a number of requests; not for load tests.
    pub limits_rate: bool,
    /// Whom to believe where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// How long requests under way may take once the server stops.
    pub shutdown_timeout: Duration,
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// THE route table. A path is compared with one after the other, so that those with parameters come last: each of them
/// is a regular expression, which would be run for every request that goes by.
fn routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/api/register", POST).route(web::post().to(register::post)))
        .service(
            at("/api/password_rules", "GET, HEAD, POST")
                .route(get().to(password_rules::get))
                .route(web::post().to(password_rules::post)),
        )
        .service(at_token("/api/token", POST).route(web::post().to(token::post)))
        .service(at_token("/oauth2/token", POST).route(web::post().to(token::post_strict)))
        .service(at_token("/oauth2/revoke", POST).route(web::post().to(session::revoke)))
        .service(at("/api/logout", POST).route(web::post().to(session::logout).wrap(bearer::required())))
        .service(at("/api/logout_all", POST).route(web::post().to(session::logout_all).wrap(bearer::required())))
        .service(at("/api/user/sessions", GET).route(get().to(session::list).wrap(bearer::required())))
        .service(at("/api/user/password", POST).route(web::post().to(password::post).wrap(bearer::required())))
        .service(at("/api/user/me", GET).route(get().to(user::me).wrap(bearer::required())))
        .service(at("/api/is_logined", GET).route(get().to(user::is_logined).wrap(bearer::optional())))
        .service(at("/.well-known/jwks.json", GET).route(get().to(well_known::jwks)))
        .service(at("/.well-known/oauth-authorization-server", GET).route(get().to(well_known::metadata)))
        .service(at("/api/hello", GET).route(get().to(health::hello)))
        .service(at("/livez", GET).route(get().to(health::livez)))
        .service(at("/readyz", GET).route(get().to(health::readyz)))
        .service(at("/openapi.json", GET).route(get().to(openapi::document)))
        .service(at("/docs", GET).route(get().to(openapi::docs)))
        .service(
            at("/api/user/sessions/{id}", "DELETE").route(web::delete().to(session::delete).wrap(bearer::required())),
        )
        .service(at("/docs/{path:.*}", GET).route(get().to(openapi::docs_file)))
        .default_service(web::to(not_found));
}

/// GET and with it HEAD (RFC 9110 9.1); the body of an answer to HEAD is not sent.
fn get() -> Route {
    web::route().guard(get_or_head())
}

fn get_or_head() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

/// A path; other methods than `allowed` are told so.
fn at(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || method_not_allowed(allowed)))
}

/// The same for a token endpoint, whose errors are OAuth errors.
fn at_token(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        method_not_allowed(allowed).await.map_err(Problem::on_token_endpoint)
    }))
}

async fn method_not_allowed(allowed: &'static str) -> Result<&'static str, Problem> {
    Err(Kind::MethodNotAllowed(allowed).into())
}

async fn not_found() -> Result<&'static str, Problem> {
    Err(Kind::NotFound.into())
}

/// Binds and starts to serve. Signals are the caller's affair.
///
/// Errors: the address cannot be bound.
pub fn serve(settings: Settings, shared: Shared, metrics: Metrics) -> io::Result<Listening> {
    let trusted_proxies = settings.trusted_proxies.clone();
    let connections = Connections::new(settings.limits, trusted_proxies.clone(), metrics.connections.clone());
    connections.watch();
    let rate_limits = Arc::new(RateLimits::new(settings.limits_rate, metrics.clone()));
    listener::listen(settings, connections, move || {
        // One for each worker: a count that all of them share would be written by all of them for every request.
        let surroundings = Rc::new(Surroundings {
            metrics: metrics.clone(),
            rate_limits: Arc::clone(&rate_limits),
            trusted_proxies: trusted_proxies.clone(),
            is_stopping: Arc::clone(&shared.is_stopping),
        });
        App::new()
            .app_data(web::Data::new(Services::start(shared.clone())))
            .app_data(web::Data::from(Arc::clone(&rate_limits)))
            .configure(routes)
            .wrap(from_fn(move |request, next| envelope(Rc::clone(&surroundings), request, next)))
    })
}
