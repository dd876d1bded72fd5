//! Judge a password before it is chosen: what registration would say of it, and nothing is created.

use crate::accounts::{Error, Services};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::hashing::{JudgePassword, TooCommon};

/// Judges a password for whoever will have the address.
///
/// Errors: [`Error::PasswordTooCommon`], and what overload brings.
pub async fn judge_password(services: &Services, password: Password, email: Option<&Email>) -> Result<(), Error> {
    services.within_deadline(judge(services, password, email)).await
}

pub(super) async fn judge(services: &Services, password: Password, email: Option<&Email>) -> Result<(), Error> {
    let place = services.shared.hash_place().await?;
    let judged = place.call(services.judgement(password, email)).await?;
    judged.map_err(|TooCommon { advice }| Error::PasswordTooCommon { advice })
}

impl Services {
    /// A password along with what an attacker would try first for this person at this service (ASVS 6.2.11).
    pub(super) fn judgement(&self, password: Password, email: Option<&Email>) -> JudgePassword {
        let mut context = email.map(Email::words).unwrap_or_default();
        // The service's own name: auth.example.com is `example` to its users.
        let issuer = self.shared.keyring.issuer().trim_start_matches("https://");
        context.extend(issuer.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 2).map(str::to_owned));
        JudgePassword { password, context }
    }
}
