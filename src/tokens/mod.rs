//! Access tokens, JWTs in the profile of RFC 9068, and refresh tokens, made and checked without any I/O. No actor
//! lives here.

mod claims;
mod keyring;
mod refresh;
mod secret;

pub use crate::tokens::claims::{AUDIENCE, ISSUER};
pub use crate::tokens::keyring::{AccessToken, Keyring, Rejected, Settings, new_session_id};
pub use crate::tokens::refresh::Refresh;
pub use crate::tokens::secret::{SecretKey, SecretKeyError};
