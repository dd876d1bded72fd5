//! Names under which the database keeps what whoever reads it shall not recognise.

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use crate::tokens::derive::derive;
use crate::tokens::keyring::Rejected;
use crate::tokens::secret::SecretKey;

const PURPOSE: &str = "tegata pseudonym v1";

/// Gives names, the same ones on every node that has the secret.
pub(crate) struct Pseudonyms(Key);

impl Pseudonyms {
    pub(crate) fn new(secret: &SecretKey) -> Result<Self, Rejected> {
        Ok(Self(Key::new(HMAC_SHA256, derive(secret, PURPOSE)?.as_ref())))
    }

    /// The name of what consists of these parts. Without the secret nobody can tell what it stands for, however few
    /// things it may be.
    pub(crate) fn of(&self, parts: &[&str]) -> [u8; 32] {
        let mut context = Context::with_key(&self.0);
        for part in parts {
            // The length keeps apart what is put together.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut name = [0; 32];
        name.copy_from_slice(context.sign().as_ref());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_the_secret_and_from_each_part() {
        let secret = |text: &str| SecretKey::parse(text).unwrap();
        let names = Pseudonyms::new(&secret("the quick brown fox jumps over 13 lazy dogs")).unwrap();
        let again = Pseudonyms::new(&secret("the quick brown fox jumps over 13 lazy dogs")).unwrap();
        let others = Pseudonyms::new(&secret("the quick brown fox jumps over 14 lazy dogs")).unwrap();
        assert_eq!(names.of(&["a", "b"]), again.of(&["a", "b"]));
        assert_ne!(names.of(&["a", "b"]), others.of(&["a", "b"]));
        for other in [&["ab", ""][..], &["", "ab"], &["a"], &["b", "a"], &["a", "b", ""]] {
            assert_ne!(names.of(&["a", "b"]), names.of(other), "{other:?}");
        }
    }
}
