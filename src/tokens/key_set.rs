//! The signing keys of one moment: one that signs, those before it that still check, and one that is published before it
//! signs, so that nobody meets a token of a key that he has not seen.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;

use crate::domain::clock::UnixTime;
use crate::domain::signing_key::{SigningAlgorithm, SigningKey};
use crate::tokens::key_pair::{Jwk, KeyPair};
use crate::tokens::keyring::Rejected;
use crate::tokens::sealing::Seal;
use crate::tokens::secret::SecretKey;

/// RFC 9068 2.1: tells an access token from every other JWT that a key may sign (RFC 8725 3.11).
const TYPE: &str = "at+jwt";
/// How much longer than the longest token a replaced key is kept: clocks differ, and nodes read the keys now and then.
const KEPT_SECS: i64 = 120;

/// One key.
pub(crate) struct Key {
    header: Header,
    /// The header as it stands in each of its tokens, with the dot behind it.
    pub(crate) encoded_header: String,
    /// `None`: checks only.
    signing: Option<EncodingKey>,
    checking: DecodingKey,
    algorithm: Algorithm,
    active_at: UnixTime,
    /// When nothing that it signed can count any more.
    valid_until: UnixTime,
    jwk: Option<Jwk>,
}

impl Key {
    fn new(algorithm: Algorithm, kid: String, checking: DecodingKey) -> Result<Self, Rejected> {
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(kid), ..Header::new(algorithm) };
        let encoded = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(|_| Rejected)?);
        Ok(Self {
            header,
            encoded_header: format!("{encoded}."),
            signing: None,
            checking,
            algorithm,
            active_at: UnixTime(i64::MIN),
            valid_until: UnixTime(i64::MAX),
            jwk: None,
        })
    }

    fn of_secret(secret: &SecretKey) -> Result<Self, Rejected> {
        let bytes = secret.expose().as_bytes();
        // Names the key without telling it: nodes with different keys refuse each other's tokens at the first glance.
        let digest = digest::digest(&digest::SHA256, bytes);
        let kid = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..8).unwrap_or_default());
        Self::new(Algorithm::HS256, kid, DecodingKey::from_secret(bytes))
    }

    /// The claims as a token in compact form.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, Rejected> {
        let signing = self.signing.as_ref().ok_or(Rejected)?;
        jsonwebtoken::encode(&self.header, claims, signing).map_err(|_| Rejected)
    }

    /// Whether the first `signed_length` bytes of `token` are signed with this key by what comes behind the next dot.
    pub(crate) fn has_signed(&self, token: &str, signed_length: usize) -> bool {
        let Some((signed, signature)) = token.split_at_checked(signed_length) else { return false };
        let Some(signature) = signature.strip_prefix('.') else { return false };
        matches!(jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.checking, self.algorithm), Ok(true))
    }
}

/// The newest first.
#[derive(Default)]
pub(crate) struct KeySet(Vec<Key>);

impl KeySet {
    /// HS256: the secret itself, and the one before it for checking.
    pub(crate) fn of_secrets(secret: &SecretKey, previous: Option<&SecretKey>) -> Result<Self, Rejected> {
        let mut keys = vec![Key {
            signing: Some(EncodingKey::from_secret(secret.expose().as_bytes())),
            ..Key::of_secret(secret)?
        }];
        if let Some(previous) = previous {
            keys.push(Key::of_secret(previous)?);
        }
        Ok(Self(keys))
    }

    /// Those of `algorithm` that count. Also what the previous secret has sealed, sealed anew, and the names of what
    /// neither secret opens.
    pub(crate) fn of_records(
        records: &[SigningKey],
        algorithm: SigningAlgorithm,
        seal: &Seal,
        lifetime_secs: i64,
        now: UnixTime,
    ) -> (Self, Vec<SigningKey>, Vec<String>) {
        let (mut keys, mut resealed, mut unopened) = (Vec::new(), Vec::new(), Vec::new());
        let mut records: Vec<_> = records
            .iter()
            .filter(|record| record.algorithm == algorithm.name() && record.retired_at.is_none())
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.generation));
        let mut valid_until = UnixTime(i64::MAX);
        for record in records {
            if valid_until <= now {
                break;
            }
            match open(record, algorithm, seal) {
                Ok((key, anew)) => {
                    keys.push(Key { valid_until, ..key });
                    resealed.extend(anew);
                }
                Err(Rejected) => unopened.push(record.kid.clone()),
            }
            // What the key before this one has signed counts until its last token has expired.
            valid_until = record.active_at.plus(lifetime_secs + KEPT_SECS);
        }
        (Self(keys), resealed, unopened)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that signs at `now`; if none is active yet, as clocks differ, the one that will be first.
    pub(crate) fn active(&self, now: UnixTime) -> Option<&Key> {
        let mut signing = self.0.iter().filter(|key| key.signing.is_some());
        signing.clone().find(|key| key.active_at <= now).or_else(|| signing.next_back())
    }

    /// The key whose header `token` has.
    pub(crate) fn of_header(&self, token: &str, now: UnixTime) -> Option<&Key> {
        self.0.iter().find(|key| token.starts_with(&key.encoded_header) && now < key.valid_until)
    }

    /// RFC 7517 5.
    pub(crate) fn jwks(&self) -> String {
        #[derive(Serialize)]
        struct Jwks<'a> {
            keys: Vec<&'a Jwk>,
        }
        let keys = self.0.iter().filter_map(|key| key.jwk.as_ref()).collect();
        serde_json::to_string(&Jwks { keys }).unwrap_or_default()
    }
}

fn open(record: &SigningKey, algorithm: SigningAlgorithm, seal: &Seal) -> Result<(Key, Option<SigningKey>), Rejected> {
    let opened = seal.open(&record.kid, &record.sealed)?;
    let pair = KeyPair::from_pkcs8(algorithm, &opened.content)?;
    let anew = if opened.is_old {
        Some(SigningKey { sealed: seal.seal(&record.kid, &opened.content)?, ..record.clone() })
    } else {
        None
    };
    let key = Key::new(pair.algorithm, record.kid.clone(), pair.checking)?;
    let signing = Some(pair.signing);
    Ok((Key { signing, active_at: record.active_at, jwk: Some(pair.jwk), ..key }, anew))
}
