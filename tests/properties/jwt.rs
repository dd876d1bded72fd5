//! The keyring's quick check accepts what the library's own `decode` accepts, and nothing that the key has not signed.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tegata::domain::clock::UnixTime;
use tegata::domain::signing_key::SigningAlgorithm;
use tegata::domain::user::{User, UserId};
use tegata::tokens::{AUDIENCE, ISSUER, Keyring, SecretKey, Settings};

const SECRET: &str = "the quick brown fox jumps over 13 lazy dogs";
/// Longest token that the keyring looks at, in bytes.
const MAX_BYTES: usize = 4096;

/// Three readings of the bytes: a token, claims behind our own header, and a line of header with claims behind it. The
/// last two are signed with the right key, so that more than the signature decides.
pub fn check(bytes: &[u8]) {
    if let Ok(token) = std::str::from_utf8(bytes) {
        agree(token);
    }
    agree(&sign(&JUDGES.header, bytes));
    if let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
        let header = URL_SAFE_NO_PAD.encode(&bytes[..at]);
        let is_accepted = agree(&sign(&header, &bytes[at + 1..]));
        assert!(!is_accepted || header == JUDGES.header, "another header passed: {}", bytes.escape_ascii());
    }
}

/// The keyring's verdict on a token, once it is clear that the library has the same.
pub fn agree(token: &str) -> bool {
    let now = now();
    let verdict = JUDGES.keyring.check(token, now).is_ok();
    let reference = JUDGES.reference_accepts(token, now);
    if token.starts_with(&format!("{}.", JUDGES.header)) && token.len() <= MAX_BYTES {
        assert_eq!(verdict, reference, "they disagree on {token}");
    } else {
        // The library reads any spelling of the header, and tokens of any length.
        assert!(!verdict, "none of ours passed: {token}");
    }
    if verdict {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(signature, URL_SAFE_NO_PAD.encode(hmac::sign(&JUDGES.key, signed.as_bytes())), "{token}");
    }
    verdict
}

/// A token of ours, good for ten years.
pub fn genuine() -> &'static str {
    &JUDGES.genuine
}

/// Signs what no client could sign.
pub fn sign(header: &str, claims: &[u8]) -> String {
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&JUDGES.key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The reference judges time by the system's clock, so the test does too.
#[expect(clippy::disallowed_methods, reason = "the library's decode reads this clock itself")]
fn now() -> UnixTime {
    UnixTime(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap())
}

/// What the library requires of claims, and what our profile adds to it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "their presence and type are what is checked")]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    email: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    jti: String,
}

struct Judges {
    keyring: Keyring,
    genuine: String,
    header: String,
    key: hmac::Key,
    decoding: DecodingKey,
    validation: Validation,
    kid: Option<String>,
}

static JUDGES: LazyLock<Judges> = LazyLock::new(|| {
    let settings = Settings {
        secret: SecretKey::parse(SECRET).unwrap(),
        previous: None,
        algorithm: SigningAlgorithm::Hs256,
        issuer: ISSUER.to_owned(),
        lifetime_secs: 10 * 365 * 86_400,
    };
    let keyring = Keyring::new(&settings).unwrap();
    let user = User { id: UserId(41), email: "someone@example.com".to_owned(), is_disabled: false };
    let genuine = keyring.issue(&user, None, now()).unwrap().token;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_nbf = false;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Judges {
        keyring,
        header: genuine.split('.').next().unwrap().to_owned(),
        key: hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()),
        decoding: DecodingKey::from_secret(SECRET.as_bytes()),
        validation,
        kid: jsonwebtoken::decode_header(&genuine).unwrap().kid,
        genuine,
    }
});

impl Judges {
    fn reference_accepts(&self, token: &str, now: UnixTime) -> bool {
        let Ok(decoded) = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation) else {
            return false;
        };
        let (header, claims) = (decoded.header, decoded.claims);
        header.typ.as_deref() == Some("at+jwt")
            && header.kid == self.kid
            && header.crit.is_none()
            && claims.iat <= now.0 + 5
            && claims.nbf.is_none_or(|nbf| nbf <= now.0 + 5)
            && !claims.jti.is_empty()
            && claims.sub.parse::<i64>().is_ok_and(|id| id.to_string() == claims.sub)
    }
}
