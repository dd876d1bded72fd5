//! The table `sessions`: each message is one transaction, its SQL beside it, the same text on both engines.

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::domain::password::PasswordHash;
use crate::domain::session::{Client, Session as OpenSession, SessionId};
use crate::domain::user::{User, UserId};
use crate::store::budgets::SettleAttempt;
use crate::store::error::StoreError;
use crate::store::session::{Row, Session, Value};
use crate::store::users::SetPasswordHash;
use crate::store::{Access, Query};

/// Opens a session, if the password that it was opened with is the account's and the account is enabled: it may have
/// been changed or disabled while the password was verified, and nothing of the old one must live on (ASVS 7.4.3).
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct CreateSession {
    /// Its name; random, so it is free.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The hash that the password was verified against.
    pub hash: PasswordHash,
    /// On what and from where.
    pub client: Client,
    /// When.
    pub now: UnixTime,
    /// When it ends unless its tokens are renewed.
    pub expires_at: UnixTime,
    /// The attempt that it comes from.
    pub settles: Option<SettleAttempt>,
}

const CREATE: &str = "INSERT INTO sessions (id, user_id, generation, created_at, rotated_at, expires_at, user_agent, address) \
     SELECT ?, id, 0, ?, ?, ?, ?, ? FROM users WHERE id = ? AND password_hash = ? AND is_disabled = 0";

impl Query for CreateSession {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    /// Whether it was opened.
    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        let params = [
            Value::Bytes(self.id.0.to_vec()),
            self.now.0.into(),
            self.now.0.into(),
            self.expires_at.0.into(),
            self.client.user_agent.as_str().into(),
            self.client.address.as_str().into(),
            self.user.0.into(),
            self.hash.expose().into(),
        ];
        if session.execute(CREATE, &params)?.rows == 0 {
            return Ok(false);
        }
        self.settles.map_or(Ok(()), |settle| settle.run(session))?;
        Ok(true)
    }
}

/// Takes the step from one refresh token to the next. Of those who present the same token at once, one takes it and
/// the others find it taken, on every node.
#[derive(Debug, Message)]
#[rtype(result = "Result<Rotation, StoreError>")]
pub struct RotateSession {
    /// Which session.
    pub id: SessionId,
    /// The generation of the token that was presented.
    pub generation: i64,
    /// When.
    pub now: UnixTime,
    /// For how long the token that was just replaced still gets its successor, in seconds.
    pub grace_secs: i64,
    /// How long the session goes on from now, in seconds.
    pub lifetime_secs: i64,
    /// How long it may go on from its beginning, in seconds.
    pub max_secs: i64,
}

/// What became of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Its successor is the next generation's.
    Renewed(User),
    /// It was used before, too long ago to be a race: the session has been ended.
    Reused(UserId),
    /// The session has ended, or there never was one.
    Over,
}

const ADVANCE: &str = "UPDATE sessions SET generation = generation + 1, rotated_at = ?, \
     expires_at = CASE WHEN created_at + ? < ? THEN created_at + ? ELSE ? END \
     WHERE id = ? AND generation = ? AND revoked_at IS NULL AND expires_at > ?";
const FIND: &str = "SELECT u.id, u.email, u.is_disabled, s.generation, s.rotated_at, s.expires_at, s.revoked_at \
     FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?";
const REVOKE: &str = "UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";

impl Query for RotateSession {
    const ACCESS: Access = Access::Write;
    type Output = Rotation;

    fn run(&self, session: &mut dyn Session) -> Result<Rotation, StoreError> {
        let id = Value::Bytes(self.id.0.to_vec());
        let (now, expires_at) = (self.now.0, self.now.plus(self.lifetime_secs).0);
        let params = [
            now.into(),
            self.max_secs.into(),
            expires_at.into(),
            self.max_secs.into(),
            expires_at.into(),
            id.clone(),
            self.generation.into(),
            now.into(),
        ];
        let has_advanced = session.execute(ADVANCE, &params)?.rows == 1;
        let rows = session.query(FIND, std::slice::from_ref(&id))?;
        let Some(row) = rows.first() else { return Ok(Rotation::Over) };
        let user = user(row)?;
        let (generation, rotated_at, expires_at) = (row.int(3)?, row.int(4)?, row.int(5)?);
        let is_open = row.optional_int(6)?.is_none() && now < expires_at && !user.is_disabled;
        let is_race = generation == self.generation + 1 && now <= rotated_at + self.grace_secs;
        Ok(match () {
            () if !is_open => Rotation::Over,
            () if has_advanced || is_race => Rotation::Renewed(user),
            () if self.generation < generation => {
                session.execute(REVOKE, &[now.into(), id])?;
                Rotation::Reused(user.id)
            }
            // A generation that this database has not seen: it was put back from a backup.
            () => Rotation::Over,
        })
    }
}

