//! Asymmetric signing keys: made here, kept sealed in the database, published as JWKs (RFC 7517).

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::signing_key::SigningAlgorithm;
use crate::tokens::keyring::Rejected;

/// A key pair, ready for use.
pub(crate) struct KeyPair {
    pub(crate) signing: EncodingKey,
    pub(crate) checking: DecodingKey,
    pub(crate) algorithm: Algorithm,
    pub(crate) jwk: Jwk,
}

/// The public part (RFC 7517 4, RFC 8037 2, RFC 7518 6.2.1). Never anything of the private one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    pub(crate) kid: String,
    alg: &'static str,
    r#use: &'static str,
}

/// Makes a private key, as PKCS #8.
pub(crate) fn generate(algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, Rejected> {
    let random = SystemRandom::new();
    let document = match algorithm {
        SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random),
        SigningAlgorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        SigningAlgorithm::Hs256 => return Err(Rejected),
    };
    Ok(Zeroizing::new(document.map_err(|_| Rejected)?.as_ref().to_vec()))
}

impl KeyPair {
    /// Errors: [`Rejected`] if it is no private key for `algorithm`.
    pub(crate) fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, Rejected> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match algorithm {
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| Rejected)?;
                let x = text(pair.public_key().as_ref());
                // RFC 7638 3.2: the required members in this order, without a space.
                let kid = thumbprint(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
                Ok(Self {
                    signing: EncodingKey::from_ed_der(pkcs8),
                    checking: DecodingKey::from_ed_components(&x).map_err(|_| Rejected)?,
                    algorithm: Algorithm::EdDSA,
                    jwk: Jwk { kty: "OKP", crv: "Ed25519", x, y: None, kid, alg: algorithm.name(), r#use: "sig" },
                })
            }
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| Rejected)?;
                // SEC 1 2.3.3: an uncompressed point is 4, then both coordinates.
                let [4, point @ ..] = pair.public_key().as_ref() else { return Err(Rejected) };
                let (x, y) = point.split_at_checked(32).ok_or(Rejected)?;
                let (x, y) = (text(x), text(y));
                let kid = thumbprint(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
                Ok(Self {
                    signing: EncodingKey::from_ec_der(pkcs8),
                    checking: DecodingKey::from_ec_components(&x, &y).map_err(|_| Rejected)?,
                    algorithm: Algorithm::ES256,
                    jwk: Jwk { kty: "EC", crv: "P-256", x, y: Some(y), kid, alg: algorithm.name(), r#use: "sig" },
                })
            }
            SigningAlgorithm::Hs256 => Err(Rejected),
        }
    }
}

fn thumbprint(members: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 A.3.
    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        let members = r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(thumbprint(members), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// R-08.
    #[test]
    fn a_published_key_has_public_members_only() {
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
            let pkcs8 = generate(algorithm).unwrap();
            let pair = KeyPair::from_pkcs8(algorithm, &pkcs8).unwrap();
            let published = serde_json::to_value(&pair.jwk).unwrap();
            let members: Vec<_> = published.as_object().unwrap().keys().cloned().collect();
            let public = ["alg", "crv", "kid", "kty", "use", "x", "y"];
            assert!(members.iter().all(|member| public.contains(&member.as_str())), "{members:?}");
            assert_eq!(pair.jwk, KeyPair::from_pkcs8(algorithm, &pkcs8).unwrap().jwk);
        }
        let ed = generate(SigningAlgorithm::EdDsa).unwrap();
        assert!(KeyPair::from_pkcs8(SigningAlgorithm::Es256, &ed).is_err());
    }
}
