//! Signs access tokens and checks them. The algorithm and the header come from our configuration, never from the
//! token (RFC 8725 3.1): a token is looked at only if its header is, byte for byte, the one that we write.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};

use crate::domain::clock::UnixTime;
use crate::domain::session::{Claimed, SessionId};
use crate::domain::user::{User, UserId};
use crate::tokens::claims::{AUDIENCE, Claims, ISSUER};
use crate::tokens::refresh::{Refresh, RefreshKeys};
use crate::tokens::secret::SecretKey;

const ALGORITHM: Algorithm = Algorithm::HS256;
/// RFC 9068 2.1: tells an access token from every other JWT that a key may sign (RFC 8725 3.11).
const TYPE: &str = "at+jwt";
/// How far the clock of another node may run ahead of ours. Expiry has no leeway at all (RFC 7519 4.1.4).
const CLOCK_SKEW_SECS: i64 = 5;
/// Longest token worth a look; ours have about 350 bytes, longest email included about 900.
const MAX_BYTES: usize = 4096;

/// What the keyring needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs and checks.
    pub secret: SecretKey,
    /// Checks only: what was signed before the secret was replaced.
    pub previous: Option<SecretKey>,
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

/// The keys, ready for use.
pub struct Keyring {
    header: Header,
    signing: EncodingKey,
    /// The signing key's counterpart first.
    checking: Vec<Check>,
    refresh: RefreshKeys,
    lifetime_secs: i64,
}

/// What checks the tokens of one key.
struct Check {
    /// The header as it stands in each of them, with the dot behind it.
    encoded_header: String,
    key: DecodingKey,
}

impl Keyring {
    /// Prepares the keys. Errors: none in practice; the header would have to fail to serialise.
    pub fn new(settings: &Settings) -> Result<Self, Rejected> {
        // Chosen, not left to the first use: a second backend in the tree would turn that into a panic. An error
        // says that this very backend is installed already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let secrets = std::iter::once(&settings.secret).chain(&settings.previous);
        Ok(Self {
            header: header(&settings.secret),
            signing: EncodingKey::from_secret(settings.secret.expose().as_bytes()),
            checking: secrets.map(check).collect::<Result<_, _>>()?,
            refresh: RefreshKeys::new(&settings.secret, settings.previous.as_ref())?,
            lifetime_secs: settings.lifetime_secs,
        })
    }

    /// Signs a token for `user`, valid from `now`, and only for as long as `session` goes on.
    ///
    /// Errors: [`Rejected`] if the system gives no randomness or signing fails.
    pub fn issue(&self, user: &User, session: Option<SessionId>, now: UnixTime) -> Result<AccessToken, Rejected> {
        let mut jti = [0; 16];
        rand::fill(&mut jti).map_err(|_| Rejected)?;
        let sid = session.map(|session| session.to_string());
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.id.0.to_string().into(),
            email: user.email.as_str().into(),
            iat: now.0,
            exp: now.plus(self.lifetime_secs).0,
            nbf: None,
            sid: sid.as_deref(),
            jti: URL_SAFE_NO_PAD.encode(jti).into(),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.signing).map_err(|_| Rejected)?;
        Ok(AccessToken { subject: user.id, token, expires_in: claims.exp - claims.iat })
    }

    /// What this token says. One comparison of the header, one check of the signature, one parse.
    ///
    /// Errors: [`Rejected`], whatever is wrong.
    pub fn check(&self, token: &str, now: UnixTime) -> Result<Claimed, Rejected> {
        if token.len() > MAX_BYTES {
            return Err(Rejected);
        }
        // Settles alg, typ, kid, crit, jwk, jku and x5u at once: any other header is not ours (C-30..C-33).
        let check = self.checking.iter().find(|check| token.starts_with(&check.encoded_header)).ok_or(Rejected)?;
        let rest = token.get(check.encoded_header.len()..).ok_or(Rejected)?;
        let (payload, signature) = rest.split_once('.').ok_or(Rejected)?;
        let signed = token.get(..check.encoded_header.len() + payload.len()).ok_or(Rejected)?;
        match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &check.key, ALGORITHM) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Rejected),
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Rejected)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).map_err(|_| Rejected)?;
        judge(&claims, now)
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
}

fn header(secret: &SecretKey) -> Header {
    Header { typ: Some(TYPE.to_owned()), kid: Some(key_id(secret.expose().as_bytes())), ..Header::new(ALGORITHM) }
}

fn check(secret: &SecretKey) -> Result<Check, Rejected> {
    let encoded = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header(secret)).map_err(|_| Rejected)?);
    Ok(Check { encoded_header: format!("{encoded}."), key: DecodingKey::from_secret(secret.expose().as_bytes()) })
}

/// A name for a new session.
///
/// Errors: [`Rejected`] if the system gives no randomness.
pub fn new_session_id() -> Result<SessionId, Rejected> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| Rejected)?;
    Ok(SessionId(id))
}

/// RFC 7519 4.1 and RFC 9068 4 for the claims of a token whose signature is right.
fn judge(claims: &Claims<'_>, now: UnixTime) -> Result<Claimed, Rejected> {
    let skewed = now.plus(CLOCK_SKEW_SECS).0;
    let in_time = now.0 < claims.exp && claims.iat <= skewed && claims.nbf.is_none_or(|nbf| nbf <= skewed);
    let ours = claims.iss == ISSUER && claims.aud == AUDIENCE && !claims.jti.is_empty();
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

/// Names a key without telling it: nodes with different keys refuse each other's tokens at the first glance.
fn key_id(secret: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, secret);
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..8).unwrap_or_default())
}
