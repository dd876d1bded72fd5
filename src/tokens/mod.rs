//! Access tokens, JWTs in the profile of RFC 9068, and refresh tokens, made and checked without any I/O. No actor
//! lives here.

mod claims;
mod derive;
mod key_pair;
mod key_set;
mod keyring;
mod pseudonym;
mod refresh;
mod sealing;
mod secret;
mod verified;

pub use crate::tokens::claims::{AUDIENCE, ISSUER};
pub use crate::tokens::keyring::{AccessToken, Keyring, NotChecked, Rejected, Settings, Unopened, new_session_id};
pub use crate::tokens::refresh::Refresh;
pub use crate::tokens::secret::{SecretKey, SecretKeyError};
pub use crate::tokens::verified::Verified;
