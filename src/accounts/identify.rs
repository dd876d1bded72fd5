//! Identify: whose token is this, right now.

use crate::accounts::authenticator::Authenticate;
use crate::accounts::{Error, Services};
use crate::domain::session::SessionId;
use crate::domain::user::User;

/// Somebody who is signed in, as of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// In which session; `None`: with a token that was issued while none could be opened.
    pub session: Option<SessionId>,
}

/// Who is behind a token, read from the database for this very request.
///
/// Errors: [`Error::TokenRefused`]; [`Error::Unavailable`] or [`Error::Overloaded`] when the token is good and the
/// database cannot be asked, which is never taken for a refusal.
pub async fn identify(services: &Services, token: String) -> Result<SignedIn, Error> {
    let now = services.shared.clock.now();
    // The authenticator bounds the wait itself, for a whole batch at a time.
    let answer = services.authenticator.send(Authenticate { token, now }).await;
    answer.map_err(|error| Error::Internal(error.to_string()))?
}