/// Ends one session.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct RevokeSession {
    /// Which.
    pub id: SessionId,
    /// Whose it must be.
    pub user: Option<UserId>,
    /// When.
    pub now: UnixTime,
}

const REVOKE_OWN: &str = "UPDATE sessions SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL";

impl Query for RevokeSession {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    /// Whether there was one to end.
    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        let (now, id) = (self.now.0.into(), Value::Bytes(self.id.0.to_vec()));
        let changed = match self.user {
            Some(user) => session.execute(REVOKE_OWN, &[now, id, user.0.into()])?,
            None => session.execute(REVOKE, &[now, id])?,
        };
        Ok(changed.rows == 1)
    }
}

/// Ends every session of a user, and every token without one.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct RevokeAll {
    /// Whose.
    pub user: UserId,
    /// When.
    pub now: UnixTime,
}

const REVOKE_ALL: &str = "UPDATE sessions SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL";
const SET_VALID_AFTER: &str = "UPDATE users SET valid_after = ? WHERE id = ? AND valid_after < ?";

impl Query for RevokeAll {
    const ACCESS: Access = Access::Write;
    type Output = ();

    fn run(&self, session: &mut dyn Session) -> Result<(), StoreError> {
        let (now, user) = (Value::Int(self.now.0), Value::Int(self.user.0));
        session.execute(REVOKE_ALL, &[now.clone(), user.clone()])?;
        session.execute(SET_VALID_AFTER, &[now.clone(), user, now]).map(drop)
    }
}

/// Replaces a user's password unless it has changed meanwhile, and ends what was signed in with the old one.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct ReplacePassword {
    /// Whose.
    pub user: UserId,
    /// The hash that the old one was verified against.
    pub expected: PasswordHash,
    /// The hash of the new one.
    pub replacement: PasswordHash,
    /// When.
    pub now: UnixTime,
    /// The attempt that proved the old one.
    pub settles: Option<SettleAttempt>,
}

impl Query for ReplacePassword {
    const ACCESS: Access = Access::Write;
    type Output = bool;

    /// Whether it was replaced.
    fn run(&self, session: &mut dyn Session) -> Result<bool, StoreError> {
        let (expected, replacement) = (self.expected.clone(), self.replacement.clone());
        if !(SetPasswordHash { id: self.user, expected, replacement }.run(session)?) {
            return Ok(false);
        }
        RevokeAll { user: self.user, now: self.now }.run(session)?;
        self.settles.map_or(Ok(()), |settle| settle.run(session))?;
        Ok(true)
    }
}

/// The open sessions of a user, the one used last first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<OpenSession>, StoreError>")]
pub struct ListSessions {
    /// Whose.
    pub user: UserId,
    /// Open when.
    pub now: UnixTime,
}

const LIST: &str = "SELECT id, created_at, rotated_at, expires_at, user_agent, address FROM sessions \
     WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY rotated_at DESC, id LIMIT 200";

impl Query for ListSessions {
    const ACCESS: Access = Access::Read;
    type Output = Vec<OpenSession>;

    fn run(&self, session: &mut dyn Session) -> Result<Self::Output, StoreError> {
        let rows = session.query(LIST, &[self.user.0.into(), self.now.0.into()])?;
        rows.iter()
            .map(|row| {
                Ok(OpenSession {
                    id: SessionId(row.bytes(0)?),
                    created_at: UnixTime(row.int(1)?),
                    rotated_at: UnixTime(row.int(2)?),
                    expires_at: UnixTime(row.int(3)?),
                    client: Client { user_agent: row.text(4)?, address: row.text(5)? },
                })
            })
            .collect()
    }
}

/// The first three columns of [`FIND`].
fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User { id: UserId(row.int(0)?), email: row.text(1)?, is_disabled: row.int(2)? != 0 })
}
