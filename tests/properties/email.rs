//! The canonical form of an address is its own canonical form, and what docs/adr/0003-email-key.md calls one account has
//! one (C-20).

use tegata::domain::email::{Email, EmailError};
use unicode_normalization::UnicodeNormalization;

const MAX_BYTES: usize = 254;

pub fn check(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Ok(email) = Email::parse(raw) else { return };
    let (given, key) = (email.as_given(), email.key());
    assert_eq!(given, raw.trim_matches(' '));
    assert_eq!(Email::parse(key).map(|again| again.key().to_owned()).as_deref(), Ok(key), "its own key");

    for text in [given, key] {
        assert!(text.len() <= MAX_BYTES, "{} bytes: {text:?}", text.len());
        assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()), "{text:?}");
    }
    let (local, domain) = key.rsplit_once('@').unwrap();
    assert!(!local.is_empty() && !local.contains('@') && !domain.is_empty(), "{key:?}");
    assert!(domain.is_ascii() && domain == domain.to_ascii_lowercase(), "{key:?}");
    if given.is_ascii() {
        // Nothing is merged but case.
        assert_eq!(key, given.to_ascii_lowercase());
    }

    let variants = [
        format!("  {raw} "),
        given.to_ascii_lowercase(),
        given.to_ascii_uppercase(),
        given.nfc().collect(),
        given.nfd().collect(),
        given.chars().map(full_width).collect(),
    ];
    for variant in variants {
        match Email::parse(&variant) {
            Ok(other) => assert_eq!(other.key(), key, "{variant:?} and {given:?} are one account"),
            // A variant takes more bytes than the address.
            Err(error) => assert_eq!(error, EmailError::TooLong, "{variant:?} as against {given:?}"),
        }
    }
}

fn full_width(c: char) -> char {
    if c.is_ascii_alphanumeric() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }
}
