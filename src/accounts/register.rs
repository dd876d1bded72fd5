//! Register: a new account for an address that has none.

use crate::accounts::{Error, Services};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::User;
use crate::hashing::{HashNewPassword, TooCommon};
use crate::store::users::{CreateUser, EmailTaken, FindByEmail};

/// Creates the account; it is durable when this returns.
///
/// Errors: [`Error::EmailTaken`], [`Error::PasswordTooCommon`], and what overload and outages bring.
pub async fn register(services: &Services, email: Email, password: Password) -> Result<User, Error> {
    let shared = &services.shared;
    services
        .within_deadline(async {
            let _turn = shared.turns.take(email.key()).await;
            // The place first: whoever cannot be served hears so before the database does any work.
            let place = shared.hash_place().await?;
            if shared.db.call(FindByEmail { email: email.clone() }).await??.is_some() {
                return Err(Error::EmailTaken);
            }
            let judged = place.call(HashNewPassword(services.judgement(password, Some(&email)))).await??;
            let password_hash = judged.map_err(|TooCommon { advice }| Error::PasswordTooCommon { advice })?;
            let now = shared.clock.now();
            let created = shared.db.call(CreateUser { email, password_hash, now }).await??;
            created.map_err(|EmailTaken| Error::EmailTaken)
        })
        .await
}
