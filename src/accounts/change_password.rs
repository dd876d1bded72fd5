//! Change the password: whoever knows the present one chooses another, and everybody has to sign in again.

use crate::accounts::sign_in::{Attempt, verify};
use crate::accounts::{Error, Services};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::User;
use crate::hashing::{HashNewPassword, TooCommon};
use crate::store::sessions::ReplacePassword;

/// Replaces the password and ends every session of the user and every token without one, in one transaction: whoever
/// had the old password has nothing left.
///
/// Errors: [`Error::BadCredentials`] if `current` is not the password, [`Error::PasswordTooCommon`], and what overload
/// and outages bring.
pub async fn change_password(
    services: &Services,
    user: &User,
    current: Option<Password>,
    replacement: Password,
) -> Result<(), Error> {
    let shared = &services.shared;
    services
        .within_deadline(async {
            let email = Email::parse(&user.email).ok();
            let context = email.as_ref().map(Email::words).unwrap_or_default();
            verify(shared, Attempt { email, password: current }).await?;
            let place = shared.hash_place().await?;
            let judged = place.call(HashNewPassword { password: replacement, context }).await??;
            let replacement = judged.map_err(|TooCommon { advice }| Error::PasswordTooCommon { advice })?;
            Ok(shared.db.call(ReplacePassword { user: user.id, replacement, now: shared.clock.now() }).await??)
        })
        .await
}
