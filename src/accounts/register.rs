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
            let is_taken = shared.db.call(FindByEmail { email: email.clone() }).await??.is_some();
            let judgement = services.judgement(password, Some(&email));
            let too_common = |TooCommon { advice }| Error::PasswordTooCommon { advice };
            if is_taken {
                // Judged all the same: with a password that will not do, whoever asks around would hear of each address
                // whether it has an account and leave none behind.
                place.call(judgement).await?.map_err(too_common)?;
                return Err(Error::EmailTaken);
            }
            let password_hash = place.call(HashNewPassword(judgement)).await??.map_err(too_common)?;
            let now = shared.clock.now();
            let created = shared.db.call(CreateUser { email, password_hash, now }).await??;
            created.map_err(|EmailTaken| Error::EmailTaken)
        })
        .await
}
