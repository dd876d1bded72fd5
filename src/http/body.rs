//! Reads request bodies: bounded in size before they are read and in time while they are, then parsed strictly.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::http::connections::{Connection, Phase};
use crate::http::problem::Kind;

/// Largest body, in bytes (C-53).
pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// Longest time for the whole body (C-54).
const PATIENCE: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a JSON object, each name once.
pub(crate) async fn json_object(request: &HttpRequest, payload: web::Payload) -> Result<BTreeMap<String, Value>, Kind> {
    check_size(request.headers())?;
    check_media_type(request.headers(), JSON)?;
    parse_json(&read(request, payload).await?)
}

/// The parameters of a form, each name once (RFC 6749 3.2).
pub(crate) async fn form(request: &HttpRequest, payload: web::Payload) -> Result<BTreeMap<String, String>, Kind> {
    check_size(request.headers())?;
    check_media_type(request.headers(), FORM)?;
    parse_form(&read(request, payload).await?)
}

/// Says no to a large body before any of it is read.
pub(crate) fn check_size(headers: &HeaderMap) -> Result<(), Kind> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BYTES) { Err(Kind::BodyTooLarge(MAX_BYTES)) } else { Ok(()) }
}

fn check_media_type(headers: &HeaderMap, expected: &'static str) -> Result<(), Kind> {
    // RFC 9110 8.4: nothing is unpacked here, and packed bytes are no JSON.
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Kind::UnsupportedMediaType(expected));
    }
    let is_expected = || {
        let mut content_types = headers.get_all(header::CONTENT_TYPE);
        let content_type = content_types.next()?.to_str().ok()?;
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let is_utf8 = parameters.split(';').all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        Some(media_type.trim().eq_ignore_ascii_case(expected) && is_utf8 && content_types.next().is_none())
    };
    if is_expected() == Some(true) { Ok(()) } else { Err(Kind::UnsupportedMediaType(expected)) }
}

/// Collects the body into memory that is wiped: it holds a password.
async fn read(request: &HttpRequest, mut payload: web::Payload) -> Result<Zeroizing<Vec<u8>>, Kind> {
    let connection = request.conn_data::<Arc<Connection>>();
    if let Some(connection) = connection {
        connection.enter(Phase::Body);
    }
    // Room for the largest body from the start, so that growing leaves no copy behind.
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let collect = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Kind::MalformedBody("the body broke off".to_owned()))?;
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(Kind::BodyTooLarge(MAX_BYTES));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, collect).await.map_err(|_| Kind::BodyTooSlow)??;
    if let Some(connection) = connection {
        connection.enter(Phase::Working);
    }
    Ok(body)
}

/// Parses a JSON object in which no object has a name twice, at any depth (C-57, RFC 8259 4).
///
/// Errors: [`Kind::MalformedBody`], which says where and quotes nothing.
pub fn parse_json(body: &[u8]) -> Result<BTreeMap<String, Value>, Kind> {
    let malformed = |error: serde_json::Error| {
        // The position and nothing of the text: serde_json's own messages may quote the body.
        Kind::MalformedBody(format!(
            "the body is not valid JSON, from line {} column {} on",
            error.line(),
            error.column()
        ))
    };
    match serde_json::from_slice::<Unambiguous>(body).map_err(malformed)?.0 {
        Value::Object(fields) => Ok(fields.into_iter().collect()),
        _ => Err(Kind::MalformedBody("the body must be a JSON object".to_owned())),
    }
}

/// Parses a form by WHATWG URL 5.1, but for one thing: bytes that are not UTF-8 are refused, where the standard would
/// replace them and make different passwords equal (C-06).
///
/// Errors: [`Kind::InvalidRequest`] for those, and for a name that is there twice (RFC 6749 3.2).
pub fn parse_form(body: &[u8]) -> Result<BTreeMap<String, String>, Kind> {
    let mut parameters = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let (name, value) = (percent_decode(name)?, percent_decode(value.get(1..).unwrap_or_default())?);
        if parameters.insert(name, value).is_some() {
            return Err(Kind::InvalidRequest("a parameter is there twice".to_owned()));
        }
    }
    Ok(parameters)
}

fn percent_decode(text: &[u8]) -> Result<String, Kind> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
                hex_digit(*high) << 4 | hex_digit(*low)
            }
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        Kind::InvalidRequest("the body is not valid UTF-8".to_owned())
    })
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Any JSON in which no object has a name twice: parsers disagree on which one counts (C-57, RFC 8259 4).
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unambiguous(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((name, Unambiguous(value))) = access.next_entry::<String, _>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Option<Value> {
        parse_json(text).ok().map(|fields| fields.into_iter().collect())
    }

    /// C-57.
    #[test]
    fn ambiguous_and_broken_json_is_refused() {
        assert_eq!(
            json(br#"{"a": [1, -1, 1.5, true, null, "x"], "b": {}}"#).unwrap().to_string(),
            r#"{"a":[1,-1,1.5,true,null,"x"],"b":{}}"#
        );
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        for broken in [
            br#"{"a": 1, "a": 2}"#.as_slice(),
            br#"{"x": {"a": 1, "a": 2}}"#,
            br#"{"a": 1} x"#,
            br#"{"a": 1e999}"#,
            br#"{"a": "\ud800"}"#,
            b"\xef\xbb\xbf{}",
            b"{\"a\": \"\xff\"}",
            b"{\0}",
            b"",
            &deep,
        ] {
            assert_eq!(json(broken), None, "{:?}", String::from_utf8_lossy(broken.get(..20).unwrap_or(broken)));
        }
    }

    /// C-06, C-56, T-12.
    #[test]
    fn forms_are_strict_about_utf8_and_repetition() {
        let parsed = parse_form(b"username=a%40x.org&password=p+w%25%zz&scope=&flag").unwrap();
        let expected = [("username", "a@x.org"), ("password", "p w%%zz"), ("scope", ""), ("flag", "")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        for broken in [b"password=%FF".as_slice(), b"password=\xff", b"a=1&a=1", b"a=1&%61=2"] {
            assert!(parse_form(broken).is_err());
        }
    }
}
