//! Sign in: email and password for a token. Whatever is wrong, the work and the answer are the same.

use crate::accounts::attempts::{self, Attempt, Counted, Username};
use crate::accounts::open_session::{Grant, open_session};
use crate::accounts::{Error, Services, Shared};
use crate::domain::password::{Password, PasswordHash};
use crate::domain::session::Client;
use crate::domain::user::{Credentials, User, UserId};
use crate::hashing::{HashPassword, Verdict, VerifyPassword};
use crate::store::users::{FindByEmail, SetPasswordHash};

/// Opens a session and issues its first tokens.
///
/// Errors: [`Error::BadCredentials`] for an unknown address, a wrong password, a disabled account, one without a
/// password and one whose hash is damaged; [`Error::TooManyAttempts`]; and what overload and outages bring.
pub async fn sign_in(services: &Services, attempt: Attempt, client: Client) -> Result<Grant, Error> {
    services
        .within_deadline(async {
            let (user, counted) = verify(&services.shared, attempt).await?;
            open_session(services, user, client, counted).await
        })
        .await
}

/// Whose credentials these are, and how the attempt was counted. Errors: as [`sign_in`].
pub(super) async fn verify(shared: &Shared, attempt: Attempt) -> Result<(User, Counted), Error> {
    let Attempt { username, password, network } = attempt;
    // The place first: whoever cannot be served hears so before the database does any work.
    let place = shared.hash_place().await?;
    let counted = attempts::count(shared, &username, network).await?;
    let found = match username {
        Username::Email(email) => shared.db.call(FindByEmail { email }).await??,
        Username::Other(_) => None,
    };
    // Without an account, a hash or a password that could match, the decoy is verified: skipping scrypt here would
    // tell an attacker which addresses exist (C-12).
    let (user, hash, password) = match (found, password) {
        (Some(Credentials { user, password_hash: Some(hash) }), Some(password)) => (Some(user), hash, password),
        (_, password) => (None, shared.decoy.clone(), password.unwrap_or_else(Password::blank)),
    };
    let verify = VerifyPassword { password: password.clone(), hash: hash.clone(), decoy: shared.decoy.clone() };
    let verdict = place.call(verify).await??;
    let user = user.filter(|user| !user.is_disabled);
    match (verdict, user) {
        (Verdict::Match, Some(user)) => Ok((user, counted)),
        (Verdict::MatchButStale, Some(user)) => {
            if let Err(error) = rehash(shared, user.id, password, hash).await {
                // The login stands, also on a read-only database (F-08); the next one tries again.
                tracing::warn!(user = user.id.0, %error, "the password hash stays at its old cost");
            }
            Ok((user, counted))
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
