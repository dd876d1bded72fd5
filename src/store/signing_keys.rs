//! The table `signing_keys`: each message is one transaction, its SQL beside it, the same text on both engines.

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::domain::signing_key::SigningKey;
use crate::store::error::StoreError;
use crate::store::session::{Row, Session, Value};
use crate::store::{Access, Query};

/// All keys, the newest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<SigningKey>, StoreError>")]
pub struct ListSigningKeys;

const LIST: &str = "SELECT generation, kid, algorithm, sealed, created_at, active_at, retired_at FROM signing_keys ORDER BY generation DESC";

impl Query for ListSigningKeys {
    const ACCESS: Access = Access::Read;
    type Output = Vec<SigningKey>;

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        session.query(LIST, &[])?.iter().map(key).collect()
    }
}

/// Adds a key. `false`: there is one of this generation already, made by somebody else.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct AddSigningKey(
    /// The key.
    pub SigningKey,
);

const ADD: &str =
    "INSERT INTO signing_keys (generation, kid, algorithm, sealed, created_at, active_at) VALUES (?, ?, ?, ?, ?, ?)";

impl Query for AddSigningKey {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        let Self(key) = self;
        let params = [
            key.generation.into(),
            key.kid.as_str().into(),
            key.algorithm.as_str().into(),
            key.sealed.as_slice().into(),
            key.created_at.0.into(),
            key.active_at.0.into(),
        ];
        match session.execute(ADD, &params) {
            Ok(_) => Ok(true),
            Err(StoreError::Duplicate) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Withdraws a key: nothing that it signed counts any more. `false`: there is none of that name to withdraw.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct RetireSigningKey {
    /// Its name.
    pub kid: String,
    /// When.
    pub now: UnixTime,
}

const RETIRE: &str = "UPDATE signing_keys SET retired_at = ? WHERE kid = ? AND retired_at IS NULL";

impl Query for RetireSigningKey {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        Ok(session.execute(RETIRE, &[self.now.0.into(), self.kid.as_str().into()])?.rows == 1)
    }
}

/// Puts a key that was sealed anew in place of the same one sealed with an older secret.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct ResealSigningKey {
    /// Which.
    pub generation: i64,
    /// As it is.
    pub expected: Vec<u8>,
    /// As it is to be.
    pub sealed: Vec<u8>,
}

const RESEAL: &str = "UPDATE signing_keys SET sealed = ? WHERE generation = ? AND sealed = ?";

impl Query for ResealSigningKey {
    const ACCESS: Access = Access::Write;
    type Output = ();

    fn run(&self, session: &mut dyn Session) -> Result<(), StoreError> {
        let params = [self.sealed.as_slice().into(), self.generation.into(), self.expected.as_slice().into()];
        session.execute(RESEAL, &params).map(drop)
    }
}

fn key(row: &Row) -> Result<SigningKey, StoreError> {
    let Some(Value::Bytes(sealed)) = row.0.get(3).cloned() else {
        return Err(StoreError::Corrupt("a signing key without its sealed part".to_owned()));
    };
    Ok(SigningKey {
        generation: row.int(0)?,
        kid: row.text(1)?,
        algorithm: row.text(2)?,
        sealed,
        created_at: UnixTime(row.int(4)?),
        active_at: UnixTime(row.int(5)?),
        retired_at: row.optional_int(6)?.map(UnixTime),
    })
}
