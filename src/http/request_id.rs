//! A name for each request, by which a client and an operator can speak of it.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use aws_lc_rs::rand;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a request.
const MAX_ID: usize = 64;

/// The client's own id, if it has a harmless form.
pub(crate) fn presented(request: &ServiceRequest) -> Option<HeaderValue> {
    let id = request.headers().get(REQUEST_ID)?;
    let is_harmless = (1..=MAX_ID).contains(&id.len())
        && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    is_harmless.then(|| id.clone())
}

/// A name for the request: random for this process, then counted. It must be unique, not secret.
pub(crate) fn make() -> HeaderValue {
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
