//! The signing secret: long enough, not a published one, never printed, wiped on drop.

use std::fmt;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// RFC 7518 3.2: a key of the size of the hash output or larger.
const MIN_BYTES: usize = 32;
/// A text of fewer different bytes is no random text.
const MIN_DIFFERENT: usize = 8;

/// Keys that stand in tutorials and examples, where attackers read them too (C-39).
const PUBLISHED: [&str; 4] = [
    // FastAPI's tutorial, before and since it says to replace it.
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    // jwt.io's and many READMEs' example keys, as far as they are long enough.
    "your-256-bit-secret-your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "mysupersecretkeymysupersecretkey",
];

/// An HMAC key: the bytes of the text that the settings give.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<String>);

/// Why a text is no usable key. `Display` says what to do and never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyError {
    /// Under 32 bytes.
    #[error("is shorter than {MIN_BYTES} bytes; make one with: openssl rand -hex 32")]
    TooShort,
    /// Known to everybody.
    #[error("is a published example that everybody knows; make one with: openssl rand -hex 32")]
    Published,
    /// `aaaa...`, or a short text over and over.
    #[error("has hardly any different characters; make one with: openssl rand -hex 32")]
    Monotonous,
    /// The system gave no randomness.
    #[error("could not be made: the system gives no randomness")]
    NoRandomness,
}

impl SecretKey {
    /// Takes over a key from the settings. White space around it is dropped: files end in a newline.
    pub fn parse(text: &str) -> Result<Self, SecretKeyError> {
        let text = text.trim();
        if text.len() < MIN_BYTES {
            return Err(SecretKeyError::TooShort);
        }
        if PUBLISHED.contains(&text) {
            return Err(SecretKeyError::Published);
        }
        let mut different = [false; 256];
        text.bytes().for_each(|byte| different[usize::from(byte)] = true);
        if different.iter().filter(|seen| **seen).count() < MIN_DIFFERENT {
            return Err(SecretKeyError::Monotonous);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Makes one of 256 random bits, as 64 hexadecimal digits.
    pub fn generate() -> Result<Self, SecretKeyError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::fill(bytes.as_mut()).map_err(|_| SecretKeyError::NoRandomness)?;
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in bytes.iter() {
            for nibble in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Ok(Self(text))
    }

    /// The key itself, for signing, checking and keeping it in a file.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-39, F-32.
    #[test]
    fn short_published_and_monotonous_keys_are_refused() {
        let error = |text: &str| SecretKey::parse(text).map(drop);
        assert_eq!(error("secret"), Err(SecretKeyError::TooShort));
        assert_eq!(error(PUBLISHED[0]), Err(SecretKeyError::Published));
        assert_eq!(error(&"ab".repeat(32)), Err(SecretKeyError::Monotonous));
        assert_eq!(error(&"\0".repeat(32)), Err(SecretKeyError::Monotonous));
        assert_eq!(error("0123456789abcdef0123456789abcdef\n"), Ok(()));
    }

    #[test]
    fn made_keys_are_good_ones_and_differ() {
        let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one.expose(), other.expose());
        assert!(SecretKey::parse(one.expose()).is_ok());
        assert_eq!(format!("{one:?}"), "SecretKey(..)");
    }
}
