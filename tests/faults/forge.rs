//! Tokens of the suite's own making, signed with the key that the server under test was given.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::process::SECRET_KEY;

pub struct Forge {
    /// As it was written: the server makes one header and knows no other.
    header: String,
    claims: Value,
}

impl Forge {
    /// Takes a good token apart.
    pub fn from(token: &str) -> Self {
        let part = |at| {
            let part = token.split('.').nth(at).unwrap();
            String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        Self { header: part(0), claims: serde_json::from_str(&part(1)).unwrap() }
    }

    /// With one claim replaced.
    pub fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        sign(&self.header, &claims.to_string(), SECRET_KEY.as_bytes())
    }

    /// With one field of the header replaced.
    pub fn with_header(&self, name: &str, value: Value) -> String {
        let mut header: Value = serde_json::from_str(&self.header).unwrap();
        header[name] = value;
        sign(&header.to_string(), &self.claims.to_string(), SECRET_KEY.as_bytes())
    }

    /// With `claim` moved by so many seconds from now.
    pub fn timed(&self, claim: &str, from_now: i64) -> String {
        self.with(claim, json!(now() + from_now))
    }

    pub fn with_key(&self, key: &[u8]) -> String {
        sign(&self.header, &self.claims.to_string(), key)
    }
}

fn sign(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[expect(clippy::disallowed_methods, reason = "the server under test reads the same clock, and the claims must fit it")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
