//! Sign in: email and password for a token.

use crate::accounts::attempts::Attempt;
use crate::accounts::open_session::{Grant, open_session};
use crate::accounts::prove::{prove, prove_again};
use crate::accounts::{Error, Services};
use crate::domain::session::Client;

/// Opens a session and issues its first tokens.
///
/// Errors: [`Error::BadCredentials`] for an unknown address, a wrong password, a disabled account, one without a
/// password and one whose hash is damaged; [`Error::TooManyAttempts`]; and what overload and outages bring.
pub async fn sign_in(services: &Services, attempt: Attempt, client: Client) -> Result<Grant, Error> {
    let shared = &services.shared;
    services
        .within_deadline(async {
            let proven = prove(shared, &attempt).await?;
            let counted = proven.counted;
            if let Some(grant) = open_session(services, proven, client.clone()).await? {
                return Ok(grant);
            }
            // The hash is another one by now: that of a new password, or of the same one at today's cost.
            let proven = prove_again(shared, &attempt, counted).await?;
            open_session(services, proven, client).await?.ok_or(Error::BadCredentials)
        })
        .await
}
