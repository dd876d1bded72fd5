//! Access tokens: JWTs in the profile of RFC 9068, made and checked without any I/O. No actor lives here.

mod claims;
mod keyring;
mod secret;

pub use crate::tokens::claims::{AUDIENCE, ISSUER};
pub use crate::tokens::keyring::{AccessToken, Keyring, Rejected, Settings};
pub use crate::tokens::secret::{SecretKey, SecretKeyError};
