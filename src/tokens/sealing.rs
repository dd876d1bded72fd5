//! Seals signing keys for the database (AES-256-GCM, NIST SP 800-38D), with a key that follows from the secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::tokens::derive::derive;
use crate::tokens::keyring::Rejected;
use crate::tokens::secret::SecretKey;

const PURPOSE: &str = "tegata signing key sealing v1";

/// Seals with the current secret, and opens what it or the previous one has sealed.
pub(crate) struct Seal {
    current: RandomizedNonceKey,
    previous: Option<RandomizedNonceKey>,
}

/// What was sealed.
pub(crate) struct Opened {
    pub(crate) content: Zeroizing<Vec<u8>>,
    /// With the previous secret: it should be sealed anew.
    pub(crate) is_old: bool,
}

impl Seal {
    pub(crate) fn new(secret: &SecretKey, previous: Option<&SecretKey>) -> Result<Self, Rejected> {
        Ok(Self { current: key(secret)?, previous: previous.map(key).transpose()? })
    }

    /// Nonce, then ciphertext and tag. `name` must be the same when it is opened.
    pub(crate) fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, Rejected> {
        let mut sealed = content.to_vec();
        let nonce =
            self.current.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed).map_err(|_| Rejected)?;
        Ok([&nonce.as_ref()[..], &sealed].concat())
    }

    /// Errors: [`Rejected`] if neither secret has sealed it under this name.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<Opened, Rejected> {
        if let Ok(content) = open(&self.current, name, sealed) {
            return Ok(Opened { content, is_old: false });
        }
        let previous = self.previous.as_ref().ok_or(Rejected)?;
        Ok(Opened { content: open(previous, name, sealed)?, is_old: true })
    }
}

fn open(key: &RandomizedNonceKey, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Rejected> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Rejected)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Rejected)?;
    let mut content = Zeroizing::new(sealed.to_vec());
    let length = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut content).map_err(|_| Rejected)?.len();
    content.truncate(length);
    Ok(content)
}

fn key(secret: &SecretKey) -> Result<RandomizedNonceKey, Rejected> {
    RandomizedNonceKey::new(&AES_256_GCM, derive(secret, PURPOSE)?.as_ref()).map_err(|_| Rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_opens_and_only_under_the_right_name() {
        let secret = |text: &str| SecretKey::parse(text).unwrap();
        let (old, new) = (
            secret("the quick brown fox jumps over 13 lazy dogs"),
            secret("sphinx of black quartz, judge my vow 12345"),
        );
        let sealed = Seal::new(&old, None).unwrap().seal("name", b"content").unwrap();
        let opened = Seal::new(&old, None).unwrap().open("name", &sealed).unwrap();
        assert_eq!((opened.content.as_slice(), opened.is_old), (&b"content"[..], false));
        let opened = Seal::new(&new, Some(&old)).unwrap().open("name", &sealed).unwrap();
        assert_eq!((opened.content.as_slice(), opened.is_old), (&b"content"[..], true));
        assert!(Seal::new(&new, None).unwrap().open("name", &sealed).is_err());
        assert!(Seal::new(&old, None).unwrap().open("other", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(Seal::new(&old, None).unwrap().open("name", &damaged).is_err());
        }
        assert!(Seal::new(&old, None).unwrap().open("name", &sealed[..5]).is_err());
        assert_ne!(Seal::new(&old, None).unwrap().seal("name", b"content").unwrap(), sealed, "a nonce is used once");
    }
}
