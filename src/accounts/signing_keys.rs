//! The signing keys of the asymmetric algorithms: read from the database, made when there are none, and replaced when
//! the newest is old. Every node does this for itself; the database lets one of them make each key.

use crate::accounts::{Error, Shared};
use crate::domain::clock::UnixTime;
use crate::domain::signing_key::{SigningAlgorithm, SigningKey};
use crate::store::signing_keys::{AddSigningKey, ListSigningKeys, ResealSigningKey};
use crate::tokens::{Keyring, Rejected};

/// How long a key is published before it signs: as long as those who check tokens may keep the list of keys, and some
/// more. See `http::well_known`.
pub const PUBLISHED_BEFORE_SECS: i64 = 600;

/// Reads the keys, makes what is missing, and takes them over. `rotation_secs`: how long a key signs; `None`: for ever.
///
/// Errors: what overload and outages bring; [`Error::Internal`] when the secret does not open a key.
pub async fn refresh_keys(shared: &Shared, rotation_secs: Option<i64>) -> Result<(), Error> {
    if shared.keyring.algorithm() == SigningAlgorithm::Hs256 {
        return Ok(());
    }
    let now = shared.clock.now();
    let mut records = shared.db.call(ListSigningKeys).await??;
    if let Some(key) = missing(&records, &shared.keyring, rotation_secs, now)? {
        let kid = key.kid.clone();
        if shared.db.call(AddSigningKey(key)).await?? {
            tracing::info!(kid, "made a signing key");
        }
        // Ours, or that of another node which was first.
        records = shared.db.call(ListSigningKeys).await??;
    }
    let resealed = shared.keyring.load(&records, now).map_err(|error| Error::Internal(error.to_string()))?;
    for SigningKey { generation, sealed, kid, .. } in resealed {
        let before = records.iter().find(|record| record.generation == generation);
        let expected = before.map(|record| record.sealed.clone()).unwrap_or_default();
        shared.db.call(ResealSigningKey { generation, expected, sealed }).await??;
        tracing::info!(kid, "sealed a signing key with the new secret");
    }
    Ok(())
}

fn missing(
    records: &[SigningKey],
    keyring: &Keyring,
    rotation_secs: Option<i64>,
    now: UnixTime,
) -> Result<Option<SigningKey>, Error> {
    let algorithm = keyring.algorithm().name();
    let newest = records.iter().find(|key| key.algorithm == algorithm && key.retired_at.is_none());
    let is_old = |key: &SigningKey| rotation_secs.is_some_and(|secs| key.active_at.plus(secs) <= now);
    match newest {
        Some(newest) if !is_old(newest) => Ok(None),
        // Whoever has never seen a key of ours has nothing to wait for.
        None => next(records, keyring, now, now).map(Some),
        Some(_) => next(records, keyring, now, now.plus(PUBLISHED_BEFORE_SECS)).map(Some),
    }
}

/// The key after `records`, which are the newest first.
///
/// Errors: [`Error::Internal`] if the system gives no randomness.
pub fn next(
    records: &[SigningKey],
    keyring: &Keyring,
    now: UnixTime,
    active_at: UnixTime,
) -> Result<SigningKey, Error> {
    let generation = records.first().map_or(1, |newest| newest.generation + 1);
    keyring.make(generation, now, active_at).map_err(|Rejected| Error::Internal("cannot make a signing key".to_owned()))
}
