//! Sign out: of this session, of another one, of all. It holds on the next request, on every node.

use crate::accounts::identify::SignedIn;
use crate::accounts::{Error, Services};
use crate::domain::session::{Session, SessionId};
use crate::domain::user::UserId;
use crate::store::sessions::{ListSessions, RevokeAll, RevokeSession};

/// Ends the session that somebody is signed in with. A token without one can only be ended with all of its kind.
///
/// Errors: what overload and outages bring, in all of these.
pub async fn sign_out(services: &Services, who: &SignedIn) -> Result<(), Error> {
    match who.session {
        Some(id) => end_session(services, who.user.id, id).await.map(drop),
        None => sign_out_everywhere(services, who.user.id).await,
    }
}

/// Ends every session of a user, and every token without one.
pub async fn sign_out_everywhere(services: &Services, user: UserId) -> Result<(), Error> {
    let shared = &services.shared;
    let revoke = RevokeAll { user, now: shared.clock.now() };
    services.within_deadline(async { Ok(shared.db.call(revoke).await??) }).await
}

/// Ends one of a user's sessions. `false`: there is no such session to end.
pub async fn end_session(services: &Services, user: UserId, id: SessionId) -> Result<bool, Error> {
    revoke(services, RevokeSession { id, user: Some(user), now: services.shared.clock.now() }).await
}

/// Ends the session of a token, access or refresh, whoever presents it (RFC 7009 2.1). A token that is none of ours, or
/// that ended before, is as good as revoked.
pub async fn revoke_token(services: &Services, token: &str) -> Result<(), Error> {
    let (keyring, now) = (&services.shared.keyring, services.shared.clock.now());
    if let Ok(refresh) = keyring.read_refresh(token) {
        return revoke(services, RevokeSession { id: refresh.session, user: None, now }).await.map(drop);
    }
    match keyring.check(token, now) {
        Ok(claimed) => match claimed.session {
            Some(id) => end_session(services, claimed.user, id).await.map(drop),
            None => sign_out_everywhere(services, claimed.user).await,
        },
        Err(_) => Ok(()),
    }
}

/// A user's open sessions, the one used last first.
pub async fn sessions(services: &Services, user: UserId) -> Result<Vec<Session>, Error> {
    let shared = &services.shared;
    let list = ListSessions { user, now: shared.clock.now() };
    services.within_deadline(async { Ok(shared.db.call(list).await??) }).await
}

async fn revoke(services: &Services, revoke: RevokeSession) -> Result<bool, Error> {
    services.within_deadline(async { Ok(services.shared.db.call(revoke).await??) }).await
}
