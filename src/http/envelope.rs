//! What goes around every answer: a request id, the headers that all answers share, a line in the log, and a net for
//! panics.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, ResponseError};
use futures_util::FutureExt;
use tracing::{Instrument, Span};

use crate::http::client_address::TrustedProxies;
use crate::http::connections::{Connection, Phase};
use crate::http::metrics::Metrics;
use crate::http::problem::{Kind, Problem};
use crate::http::rate_limit::{Action, ClientAddress, RateLimits};
use crate::http::request_id::{self, REQUEST_ID};
use crate::http::request_log::{Caller, Entry, Outcome};
use crate::http::unread;

/// What every request has around it.
pub(crate) struct Surroundings {
    pub(crate) metrics: Metrics,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Once the server stops, each answer is the last one of its connection.
    pub(crate) is_stopping: Arc<AtomicBool>,
}

/// The middleware.
pub(crate) async fn envelope(
    surroundings: Rc<Surroundings>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request_id::presented(&request).unwrap_or_else(request_id::make);
    let address = surroundings.trusted_proxies.client(request.peer_addr(), request.headers());
    request.extensions_mut().insert(ClientAddress(address));
    let entry = Entry::begin(&request, address);
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let has = |name| request.headers().contains_key(name);
    let had_body = has(header::CONTENT_LENGTH) || has(header::TRANSFER_ENCODING);
    let held = unread::hold(&mut request);
    if let Some(connection) = &connection {
        connection.enter(Phase::Working);
    }
    // Lines that are written on the way tell the request. A span costs as much as a look-up: only where there are such.
    let span = match *request.method() {
        Method::POST => tracing::info_span!("request", request_id = id.to_str().unwrap_or_default()),
        _ => Span::none(),
    };
    let answer = async {
        admit(&surroundings.rate_limits, &request, address)?;
        next.call(request).await
    };
    let answer = AssertUnwindSafe(answer.instrument(span)).catch_unwind().await;
    if let Some(connection) = &connection {
        connection.answered(had_body);
    }
    let is_last = surroundings.is_stopping.load(Ordering::Relaxed);
    let metrics = &surroundings.metrics;
    let refused = |told: Told| {
        let problem = Some(&told.problem);
        let status = told.status_code().as_u16();
        entry.end(&Outcome { id: &told.id, status, problem, caller: None, path: None }, metrics);
        Err(told.into())
    };
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return refused(Told::new(&error, &id, is_last)),
        // C-59: a panic is an answer too, and the connection goes on.
        Err(_) => {
            metrics.panics.inc();
            let problem = Kind::Internal("a handler panicked; another line tells where".to_owned()).into();
            return refused(Told { problem, id, is_last });
        }
    };
    let told = response.response().error().map(|error| Told::new(error, &id, is_last));
    let status = told.as_ref().map_or(response.status(), ResponseError::status_code).as_u16();
    let problem = told.as_ref().map(|told| &told.problem);
    let caller = response.request().extensions().get::<Caller>().map(|caller| caller.0);
    entry.end(&Outcome { id: &id, status, problem, caller, path: Some(response.request().path()) }, metrics);
    if let Some(told) = told {
        response = response.into_response(told.error_response());
    } else {
        finish(response.response_mut().head_mut(), id, is_last);
    }
    Ok(unread::keep(held, response))
}

/// Errors: the client asks too often. Whoever looks after the server may ask at all times.
fn admit(limits: &RateLimits, request: &ServiceRequest, address: IpAddr) -> Result<(), Problem> {
    let path = request.path();
    if ["/livez", "/readyz"].contains(&path) {
        return Ok(());
    }
    limits.take(Action::Request, address).map_err(|kind| match path {
        "/api/token" | "/oauth2/token" | "/oauth2/revoke" => Problem::from(kind).on_token_endpoint(),
        _ => kind.into(),
    })
}

/// What all answers share.
fn finish(head: &mut actix_web::dev::ResponseHead, id: HeaderValue, is_last: bool) {
    add_headers(head.headers_mut(), id);
    if is_last {
        head.set_connection_type(ConnectionType::Close);
    }
}

pub(crate) fn add_headers(headers: &mut HeaderMap, id: HeaderValue) {
    // Answers are about one person at one moment. The documentation's files say otherwise themselves.
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id);
}

/// A problem and the id of the request that met it: what a client is told.
#[derive(Debug)]
struct Told {
    problem: Problem,
    id: HeaderValue,
    is_last: bool,
}

impl Told {
    /// Whatever is no [`Problem`] is a mistake of ours.
    fn new(error: &actix_web::Error, id: &HeaderValue, is_last: bool) -> Self {
        let problem = error.as_error::<Problem>().cloned().unwrap_or_else(|| Kind::Internal(error.to_string()).into());
        Self { problem, id: id.clone(), is_last }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl ResponseError for Told {
    fn status_code(&self) -> StatusCode {
        self.problem.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.problem.render(self.id.to_str().ok());
        finish(response.head_mut(), self.id.clone(), self.is_last);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};
    use prometheus_client::registry::Registry;

    async fn wrapped(
        request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
        let metrics = Metrics::register(&mut Registry::default());
        let surroundings = Surroundings {
            rate_limits: Arc::new(RateLimits::new(true, metrics.clone())),
            metrics,
            trusted_proxies: TrustedProxies::default(),
            is_stopping: Arc::default(),
        };
        envelope(Rc::new(surroundings), request, next).await
    }

    async fn broken() -> HttpResponse {
        panic!("on purpose, with a secret")
    }

    async fn fine() -> &'static str {
        "fine"
    }

    /// C-59.
    #[actix_web::test]
    async fn a_panic_is_a_500_with_the_request_id_and_without_the_cause() {
        let app = App::new()
            .route("/broken", web::get().to(broken))
            .route("/fine", web::get().to(fine))
            .wrap(from_fn(wrapped));
        let app = test::init_service(app).await;
        let request = test::TestRequest::get().uri("/broken").insert_header(("x-request-id", "my-id.1")).to_request();
        // actix renders the error in the same way when it is the whole app's answer.
        let response = test::try_call_service(&app, request).await.unwrap_err().error_response();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers().get("x-request-id").unwrap(), "my-id.1");
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains("\"request_id\":\"my-id.1\"") && !body.contains("secret"), "{body}");
        let response = test::call_service(&app, test::TestRequest::get().uri("/fine").to_request()).await;
        assert_eq!(response.status(), 200);
    }

    #[actix_web::test]
    async fn ids_of_a_harmful_form_are_replaced() {
        let app = test::init_service(App::new().route("/", web::get().to(fine)).wrap(from_fn(wrapped))).await;
        let long = "a".repeat(65);
        for harmful in ["", "a b", "a\tb", "\"", "<x>", long.as_str()] {
            let request = test::TestRequest::get().uri("/").insert_header(("x-request-id", harmful)).to_request();
            let response = test::call_service(&app, request).await;
            let id = response.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
            assert_ne!(id, harmful);
            assert!(id.len() >= 18, "{id}");
        }
    }
}
