//! Refresh tokens, of which nothing is stored: `session id . generation . MAC`. Each generation's token follows from
//! the session and the secret, so any node can tell a good one before it asks the database, and can give the same
//! successor twice to a client that lost the first answer.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::session::SessionId;
use crate::tokens::derive::derive;
use crate::tokens::keyring::Rejected;
use crate::tokens::secret::SecretKey;

const PURPOSE: &str = "tegata refresh token v1";
/// Longest token worth a look; ours have 22 + 1 + 20 + 1 + 43 characters at most.
const MAX_BYTES: usize = 128;

/// What a refresh token with a right MAC says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The session that it renews.
    pub session: SessionId,
    /// How many renewals went before it.
    pub generation: i64,
}

/// Makes and checks refresh tokens.
pub(crate) struct RefreshKeys {
    current: Key,
    /// Checked against as well, while a secret is being replaced.
    previous: Option<Key>,
}

impl RefreshKeys {
    pub(crate) fn new(secret: &SecretKey, previous: Option<&SecretKey>) -> Result<Self, Rejected> {
        Ok(Self { current: key(secret)?, previous: previous.map(key).transpose()? })
    }

    /// The token of one generation.
    pub(crate) fn write(&self, refresh: Refresh) -> String {
        let said = format!("{}.{}", refresh.session, refresh.generation);
        let mac = hmac::sign(&self.current, said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Errors: [`Rejected`], whatever is wrong. The comparison takes the same time for any wrong MAC.
    pub(crate) fn read(&self, token: &str) -> Result<Refresh, Rejected> {
        if token.len() > MAX_BYTES {
            return Err(Rejected);
        }
        let (said, mac) = token.rsplit_once('.').ok_or(Rejected)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Rejected)?;
        let is_ours = |key: &Key| hmac::verify(key, said.as_bytes(), &mac).is_ok();
        if !is_ours(&self.current) && !self.previous.as_ref().is_some_and(is_ours) {
            return Err(Rejected);
        }
        let (session, generation) = said.split_once('.').ok_or(Rejected)?;
        Ok(Refresh {
            session: session.parse().map_err(|_| Rejected)?,
            generation: generation.parse().map_err(|_| Rejected)?,
        })
    }
}

fn key(secret: &SecretKey) -> Result<Key, Rejected> {
    Ok(Key::new(HMAC_SHA256, derive(secret, PURPOSE)?.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretKey {
        SecretKey::parse(text).unwrap()
    }

    const REFRESH: Refresh = Refresh { session: SessionId([7; 16]), generation: 3 };

    #[test]
    fn a_token_says_what_was_written_and_follows_from_it() {
        let keys = RefreshKeys::new(&secret("the quick brown fox jumps over 13 lazy dogs"), None).unwrap();
        let token = keys.write(REFRESH);
        assert_eq!(keys.read(&token), Ok(REFRESH));
        assert_eq!(keys.write(REFRESH), token, "the same from any node, at any time");
        assert_ne!(keys.write(Refresh { generation: 4, ..REFRESH }), token);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let keys = RefreshKeys::new(&secret("the quick brown fox jumps over 13 lazy dogs"), None).unwrap();
        let token = keys.write(REFRESH);
        for at in 0..token.len() {
            for other in ["A", "b", "9", ".", "-", "=", ""] {
                let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
                assert!(changed == token || keys.read(&changed).is_err(), "{changed}");
            }
        }
        for wrong in ["", ".", "..", "a.b.c", &token[1..], &format!("{token}."), &"a".repeat(1000)] {
            assert_eq!(keys.read(wrong), Err(Rejected), "{wrong}");
        }
    }

    #[test]
    fn another_secret_makes_another_token_and_the_previous_one_still_counts() {
        let (old, new) = (
            secret("the quick brown fox jumps over 13 lazy dogs"),
            secret("sphinx of black quartz, judge my vow 12345"),
        );
        let token = RefreshKeys::new(&old, None).unwrap().write(REFRESH);
        assert_eq!(RefreshKeys::new(&new, None).unwrap().read(&token), Err(Rejected));
        let both = RefreshKeys::new(&new, Some(&old)).unwrap();
        assert_eq!(both.read(&token), Ok(REFRESH));
        assert_ne!(both.write(REFRESH), token);
    }
}
