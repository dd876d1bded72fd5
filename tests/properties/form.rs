//! A form is read as the WHATWG's parser reads it, unless that would replace bytes (C-06) or a name is there twice
//! (RFC 6749 3.2).

use std::collections::BTreeMap;

use actix_web::web::Query;
use tegata::http::body::parse_form;

pub fn check(bytes: &[u8]) {
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(&in_ascii(bytes)).unwrap();
    let reference: BTreeMap<_, _> = pairs.iter().cloned().collect();
    let is_repetitive = reference.len() < pairs.len();
    match parse_form(bytes) {
        Ok(parameters) => {
            assert!(!is_repetitive, "{pairs:?}");
            assert_eq!(parameters, reference);
            assert_eq!(parse_form(encode(&parameters).as_bytes()), Ok(parameters), "encoded and read again");
        }
        Err(error) => {
            let has_replacement = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
            let is_replaced = pairs.iter().any(|(name, value)| has_replacement(name) || has_replacement(value));
            assert!(is_repetitive || is_replaced, "{error:?} for {pairs:?}");
        }
    }
}

/// The same form for a parser that takes text.
fn in_ascii(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii() { text.push(char::from(*byte)) } else { text += &format!("%{byte:02x}") }
    }
    text
}

fn encode(parameters: &BTreeMap<String, String>) -> String {
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    pairs.join("&")
}
