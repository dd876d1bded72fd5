//! Renew: a refresh token for the next grant of its session (RFC 6749 6), which replaces it (RFC 9700 4.14.2).

use crate::accounts::open_session::{Grant, issue};
use crate::accounts::{Error, Services};
use crate::store::sessions::{RotateSession, Rotation};
use crate::tokens::Refresh;

/// For how long a token that was just replaced still gets its successor: tabs that race, and clients that lost the
/// answer, stay signed in.
const GRACE_SECS: i64 = 10;

/// Issues the next generation's tokens. Whoever presents the same token at once, or again within ten seconds, gets the
/// same refresh token.
///
/// Errors: [`Error::BadGrant`] for a token that is not ours, whose session has ended, or that was used before; in
/// the last case the session ends, since two parties have it. And what overload and outages bring.
pub async fn renew(services: &Services, token: &str) -> Result<Grant, Error> {
    let shared = &services.shared;
    let Refresh { session: id, generation } = shared.keyring.read_refresh(token).map_err(|_| Error::BadGrant)?;
    let sessions = shared.settings.sessions;
    services
        .within_deadline(async {
            let now = shared.clock.now();
            let rotate = RotateSession {
                id,
                generation,
                now,
                grace_secs: GRACE_SECS,
                lifetime_secs: sessions.lifetime_secs(id),
                max_secs: sessions.max_secs,
            };
            match shared.db.call(rotate).await?? {
                Rotation::Renewed(user) => {
                    issue(services, user, Some(Refresh { session: id, generation: generation + 1 }), now).await
                }
                Rotation::Reused(user) => {
                    tracing::warn!(user = user.0, session = %id, "a refresh token was used again: its session has been ended");
                    Err(Error::BadGrant)
                }
                Rotation::Over => Err(Error::BadGrant),
            }
        })
        .await
}
