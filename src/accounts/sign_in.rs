//! Sign in: email and password for a token. Whatever is wrong, the work and the answer are the same.

use crate::accounts::open_session::{Grant, open_session};
use crate::accounts::{Error, Services, Shared};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::session::Client;
use crate::domain::user::{Credentials, User, UserId};
use crate::hashing::{HashPassword, Verdict, VerifyPassword};
use crate::store::users::{FindByEmail, SetPasswordHash};

/// What somebody typed. `None` where it can belong to no account: such an attempt costs as much as any other.
#[derive(Debug)]
pub struct Attempt {
    /// The address, if it is one.
    pub email: Option<Email>,
    /// The password, if it can be one.
    pub password: Option<Password>,
}

/// Opens a session and issues its first tokens.
///
/// Errors: [`Error::BadCredentials`] for an unknown address, a wrong password, a disabled account, one without a
/// password and one whose hash is damaged; and what overload and outages bring.
pub async fn sign_in(services: &Services, attempt: Attempt, client: Client) -> Result<Grant, Error> {
    services
        .within_deadline(async {
            let user = verify(&services.shared, attempt).await?;
            open_session(services, user, client, services.shared.clock.now()).await
        })
        .await
}

/// Whose credentials these are. Errors: as [`sign_in`].
pub(super) async fn verify(shared: &Shared, attempt: Attempt) -> Result<User, Error> {
    // The place first: whoever cannot be served hears so before the database does any work.
    let place = shared.hash_place().await?;
    let found = match attempt.email {
        Some(email) => shared.db.call(FindByEmail { email }).await??,
        None => None,
    };
    // Without an account, a hash or a password that could match, the decoy is verified: skipping scrypt here would
    // tell an attacker which addresses exist (C-12).
    let (user, hash, password) = match (found, attempt.password) {
        (Some(Credentials { user, password_hash: Some(hash) }), Some(password)) => (Some(user), hash, password),
        (_, password) => (None, shared.decoy.clone(), password.unwrap_or_else(Password::blank)),
    };
    let verify = VerifyPassword { password: password.clone(), hash: hash.clone(), decoy: shared.decoy.clone() };
    let verdict = place.call(verify).await??;
    let user = user.filter(|user| !user.is_disabled);
    match (verdict, user) {
        (Verdict::Match, Some(user)) => Ok(user),
        (Verdict::MatchButStale, Some(user)) => {
            if let Err(error) = rehash(shared, user.id, password, hash).await {
                // The login stands, also on a read-only database (F-08); the next one tries again.
                tracing::warn!(user = user.id.0, %error, "the password hash stays at its old cost");
            }
            Ok(user)
        }
        (Verdict::Unusable, Some(user)) => {
            tracing::error!(user = user.id.0, "the stored password hash is damaged; nobody can sign in with it");
            Err(Error::BadCredentials)
        }
        (Verdict::Mismatch, _) | (_, None) => Err(Error::BadCredentials),
    }
}

/// Brings a stored hash to today's cost, unless the password was changed meanwhile.
async fn rehash(shared: &Shared, id: UserId, password: Password, expected: PasswordHash) -> Result<(), Error> {
    let replacement = shared.hasher.call(HashPassword { password }).await??;
    shared.db.call(SetPasswordHash { id, expected, replacement }).await??;
    Ok(())
}
