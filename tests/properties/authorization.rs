//! A bearer token is one header of the scheme `Bearer` with a b64token (RFC 6750 2.1) and nothing else (C-42).

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tegata::http::bearer::Presented;

/// Each line is a header's value.
pub fn check(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    // What is no header value never gets past the HTTP parser.
    for value in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(AUTHORIZATION, value);
    }
    let values: Vec<_> = headers.get_all(AUTHORIZATION).map(HeaderValue::as_bytes).collect();
    let presented = Presented::read(&headers);
    assert_eq!(presented, expected(&values), "{}", bytes.escape_ascii());

    if let Presented::Token(token) = presented {
        let mut plain = HeaderMap::new();
        plain.append(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        assert_eq!(Presented::read(&plain), Presented::Token(token), "presented again");
    }
}

fn expected(values: &[&[u8]]) -> Presented {
    let [value] = values else {
        return if values.is_empty() { Presented::Nothing } else { Presented::Illegible };
    };
    let mut words = value.splitn(2, |byte| *byte == b' ');
    if !words.next().unwrap().eq_ignore_ascii_case(b"bearer") {
        return Presented::Nothing;
    }
    let token = String::from_utf8_lossy(words.next().unwrap_or_default().trim_ascii()).into_owned();
    let (body, padding) = token.split_at(token.find('=').unwrap_or(token.len()));
    let is_legal = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' | '+' | '/');
    if !body.is_empty() && body.chars().all(is_legal) && padding.chars().all(|c| c == '=') {
        Presented::Token(token)
    } else {
        Presented::Illegible
    }
}
