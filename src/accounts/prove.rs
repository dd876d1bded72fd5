//! Prove who one is, by a password. Whatever is wrong, the work and the answer are the same.

use crate::accounts::attempts::{self, Attempt, Counted, Username};
use crate::accounts::{Error, Shared};
use crate::domain::clock::UnixTime;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{Credentials, User, UserId};
use crate::hashing::{HashExecutor, HashPassword, Verdict, VerifyPassword};
use crate::pool::Slot;
use crate::store::users::{FindByEmail, SetPasswordHash};

/// Somebody whose password was right a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    /// Who.
    pub(super) user: User,
    /// What it was right for: while it is the account's, nobody has changed the password.
    pub(super) hash: PasswordHash,
    /// When the account had not been looked at yet.
    pub(super) since: UnixTime,
    /// How the attempt was counted.
    pub(super) counted: Counted,
}

/// Counts the attempt and verifies it.
///
/// Errors: [`Error::BadCredentials`] for an unknown address, a wrong password, a disabled account, one without a
/// password and one whose hash is damaged; [`Error::TooManyAttempts`]; and what overload and outages bring.
pub(super) async fn prove(shared: &Shared, attempt: &Attempt) -> Result<Proven, Error> {
    let buckets = attempts::buckets(shared, attempt);
    attempts::turn_away(shared, buckets).await?;
    // The place first: whoever cannot be served hears so before the database does any work.
    let place = shared.hash_place().await?;
    let counted = attempts::count(shared, buckets).await?;
    verify(shared, place, attempt, counted).await
}

/// Verifies an attempt that was counted before against what the account has now.
///
/// Errors: as [`prove`].
pub(super) async fn prove_again(shared: &Shared, attempt: &Attempt, counted: Counted) -> Result<Proven, Error> {
    let place = shared.hash_place().await?;
    verify(shared, place, attempt, counted).await
}

async fn verify(
    shared: &Shared,
    place: Slot<HashExecutor>,
    attempt: &Attempt,
    counted: Counted,
) -> Result<Proven, Error> {
    let since = shared.clock.now();
    let found = match &attempt.username {
        Username::Email(email) => shared.db.call(FindByEmail { email: email.clone() }).await??,
        Username::Other(_) => None,
    };
    // Without an account, a hash or a password that could match, the decoy is verified: skipping scrypt here would
    // tell an attacker which addresses exist (C-12).
    let (user, hash, password) = match (found, attempt.password.clone()) {
        (Some(Credentials { user, password_hash: Some(hash) }), Some(password)) => (Some(user), hash, password),
        (_, password) => (None, shared.decoy.clone(), password.unwrap_or_else(Password::blank)),
    };
    let verify = VerifyPassword { password: password.clone(), hash: hash.clone(), decoy: shared.decoy.clone() };
    let verdict = place.call(verify).await??;
    let user = user.filter(|user| !user.is_disabled);
    match (verdict, user) {
        (Verdict::Match, Some(user)) => Ok(Proven { user, hash, since, counted }),
        (Verdict::MatchButStale, Some(user)) => {
            let hash = match rehash(shared, user.id, password, &hash).await {
                Ok(replacement) => replacement,
                Err(error) => {
                    // The login stands, also on a read-only database (F-08); the next one tries again.
                    tracing::warn!(user = user.id.0, %error, "the password hash stays at its old cost");
                    hash
                }
            };
            Ok(Proven { user, hash, since, counted })
        }
        (Verdict::Unusable, Some(user)) => {
            tracing::error!(user = user.id.0, "the stored password hash is damaged; nobody can sign in with it");
            Err(Error::BadCredentials)
        }
        (Verdict::Mismatch, _) | (_, None) => Err(Error::BadCredentials),
    }
}

/// Brings a stored hash to today's cost, unless it was changed meanwhile.
async fn rehash(
    shared: &Shared,
    id: UserId,
    password: Password,
    expected: &PasswordHash,
) -> Result<PasswordHash, Error> {
    let replacement = shared.hasher.call(HashPassword { password }).await??;
    let set = SetPasswordHash { id, expected: expected.clone(), replacement: replacement.clone() };
    Ok(if shared.db.call(set).await?? { replacement } else { expected.clone() })
}
