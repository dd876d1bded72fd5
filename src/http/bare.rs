//! Answers to what is no request: written out by hand, as no request goes with them. actix-http would give them a
//! status and nothing else.

use std::fmt::Write;

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;

use crate::http::envelope;
use crate::http::problem::{Kind, Problem};
use crate::http::request_id;

/// The whole answer, after which the connection is closed.
pub(crate) fn answer(kind: Kind) -> Vec<u8> {
    let id = request_id::make();
    let mut response = Problem::from(kind).render(id.to_str().ok());
    envelope::add_headers(response.headers_mut(), id);
    let status = response.status();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        // A String can always be written to.
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}

/// Longest answer that actix-http makes up.
const LONGEST: usize = 256;

/// Whether `bytes`, about to be sent, end with an answer of actix-http's own making: then what goes before it, and
/// what it should have said. Answers of ours have a request id.
pub(crate) fn split_unsaid(bytes: &[u8]) -> Option<(&[u8], Kind)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let end = &bytes[bytes.len().saturating_sub(LONGEST)..];
    let at = bytes.len() - end.len() + memchr::memmem::rfind(end, b"HTTP/1.1 ")?;
    let (before, unsaid) = bytes.split_at(at);
    if memchr::memmem::find(unsaid, b"x-request-id").is_some() {
        return None;
    }
    let status = unsaid.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok())?;
    let kind = match status {
        StatusCode::BAD_REQUEST => Kind::MalformedHead,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Kind::HeadTooLarge,
        StatusCode::REQUEST_TIMEOUT => Kind::HeadTooSlow,
        StatusCode::INTERNAL_SERVER_ERROR => Kind::Internal("actix-http could not go on".to_owned()),
        // 100 Continue, for one, is none of ours.
        _ => return None,
    };
    Some((before, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_without_a_request_have_what_all_answers_have() {
        let answer = String::from_utf8(answer(Kind::HeadTooSlow)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        for header in
            ["cache-control: no-store", "x-content-type-options: nosniff", "x-request-id: ", "connection: close"]
        {
            assert!(head.contains(header), "{header} is missing in: {head}");
        }
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("\"status\":408"), "{body}");
    }

    #[test]
    fn only_what_actix_makes_up_is_replaced() {
        let made_up = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: x\r\n\r\n";
        assert_eq!(split_unsaid(made_up), Some((&b""[..], Kind::MalformedHead)));
        let ours = b"HTTP/1.1 200 OK\r\nx-request-id: a\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(split_unsaid(&[&ours[..], made_up].concat()), Some((&ours[..], Kind::MalformedHead)));
        assert_eq!(split_unsaid(ours), None);
        assert_eq!(split_unsaid(b"HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(split_unsaid(b"HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(split_unsaid(b"\r\n\r\n"), None);
    }
}
