//! What an access token says: the claims of RFC 9068 2.2 that we use.

use serde::{Deserialize, Serialize};

/// `iss`, unless the settings say otherwise: who made the token.
pub const ISSUER: &str = "tegata";
/// `aud`: whom it is for. Services that check our tokens must ask for it.
pub const AUDIENCE: &str = "tegata";

/// `client_id`: people's own clients, which need no registration.
pub(crate) const CLIENT: &str = "tegata";

/// The claims in the order in which they are written. Duplicate, missing or mistyped ones fail to parse; unknown
/// ones are ignored (RFC 7519 4).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims<'a> {
    #[serde(borrow)]
    pub(crate) iss: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) aud: std::borrow::Cow<'a, str>,
    /// The user's id in decimal.
    #[serde(borrow)]
    pub(crate) sub: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) email: std::borrow::Cow<'a, str>,
    /// Unix seconds, as are `exp` and `nbf`. Integers only: we write no others.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    /// RFC 9068 2.2 asks for the client; as long as none are registered it is the same for all.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<&'a str>,
    /// The session, where there is one (the name is OpenID Connect's, Front-Channel Logout 1.0 3).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<&'a str>,
    /// Makes each token different, also two of one second.
    #[serde(borrow)]
    pub(crate) jti: std::borrow::Cow<'a, str>,
}
