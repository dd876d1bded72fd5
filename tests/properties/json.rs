//! A JSON body is read as serde_json reads it, unless a name is there twice (C-57, RFC 8259 4).

use serde_json::Value;
use tegata::http::body::parse_json;
use tegata::http::problem::Kind;

pub fn check(bytes: &[u8]) {
    let reference = serde_json::from_slice::<Value>(bytes).ok();
    // serde_json keeps the last of two members of one name, and so has fewer than the text.
    let unambiguous = reference.filter(|value| value.is_object() && members(value) == names(bytes));
    match parse_json(bytes) {
        Ok(fields) => assert_eq!(Some(Value::Object(fields.into_iter().collect())), unambiguous),
        Err(Kind::MalformedBody(message)) => {
            assert_eq!(unambiguous, None, "it was refused: {message}");
            let sentence: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
            let sentences = ["the body is not valid JSON, from line  column  on", "the body must be a JSON object"];
            assert!(sentences.contains(&sentence.as_str()), "it quotes the body: {message}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// How many names valid JSON has: a colon outside a string stands behind a name and nowhere else.
fn names(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.len() + fields.values().map(members).sum::<usize>(),
        Value::Array(values) => values.iter().map(members).sum(),
        _ => 0,
    }
}
