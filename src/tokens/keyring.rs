//! Signs access tokens and checks them. The algorithm and the header come from our configuration, never from the
//! token (RFC 8725 3.1): a token is looked at only if its header is, byte for byte, one that we write.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::clock::UnixTime;
use crate::domain::session::{Claimed, SessionId};
use crate::domain::signing_key::{SigningAlgorithm, SigningKey};
use crate::domain::user::{User, UserId};
use crate::tokens::claims::{AUDIENCE, CLIENT, Claims};
use crate::tokens::key_pair;
use crate::tokens::key_set::{Key, KeySet};
use crate::tokens::pseudonym::Pseudonyms;
use crate::tokens::refresh::{Refresh, RefreshKeys};
use crate::tokens::sealing::Seal;
use crate::tokens::secret::SecretKey;
use crate::tokens::verified::Verified;

/// How far the clock of another node may run ahead of ours. Expiry has no leeway at all (RFC 7519 4.1.4).
const CLOCK_SKEW_SECS: i64 = 5;
/// Longest token worth a look; ours have about 400 bytes, longest email included about 950.
const MAX_BYTES: usize = 4096;

/// What the keyring needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs and checks with HS256; seals the keys of the other algorithms; makes refresh tokens.
    pub secret: SecretKey,
    /// Checks and opens only: what was made before the secret was replaced.
    pub previous: Option<SecretKey>,
    /// How access tokens are signed.
    pub algorithm: SigningAlgorithm,
    /// `iss` of every token.
    pub issuer: String,
    /// Seconds from `iat` to `exp`.
    pub lifetime_secs: i64,
}

/// A signed token and how long it lives.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Whose it is.
    pub subject: UserId,
    /// The JWT in compact form.
    pub token: String,
    /// Seconds, exactly `exp - iat`.
    pub expires_in: i64,
}

/// The token is not one of ours, or not now. Deliberately without a reason: all refusals look alike (C-37).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token was refused")]
pub struct Rejected;

/// Why a token gets no answer of yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotChecked {
    /// It was refused.
    Rejected,
    /// The signing keys have not been read from the database yet: nobody can say.
    NoKeys,
}

impl From<Rejected> for NotChecked {
    fn from(_: Rejected) -> Self {
        Self::Rejected
    }
}

/// The keys, ready for use.
pub struct Keyring {
    algorithm: SigningAlgorithm,
    issuer: String,
    lifetime_secs: i64,
    keys: RwLock<KeySet>,
    refresh: RefreshKeys,
    seal: Seal,
    pseudonyms: Pseudonyms,
}

