//! Keys that follow from the secret, one for each purpose (RFC 5869).

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::tokens::keyring::Rejected;
use crate::tokens::secret::SecretKey;

/// 256 bits for `purpose`, which separates them from those of any other (RFC 5869 3.2). The secret is long and random,
/// so the salt may be empty (3.1).
pub(crate) fn derive(secret: &SecretKey, purpose: &str) -> Result<Zeroizing<[u8; 32]>, Rejected> {
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret.expose().as_bytes());
    let purpose = [purpose.as_bytes()];
    let expanded = extracted.expand(&purpose, Length).map_err(|_| Rejected)?;
    let mut bytes = Zeroizing::new([0; 32]);
    expanded.fill(bytes.as_mut()).map_err(|_| Rejected)?;
    Ok(bytes)
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}
