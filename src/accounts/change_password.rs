//! Change the password: whoever knows the present one chooses another, and everybody has to sign in again.

use crate::accounts::attempts::{Attempt, Username};
use crate::accounts::judge_password::judge;
use crate::accounts::sign_in::verify;
use crate::accounts::{Error, Services};
use crate::domain::email::Email;
use crate::domain::network::Network;
use crate::domain::password::Password;
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
            let (_, counted) = verify(shared, Attempt { username, password: current, network }).await?;
            let place = shared.hash_place().await?;
            let replacement = place.call(HashPassword { password: replacement }).await??;
            let now = shared.clock.now();
            Ok(shared
                .db
                .call(ReplacePassword { user: user.id, replacement, now, settles: counted.settlement(now) })
                .await??)
        })
        .await
}