impl Keyring {
    /// Prepares the keys that follow from the secrets. Those of an asymmetric algorithm are in the database: see
    /// [`Keyring::load`]. Errors: none in practice.
    pub fn new(settings: &Settings) -> Result<Self, Rejected> {
        // Chosen, not left to the first use: a second backend in the tree would turn that into a panic. An error
        // says that this very backend is installed already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let keys = match settings.algorithm {
            SigningAlgorithm::Hs256 => KeySet::of_secrets(&settings.secret, settings.previous.as_ref())?,
            SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 => KeySet::default(),
        };
        Ok(Self {
            algorithm: settings.algorithm,
            issuer: settings.issuer.clone(),
            lifetime_secs: settings.lifetime_secs,
            keys: RwLock::new(keys),
            refresh: RefreshKeys::new(&settings.secret, settings.previous.as_ref())?,
            seal: Seal::new(&settings.secret, settings.previous.as_ref())?,
            pseudonyms: Pseudonyms::new(&settings.secret)?,
        })
    }

    /// How access tokens are signed.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// `iss` of every token.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Makes a key for the database.
    ///
    /// Errors: [`Rejected`] if the system gives no randomness, or the algorithm keeps no keys there.
    pub fn make(&self, generation: i64, now: UnixTime, active_at: UnixTime) -> Result<SigningKey, Rejected> {
        let pkcs8 = key_pair::generate(self.algorithm)?;
        let kid = key_pair::KeyPair::from_pkcs8(self.algorithm, &pkcs8)?.jwk.kid;
        let sealed = self.seal.seal(&kid, &pkcs8)?;
        let algorithm = self.algorithm.name().to_owned();
        Ok(SigningKey { generation, kid, algorithm, sealed, created_at: now, active_at, retired_at: None })
    }

    /// Takes over what the database holds. Returns those that the previous secret has sealed, sealed anew.
    ///
    /// Errors: [`Rejected`] with the names of keys that neither secret opens; the others are taken over.
    pub fn load(&self, records: &[SigningKey], now: UnixTime) -> Result<Vec<SigningKey>, Unopened> {
        let (keys, resealed, unopened) =
            KeySet::of_records(records, self.algorithm, &self.seal, self.lifetime_secs, now);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        if unopened.is_empty() { Ok(resealed) } else { Err(Unopened(unopened)) }
    }

    /// Whether there is a key to sign with: from the start with HS256, otherwise once they have been read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.keys().is_empty()
    }

    /// The public keys (RFC 7517 5): none with HS256. `None`: they have not been read yet.
    #[must_use]
    pub fn jwks(&self) -> Option<String> {
        let keys = self.keys();
        (!keys.is_empty()).then(|| keys.jwks())
    }

    /// Signs a token for `user`, valid from `now`, and only for as long as `session` goes on.
    ///
    /// Errors: [`NotChecked::NoKeys`] if there is no key to sign with yet; [`NotChecked::Rejected`] if the system gives
    /// no randomness or signing fails.
    pub fn issue(&self, user: &User, session: Option<SessionId>, now: UnixTime) -> Result<AccessToken, NotChecked> {
        let mut jti = [0; 16];
        rand::fill(&mut jti).map_err(|_| Rejected)?;
        let sid = session.map(|session| session.to_string());
        let claims = Claims {
            iss: self.issuer.as_str().into(),
            aud: AUDIENCE.into(),
            sub: user.id.0.to_string().into(),
            email: user.email.as_str().into(),
            iat: now.0,
            exp: now.plus(self.lifetime_secs).0,
            nbf: None,
            client_id: Some(CLIENT),
            sid: sid.as_deref(),
            jti: URL_SAFE_NO_PAD.encode(jti).into(),
        };
        let token = self.keys().active(now).ok_or(NotChecked::NoKeys)?.sign(&claims)?;
        Ok(AccessToken { subject: user.id, token, expires_in: claims.exp - claims.iat })
    }

    /// What this token says. One comparison of the header, one check of the signature, one parse.
    ///
    /// Errors: [`NotChecked::Rejected`], whatever is wrong; [`NotChecked::NoKeys`].
    pub fn check(&self, token: &str, now: UnixTime) -> Result<Claimed, NotChecked> {
        self.read(token, now, Key::has_signed)
    }

    /// The same, where `verified` may know the signature already. Not worth it with HS256, which is as quick as looking.
    pub fn check_remembering(
        &self,
        token: &str,
        now: UnixTime,
        verified: &mut Verified,
    ) -> Result<Claimed, NotChecked> {
        if self.algorithm == SigningAlgorithm::Hs256 {
            return self.check(token, now);
        }
        self.read(token, now, |key, token, signed_length| {
            verified.contains(token)
                || key.has_signed(token, signed_length) && {
                    verified.remember(token);
                    true
                }
        })
    }

    /// `has_signed` is asked whether the key has signed the token, whose first so many bytes are what is signed.
    fn read(
        &self,
        token: &str,
        now: UnixTime,
        has_signed: impl FnOnce(&Key, &str, usize) -> bool,
    ) -> Result<Claimed, NotChecked> {
        if token.len() > MAX_BYTES {
            return Err(NotChecked::Rejected);
        }
        let keys = self.keys();
        if keys.is_empty() {
            return Err(NotChecked::NoKeys);
        }
        // Settles alg, typ, kid, crit, jwk, jku and x5u at once: any other header is not ours (C-30..C-33).
        let key = keys.of_header(token, now).ok_or(Rejected)?;
        let rest = token.get(key.encoded_header.len()..).ok_or(Rejected)?;
        let (payload, _) = rest.split_once('.').ok_or(Rejected)?;
        if !has_signed(key, token, key.encoded_header.len() + payload.len()) {
            return Err(NotChecked::Rejected);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Rejected)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).map_err(|_| Rejected)?;
        Ok(judge(&claims, &self.issuer, now)?)
    }

    /// The refresh token of one generation of a session: always the same one.
    #[must_use]
    pub fn write_refresh(&self, refresh: Refresh) -> String {
        self.refresh.write(refresh)
    }

    /// What a refresh token says. Errors: [`Rejected`], whatever is wrong, before any database is asked.
    pub fn read_refresh(&self, token: &str) -> Result<Refresh, Rejected> {
        self.refresh.read(token)
    }

    /// The name under which the database keeps what these parts stand for: 256 bits that tell nobody without the secret
    /// what they are. Another secret gives other names.
    #[must_use]
    pub fn pseudonym(&self, parts: &[&str]) -> [u8; 32] {
        self.pseudonyms.of(parts)
    }

    fn keys(&self) -> RwLockReadGuard<'_, KeySet> {
        // The set is replaced as a whole: a panic cannot leave it half changed.
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signing keys that neither secret opens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SECRET_KEY does not open the signing key {}; it was sealed with another one, which belongs into SECRET_KEY_PREVIOUS", .0.join(", "))]
pub struct Unopened(pub Vec<String>);

/// A name for a new session.
///
/// Errors: [`Rejected`] if the system gives no randomness.
pub fn new_session_id() -> Result<SessionId, Rejected> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| Rejected)?;
    Ok(SessionId(id))
}

/// RFC 7519 4.1 and RFC 9068 4 for the claims of a token whose signature is right.
fn judge(claims: &Claims<'_>, issuer: &str, now: UnixTime) -> Result<Claimed, Rejected> {
    let skewed = now.plus(CLOCK_SKEW_SECS).0;
    let in_time = now.0 < claims.exp && claims.iat <= skewed && claims.nbf.is_none_or(|nbf| nbf <= skewed);
    let ours = claims.iss == issuer && claims.aud == AUDIENCE && !claims.jti.is_empty();
    if !(in_time && ours) {
        return Err(Rejected);
    }
    let id: i64 = claims.sub.parse().map_err(|_| Rejected)?;
    // One spelling only: `+7` and `007` are not ids of ours.
    if id.to_string() != claims.sub {
        return Err(Rejected);
    }
    let session = claims.sid.map(str::parse).transpose().map_err(|_| Rejected)?;
    Ok(Claimed { user: UserId(id), session, issued_at: UnixTime(claims.iat) })
}
