//! Change the password: whoever knows the present one chooses another, and everybody has to sign in again.

use crate::accounts::attempts::{Attempt, Username};
use crate::accounts::judge_password::judge;
use crate::accounts::prove::{Proven, prove, prove_again};
use crate::accounts::{Error, Services, Shared};
use crate::domain::email::Email;
use crate::domain::network::Network;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::User;
use crate::hashing::HashPassword;
use crate::store::sessions::ReplacePassword;

/// Replaces the password and ends every session of the user and every token without one, in one transaction: whoever
/// had the old password has nothing left.
///
/// Errors: [`Error::BadCredentials`] if `current` is not the password, [`Error::TooManyAttempts`],
/// [`Error::PasswordTooCommon`], and what overload and outages bring.
pub async fn change_password(
    services: &Services,
    user: &User,
    current: Option<Password>,
    replacement: Password,
    network: Network,
) -> Result<(), Error> {
    let shared = &services.shared;
    services
        .within_deadline(async {
            let email = Email::parse(&user.email).ok();
            // Judged first: whoever has to think of another one has not used up an attempt.
            judge(services, replacement.clone(), email.as_ref()).await?;
            let username = email.map_or_else(|| Username::Other(user.email.clone()), Username::Email);
            let attempt = Attempt { username, password: current, network };
            let proven = prove(shared, &attempt).await?;
            let place = shared.hash_place().await?;
            let replacement = place.call(HashPassword { password: replacement }).await??;
            if replace(shared, &proven, &replacement).await? {
                return Ok(());
            }
            // The hash is another one by now: that of a new password, or of the same one at today's cost.
            let proven = prove_again(shared, &attempt, proven.counted).await?;
            match replace(shared, &proven, &replacement).await? {
                true => Ok(()),
                false => Err(Error::BadCredentials),
            }
        })
        .await
}

/// Whether the password was still the one that was proven.
async fn replace(shared: &Shared, proven: &Proven, replacement: &PasswordHash) -> Result<bool, Error> {
    let now = shared.clock.now();
    let replace = ReplacePassword {
        user: proven.user.id,
        expected: proven.hash.clone(),
        replacement: replacement.clone(),
        now,
        settles: proven.counted.settlement(now),
    };
    Ok(shared.db.call(replace).await??)
}
