//! Opens a session for somebody who has just proved who they are, and what they get for it.

use crate::accounts::authenticator::IssueToken;
use crate::accounts::{Error, Services};
use crate::domain::clock::UnixTime;
use crate::domain::session::{Client, SessionId};
use crate::domain::user::User;
use crate::store::sessions::CreateSession;
use crate::tokens::{AccessToken, Refresh, new_session_id};

/// What a client gets.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Opens what only a user may see.
    pub access: AccessToken,
    /// Gets the next grant; `None` while no session can be opened.
    pub refresh_token: Option<String>,
}

/// Opens a session and issues its first tokens. When the database takes no writes (F-08) the sign-in still counts: with
/// an access token alone, which is held against the user's row instead of a session's.
pub(crate) async fn open_session(
    services: &Services,
    user: User,
    client: Client,
    now: UnixTime,
) -> Result<Grant, Error> {
    let id = new_session_id().map_err(|_| Error::Internal("no randomness".to_owned()))?;
    let lifetime = services.shared.settings.sessions.lifetime_secs(id);
    let create = CreateSession { id, user: user.id, client, now, expires_at: now.plus(lifetime) };
    // A sign-in needs no write, so it does not wait for one as long as a registration does (F-13).
    let patience = services.shared.settings.deadline / 4;
    let created = tokio::time::timeout(patience, services.shared.db.call(create)).await;
    let outcome = match created {
        Ok(Ok(outcome)) => outcome.map_err(Error::from),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Error::Unavailable("no write in time".to_owned())),
    };
    match outcome {
        Ok(()) => issue(services, user, Some(Refresh { session: id, generation: 0 }), now).await,
        Err(Error::Unavailable(cause) | Error::Overloaded(cause)) => {
            tracing::warn!(user = user.id.0, cause, "signed in without a session: the database takes no writes");
            issue(services, user, None, now).await
        }
        Err(error) => Err(error),
    }
}

/// Issues the tokens of one generation of a session.
pub(crate) async fn issue(
    services: &Services,
    user: User,
    refresh: Option<Refresh>,
    now: UnixTime,
) -> Result<Grant, Error> {
    let session: Option<SessionId> = refresh.map(|refresh| refresh.session);
    let issued = services.authenticator.send(IssueToken { user, session, now }).await;
    let access = issued.map_err(|error| Error::Internal(error.to_string()))??;
    Ok(Grant { access, refresh_token: refresh.map(|refresh| services.shared.keyring.write_refresh(refresh)) })
}
