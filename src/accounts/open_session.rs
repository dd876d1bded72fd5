//! Opens a session for somebody who has just proved who they are, and what they get for it.

use crate::accounts::authenticator::IssueToken;
use crate::accounts::prove::Proven;
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

/// Opens a session and issues its first tokens; `None` if the account has another password hash by now, or is disabled.
/// When the database takes no writes (F-08) the sign-in still counts: with an access token alone, which is held against
/// the user's row instead of a session's.
pub(super) async fn open_session(services: &Services, proven: Proven, client: Client) -> Result<Option<Grant>, Error> {
    let Proven { user, hash, since, counted } = proven;
    let shared = &services.shared;
    let now = shared.clock.now();
    let id = new_session_id().map_err(|_| Error::Internal("no randomness".to_owned()))?;
    let expires_at = now.plus(shared.settings.sessions.lifetime_secs(id));
    let settles = counted.settlement(now);
    let create = CreateSession { id, user: user.id, hash, client, now, expires_at, settles };
    let outcome = match counted.was_written() {
        true => shared.write_promptly(create).await.map_err(Error::from),
        // It took no write a moment ago.
        false => Err(Error::Unavailable("the attempt was counted in memory".to_owned())),
    };
    match outcome {
        Ok(true) => issue(services, user, Some(Refresh { session: id, generation: 0 }), now).await.map(Some),
        Ok(false) => Ok(None),
        Err(Error::Unavailable(cause) | Error::Overloaded(cause)) => {
            shared.attempts.give_back(&counted);
            tracing::warn!(user = user.id.0, cause, "signed in without a session: the database takes no writes");
            // As old as what it is based on, so that a change of the password meanwhile ends it.
            issue(services, user, None, since).await.map(Some)
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
