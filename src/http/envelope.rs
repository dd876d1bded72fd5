//! What goes around every answer: a request id, the headers that all answers share, and a net for panics.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use aws_lc_rs::rand;
use futures_util::FutureExt;

use crate::domain::clock::OnceASecond;
use crate::http::problem::{Kind, Problem};
use crate::http::unread;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a request.
const MAX_ID: usize = 64;

/// The middleware.
pub(crate) async fn envelope(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = presented_id(&request).unwrap_or_else(make_id);
    let held = unread::hold(&mut request);
    let mut response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(Told::new(&error, &id).into()),
        // C-59: a panic is an answer too, and the connection goes on.
        Err(_) => {
            let problem = Kind::Internal("a handler panicked; standard error tells where".to_owned()).into();
            return Err(Told { problem, id }.into());
        }
    };
    if let Some(error) = response.response().error() {
        let told = Told::new(error, &id).error_response();
        response = response.into_response(told);
    }
    add_headers(response.headers_mut(), id);
    Ok(unread::keep(held, response))
}

fn add_headers(headers: &mut HeaderMap, id: HeaderValue) {
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
}

impl Told {
    /// Whatever is no [`Problem`] is a mistake of ours.
    fn new(error: &actix_web::Error, id: &HeaderValue) -> Self {
        let problem = error.as_error::<Problem>().cloned().unwrap_or_else(|| Kind::Internal(error.to_string()).into());
        Self { problem, id: id.clone() }
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

    /// Renders it with the id; what is our fault is logged here, once.
    fn error_response(&self) -> HttpResponse {
        let id = self.id.to_str().unwrap_or_default();
        match self.problem.kind() {
            Kind::Internal(cause) => tracing::error!(request_id = id, cause, "request failed"),
            Kind::Overloaded(cause) | Kind::Unavailable(cause) => log_refusal(id, cause),
            _ => {}
        }
        let mut response = self.problem.render(Some(id));
        add_headers(response.headers_mut(), self.id.clone());
        response
    }
}

/// Says why requests are refused: once a second, since a flood has one cause, with the number of those left out.
fn log_refusal(id: &str, cause: &str) {
    static GATE: OnceASecond = OnceASecond::new();
    static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
    if GATE.opens() {
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        tracing::warn!(request_id = id, cause, left_out, "request refused with 503");
    } else {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
}

/// The client's own id, if it has a harmless form.
fn presented_id(request: &ServiceRequest) -> Option<HeaderValue> {
    let id = request.headers().get(REQUEST_ID)?;
    let is_harmless = (1..=MAX_ID).contains(&id.len())
        && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    is_harmless.then(|| id.clone())
}

/// A name for the request: random for this process, then counted. It must be unique, not secret.
fn make_id() -> HeaderValue {
    static PROCESS: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without randomness the counter alone still tells the requests of this process apart.
        let _ = rand::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut id = [b'0'; 33];
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // By hand, as this happens for every request: sixteen digits, a dash, sixteen digits.
    for (at, digit) in id.iter_mut().enumerate() {
        let (number, place) = if at < 16 { (*PROCESS, 15 - at) } else { (count, 32_usize.saturating_sub(at)) };
        *digit = if at == 16 { b'-' } else { b"0123456789abcdef"[(number >> (4 * place) & 0xf) as usize] };
    }
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};

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
            .wrap(from_fn(envelope));
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
        let app = test::init_service(App::new().route("/", web::get().to(fine)).wrap(from_fn(envelope))).await;
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
