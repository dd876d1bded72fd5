//! The actor that issues tokens and says whose a token is.

use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Addr, Context, Handler, Message};

use crate::accounts::Error;
use crate::accounts::gather::{Gather, Inquiry};
use crate::accounts::identify::SignedIn;
use crate::domain::clock::UnixTime;
use crate::domain::session::SessionId;
use crate::domain::user::User;
use crate::tokens::{AccessToken, Keyring, NotChecked, Verified};

/// Starts an authenticator on the current arbiter.
pub(crate) fn start(keyring: Arc<Keyring>, gather: Gather) -> Addr<Authenticator> {
    Authenticator { keyring, gather, verified: Verified::default() }.start()
}

/// For the log.
pub(super) const NO_KEYS: &str = "the signing keys have not been read yet";

/// Issues and checks tokens.
pub struct Authenticator {
    keyring: Arc<Keyring>,
    gather: Gather,
    verified: Verified,
}

impl Actor for Authenticator {
    type Context = Context<Self>;
}

/// Signs a token for a user who has just proved to be one.
#[derive(Debug, Message)]
#[rtype(result = "Result<AccessToken, Error>")]
pub struct IssueToken {
    /// Whom it names.
    pub user: User,
    /// The session that it belongs to.
    pub session: Option<SessionId>,
    /// From when on it is valid.
    pub now: UnixTime,
}

impl Handler<IssueToken> for Authenticator {
    type Result = Result<AccessToken, Error>;

    fn handle(&mut self, message: IssueToken, _: &mut Context<Self>) -> Self::Result {
        self.keyring.issue(&message.user, message.session, message.now).map_err(|error| match error {
            NotChecked::NoKeys => Error::Unavailable(NO_KEYS.to_owned()),
            NotChecked::Rejected => Error::Internal("cannot sign".to_owned()),
        })
    }
}

/// Whose token is this, as of now: [`Error::TokenRefused`] also when the user is gone or disabled, or signed out.
#[derive(Message)]
#[rtype(result = "Result<SignedIn, Error>")]
pub struct Authenticate {
    /// The token as presented.
    pub token: String,
    /// Judged at this time.
    pub now: UnixTime,
}

impl Handler<Authenticate> for Authenticator {
    type Result = Authentication;

    fn handle(&mut self, message: Authenticate, _: &mut Context<Self>) -> Authentication {
        match self.keyring.check_remembering(&message.token, message.now, &mut self.verified) {
            Ok(claimed) => Authentication::LookUp(Inquiry { claimed, now: message.now }, self.gather.clone()),
            Err(NotChecked::Rejected) => Authentication::Refused(Error::TokenRefused),
            Err(NotChecked::NoKeys) => Authentication::Refused(Error::Unavailable(NO_KEYS.to_owned())),
        }
    }
}

/// What becomes of an [`Authenticate`]. The message's own reply channel waits for the look-up: a future an answer
/// would cost a task and a second channel for each request.
pub enum Authentication {
    /// Answered without the database.
    Refused(Error),
    /// The signature is right; the row decides.
    LookUp(Inquiry, Gather),
}

impl MessageResponse<Authenticator, Authenticate> for Authentication {
    fn handle(self, _: &mut Context<Authenticator>, reply: Option<OneshotSender<Result<SignedIn, Error>>>) {
        // Nobody waits for the answer: nothing to do.
        let Some(reply) = reply else { return };
        match self {
            Self::Refused(error) => drop(reply.send(Err(error))),
            Self::LookUp(inquiry, gather) => gather.look_up(inquiry, reply),
        }
    }
}
