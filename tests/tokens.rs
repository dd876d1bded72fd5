//! The keyring's quick check against the library's own `decode`: they agree on a million mutated tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tegata::domain::clock::UnixTime;
use tegata::domain::user::{User, UserId};
use tegata::tokens::{AUDIENCE, ISSUER, Keyring, SecretKey, Settings};

const SECRET: &str = "the quick brown fox jumps over 13 lazy dogs";
const TOKENS: u64 = 1_000_000;
const THREADS: u64 = 2;

/// The reference judges time by the system's clock, so the test does too.
#[expect(clippy::disallowed_methods, reason = "the library's decode reads this clock itself")]
fn now() -> UnixTime {
    UnixTime(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap())
}

/// Deterministic, so that a failure can be repeated (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }
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

struct Reference {
    key: DecodingKey,
    validation: Validation,
    kid: Option<String>,
}

impl Reference {
    fn new(genuine: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let kid = jsonwebtoken::decode_header(genuine).unwrap().kid;
        Self { key: DecodingKey::from_secret(SECRET.as_bytes()), validation, kid }
    }

    fn accepts(&self, token: &str, now: UnixTime) -> bool {
        let Ok(decoded) = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation) else { return false };
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

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    const TEXT: &[u8] = b"abcXYZ0129-_.=\"{}:,[]ntrue ";
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(7),
            1 if !bytes.is_empty() => bytes[at] = TEXT[chance.below(TEXT.len())],
            2 => bytes.insert(at, TEXT[chance.below(TEXT.len())]),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + chance.below(12)).min(bytes.len())].to_vec();
                let to = chance.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

fn sign(header: &str, claims: &[u8], key: &hmac::Key) -> String {
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Half of the tokens are mutated as they are; of the other half the claims are mutated and signed with the right key,
/// so that more than the signature decides.
fn agree(seed: u64) -> (u64, u64) {
    let settings = Settings { secret: SecretKey::parse(SECRET).unwrap(), lifetime_secs: 3600 };
    let keyring = Keyring::new(&settings).unwrap();
    let user = User { id: UserId(41), email: "someone@example.com".to_owned(), is_disabled: false };
    let now = now();
    let genuine = keyring.issue(&user, now).unwrap().token;
    let reference = Reference::new(&genuine);
    assert!(reference.accepts(&genuine, now) && keyring.check(&genuine, now) == Ok(UserId(41)));
    let header = genuine.split('.').next().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(genuine.split('.').nth(1).unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let (mut chance, mut accepted, mut refused) = (Chance(seed), 0, 0);
    for number in 0..TOKENS / THREADS {
        let token = if number % 2 == 0 {
            let mut token = genuine.clone().into_bytes();
            mutate(&mut token, &mut chance);
            String::from_utf8_lossy(&token).into_owned()
        } else {
            let mut claims = claims.clone();
            mutate(&mut claims, &mut chance);
            sign(header, &claims, &key)
        };
        let verdict = keyring.check(&token, now).is_ok();
        assert_eq!(verdict, reference.accepts(&token, now), "they disagree on {token}");
        if verdict { accepted += 1 } else { refused += 1 }
    }
    (accepted, refused)
}

#[test]
fn a_million_mutated_tokens_are_judged_as_the_library_judges_them() {
    let threads: Vec<_> = (1..=THREADS).map(|seed| std::thread::spawn(move || agree(seed * 0x9e37_79b9))).collect();
    let counts: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (accepted, refused) = counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    // Some mutations touch nothing that counts, such as the email: were none accepted, the test would show nothing.
    assert!(accepted > TOKENS / 100 && refused > TOKENS / 2, "{accepted} accepted, {refused} refused");
}
