//! A session as the rest of the program sees one: a sign-in on one device, from which tokens are renewed until it ends.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::clock::UnixTime;
use crate::domain::user::{User, UserId};

/// The name of a session: 128 random bits, written as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The text is not the name of any session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a session")]
pub struct NoSessionId;

impl FromStr for SessionId {
    type Err = NoSessionId;

    /// Takes the one spelling that [`fmt::Display`] gives.
    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let mut id = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut id) {
            Ok(16) => Ok(Self(id)),
            _ => Err(NoSessionId),
        }
    }
}

/// What a token is held against, row by row, for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// The session that it belongs to, and with it its user.
    Session(SessionId),
    /// Its user alone: the token was issued while no session could be opened.
    User(UserId),
}

/// What a token with a right signature says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Whose it is.
    pub user: UserId,
    /// The session that it belongs to, if any.
    pub session: Option<SessionId>,
    /// When it was issued.
    pub issued_at: UnixTime,
}

impl Claimed {
    /// Where to look.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.session.map_or(Anchor::User(self.user), Anchor::Session)
    }
}

/// What the rows behind an [`Anchor`] say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose session it is, or who it is.
    pub user: User,
    /// Tokens count that were issued later than this.
    pub valid_after: UnixTime,
    /// And until this moment.
    pub valid_until: UnixTime,
}

impl Standing {
    /// Whether a token that says `claimed` counts now.
    #[must_use]
    pub fn admits(&self, claimed: &Claimed, now: UnixTime) -> bool {
        self.user.id == claimed.user
            && !self.user.is_disabled
            && self.valid_after < claimed.issued_at
            && now < self.valid_until
    }
}

/// What a client says of itself, for its owner to recognise it by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The User-Agent header, made harmless.
    pub user_agent: String,
    /// The address that it came from.
    pub address: String,
}

/// Longest user agent that is kept, in code points.
const LONGEST_USER_AGENT: usize = 200;

impl Client {
    /// Keeps what can be printed.
    #[must_use]
    pub fn new(user_agent: &str, address: String) -> Self {
        let printable = user_agent.chars().filter(|c| !c.is_control()).take(LONGEST_USER_AGENT);
        Self { user_agent: printable.collect(), address }
    }
}

/// A row of `sessions`, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// When its owner signed in.
    pub created_at: UnixTime,
    /// When its tokens were renewed last.
    pub rotated_at: UnixTime,
    /// When it ends unless they are renewed.
    pub expires_at: UnixTime,
    /// On what and from where.
    pub client: Client,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let id = SessionId([0xfb; 16]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "+/v7-_v7-_v7-_v7-_v7-w", "-_v7-_v7-_v7-_v7-_v7-x", "-_v7-_v7-_v7-_v7-_v7-w=", "AAAA"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NoSessionId), "{wrong}");
        }
    }

    #[test]
    fn a_token_counts_for_its_own_user_and_in_its_time() {
        let user = User { id: UserId(1), email: "a@x.org".to_owned(), is_disabled: false };
        let standing = Standing { user, valid_after: UnixTime(100), valid_until: UnixTime(200) };
        let claimed = |user, issued_at| Claimed { user: UserId(user), session: None, issued_at: UnixTime(issued_at) };
        assert!(standing.admits(&claimed(1, 101), UnixTime(199)));
        assert!(!standing.admits(&claimed(2, 101), UnixTime(199)), "another user's");
        assert!(!standing.admits(&claimed(1, 100), UnixTime(199)), "issued before");
        assert!(!standing.admits(&claimed(1, 101), UnixTime(200)), "ended");
        let disabled = Standing { user: User { is_disabled: true, ..standing.user.clone() }, ..standing };
        assert!(!disabled.admits(&claimed(1, 101), UnixTime(199)), "disabled");
    }
}
