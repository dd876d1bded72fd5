//! `tegata keys`: the signing keys by hand.

use crate::accounts::signing_keys::{PUBLISHED_BEFORE_SECS, next};
use crate::app::{StartError, prepare_data_dir, signing_secret, token_settings};
use crate::config::Config;
use crate::domain::clock::UnixTime;
use crate::domain::signing_key::SigningAlgorithm;
use crate::store::signing_keys::{AddSigningKey, ListSigningKeys, RetireSigningKey};
use crate::store::{Store, StoreError};
use crate::tokens::Keyring;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// HS256 keeps no keys in the database.
    #[error(
        "SIGNING_ALGORITHM is HS256, which signs with SECRET_KEY itself: to replace that, put it into SECRET_KEY_PREVIOUS and a new one in its place"
    )]
    NoKeys,
    /// No key has this name, or it was withdrawn before.
    #[error("there is no key {0} that could be withdrawn; see: tegata keys list")]
    Unknown(String),
    /// Another node made one in the same moment.
    #[error("another key has just been made; see: tegata keys list")]
    Raced,
    /// The settings or the data directory.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// No randomness, in practice never.
    #[error("{0}")]
    Key(#[from] crate::accounts::Error),
}

/// The keys of one database.
pub struct Keys {
    store: Store,
    keyring: Keyring,
}

impl Keys {
    /// Errors: [`KeysError::NoKeys`] with HS256, and what keeps the secret from being read.
    pub fn open(config: Config) -> Result<Self, KeysError> {
        if config.algorithm == SigningAlgorithm::Hs256 {
            return Err(KeysError::NoKeys);
        }
        prepare_data_dir(&config)?;
        let (secret, _) = signing_secret(&config.key)?;
        let keyring = Keyring::new(&token_settings(&config, secret)).map_err(StartError::from)?;
        Ok(Self { store: Store::new(config.store), keyring })
    }

    /// A line a key, the newest first.
    pub fn list(&self) -> Result<Vec<String>, KeysError> {
        let told = |time: Option<UnixTime>| time.map_or("-".to_owned(), |time| time.0.to_string());
        let mut lines =
            vec![format!("{:43}  {:9}  {:>10}  {:>10}  {:>10}", "kid", "algorithm", "made", "signs from", "withdrawn")];
        for key in self.store.run(&ListSigningKeys)? {
            let (made, signs, withdrawn) =
                (told(Some(key.created_at)), told(Some(key.active_at)), told(key.retired_at));
            lines.push(format!("{:43}  {:9}  {made:>10}  {signs:>10}  {withdrawn:>10}", key.kid, key.algorithm));
        }
        Ok(lines)
    }

    /// Makes the next key.
    pub fn rotate(&self, now: UnixTime) -> Result<Vec<String>, KeysError> {
        let key = next(&self.store.run(&ListSigningKeys)?, &self.keyring, now, now.plus(PUBLISHED_BEFORE_SECS))?;
        let line = format!("{} is published, and signs in ten minutes", key.kid);
        if self.store.run(&AddSigningKey(key))? { Ok(vec![line]) } else { Err(KeysError::Raced) }
    }

    /// Withdraws a key. One that signs is replaced at once by the next node that looks.
    pub fn retire(&self, kid: &str, now: UnixTime) -> Result<Vec<String>, KeysError> {
        match self.store.run(&RetireSigningKey { kid: kid.to_owned(), now })? {
            true => Ok(vec![format!("{kid} is withdrawn; within some seconds every server refuses what it signed")]),
            false => Err(KeysError::Unknown(kid.to_owned())),
        }
    }
}
