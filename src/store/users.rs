//! The table `users`: each message is one transaction, its SQL beside it, the same text on both engines.

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::domain::email::Email;
use crate::domain::password::PasswordHash;
use crate::domain::user::{Credentials, User, UserId};
use crate::store::error::StoreError;
use crate::store::session::{Row, Session, Value};
use crate::store::{Access, Query};

/// Adds an account. The unique key decides who was first, on every node.
#[derive(Debug, Message)]
#[rtype(result = "Result<Result<User, EmailTaken>, StoreError>")]
pub struct CreateUser {
    /// The address; its key must be free.
    pub email: Email,
    /// The hash of the chosen password.
    pub password_hash: PasswordHash,
    /// When.
    pub now: UnixTime,
}

/// Somebody has that address already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailTaken;

const CREATE: &str =
    "INSERT INTO users (email, email_key, password_hash, is_disabled, created_at) VALUES (?, ?, ?, 0, ?)";

impl Query for CreateUser {
    const ACCESS: Access = Access::Write;
    type Output = Result<User, EmailTaken>;

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        let params = [
            self.email.as_given().into(),
            self.email.key().as_bytes().into(),
            self.password_hash.expose().into(),
            self.now.0.into(),
        ];
        match session.execute(CREATE, &params) {
            Ok(changed) => Ok(Ok(User {
                id: UserId(changed.last_insert_id),
                email: self.email.as_given().to_owned(),
                is_disabled: false,
            })),
            Err(StoreError::Duplicate) => Ok(Err(EmailTaken)),
            Err(error) => Err(error),
        }
    }
}

/// Finds the account behind an address, with its hash.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Credentials>, StoreError>")]
pub struct FindByEmail {
    /// Compared by its key.
    pub email: Email,
}

const FIND_BY_EMAIL: &str = "SELECT id, email, is_disabled, password_hash FROM users WHERE email_key = ?";

impl Query for FindByEmail {
    const ACCESS: Access = Access::Read;
    type Output = Option<Credentials>;

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        let rows = session.query(FIND_BY_EMAIL, &[self.email.key().as_bytes().into()])?;
        rows.first()
            .map(|row| Ok(Credentials { user: user(row)?, password_hash: row.lossy_text(3)?.map(PasswordHash::new) }))
            .transpose()
    }
}

/// Replaces a hash unless it has changed meanwhile, so that a slow re-hash never undoes a password change.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct SetPasswordHash {
    /// Whose.
    pub id: UserId,
    /// The hash that the password was verified against.
    pub expected: PasswordHash,
    /// The hash of the same password at today's cost.
    pub replacement: PasswordHash,
}

const SET_PASSWORD_HASH: &str = "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?";

impl Query for SetPasswordHash {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        let params = [self.replacement.expose().into(), self.id.0.into(), self.expected.expose().into()];
        Ok(session.execute(SET_PASSWORD_HASH, &params)?.rows == 1)
    }
}

/// Whether every table is there and can be read now: what readiness means.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Ping;

/// One for each file of the schema that the program cannot do without.
const PINGS: [&str; 4] = [
    "SELECT valid_after FROM users WHERE id = ?",
    "SELECT generation FROM sessions WHERE user_id = ?",
    "SELECT kid FROM signing_keys WHERE generation = ?",
    "SELECT full_at FROM sign_in_budgets WHERE expires_at = ?",
];

impl Query for Ping {
    const ACCESS: Access = Access::Read;
    type Output = ();

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        PINGS.iter().try_for_each(|ping| session.query(ping, &[Value::Int(0)]).map(drop))
    }
}

/// The first three columns of [`FIND_BY_EMAIL`].
fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User { id: UserId(row.int(0)?), email: row.text(1)?, is_disabled: row.int(2)? != 0 })
}
