//! Signing keys as rows: the private part sealed, so that the database alone signs nothing.

use crate::domain::clock::UnixTime;

/// How access tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256 (RFC 7518 3.2): with the secret itself, which checks as well.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 3.4).
    Es256,
}

impl SigningAlgorithm {
    /// In the order of the settings' choices.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::EdDsa, Self::Es256];

    /// Its name in JOSE (RFC 7518 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// A row of `signing_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Counts the keys; two nodes that make one at the same time make the same one.
    pub generation: i64,
    /// Its name in tokens: the thumbprint of its public part (RFC 7638).
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// The private part (PKCS #8), sealed.
    pub sealed: Vec<u8>,
    /// When it was made, and published with it.
    pub created_at: UnixTime,
    /// From when on it signs.
    pub active_at: UnixTime,
    /// When it was withdrawn, if it was: nothing that it signed counts any more.
    pub retired_at: Option<UnixTime>,
}
