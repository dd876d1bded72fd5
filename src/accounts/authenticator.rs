//! The actor that issues tokens and says whose a token is. Lookups that wait together travel together: what
//! arrives while a query is under way is gathered and asked for in the next one. Nothing is cached, so what a
//! query found is told to those who waited for it and to nobody else.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use tokio::sync::oneshot;

use crate::accounts::Error;
use crate::domain::clock::UnixTime;
use crate::domain::user::{User, UserId};
use crate::pool::Pool;
use crate::store::DbExecutor;
use crate::store::users::{FindUsers, FoundUsers, MAX_IDS};
use crate::tokens::{AccessToken, Keyring};

/// Queries under way at a time. Two keep the database busy while one answer is being handed out; more would only
/// make the batches smaller.
const MAX_IN_FLIGHT: usize = 2;

/// Starts an authenticator on the current arbiter.
pub(crate) fn start(keyring: Arc<Keyring>, db: Pool<DbExecutor>) -> Addr<Authenticator> {
    Authenticator { keyring, db, waiting: Vec::new(), in_flight: 0 }.start()
}

/// Issues and checks tokens.
pub struct Authenticator {
    keyring: Arc<Keyring>,
    db: Pool<DbExecutor>,
    waiting: Vec<Waiting>,
    in_flight: usize,
}

/// A lookup that waits for its query, bounded by the number of connections that the server accepts.
struct Waiting {
    id: UserId,
    reply: oneshot::Sender<Result<User, Error>>,
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
    /// From when on it is valid.
    pub now: UnixTime,
}

impl Handler<IssueToken> for Authenticator {
    type Result = Result<AccessToken, Error>;

    fn handle(&mut self, message: IssueToken, _: &mut Context<Self>) -> Self::Result {
        self.keyring.issue(&message.user, message.now).map_err(|_| Error::Internal("cannot sign".to_owned()))
    }
}

/// Whose token is this, as of now: [`Error::TokenRefused`] also when the user is gone or disabled.
#[derive(Message)]
#[rtype(result = "Result<User, Error>")]
pub struct Authenticate {
    /// The token as presented.
    pub token: String,
    /// Judged at this time.
    pub now: UnixTime,
}

impl Handler<Authenticate> for Authenticator {
    type Result = ResponseFuture<Result<User, Error>>;

    fn handle(&mut self, message: Authenticate, context: &mut Context<Self>) -> Self::Result {
        let Ok(id) = self.keyring.check(&message.token, message.now) else {
            return Box::pin(std::future::ready(Err(Error::TokenRefused)));
        };
        let (reply, answer) = oneshot::channel();
        self.waiting.push(Waiting { id, reply });
        self.send_off(context);
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Error::Internal("lookup lost".to_owned()))) })
    }
}

impl Authenticator {
    /// Sends what waits, as far as queries may be under way. A lookup that arrives alone goes at once.
    fn send_off(&mut self, context: &mut Context<Self>) {
        while self.in_flight < MAX_IN_FLIGHT
            && let Some(batch) = next_batch(&mut self.waiting)
        {
            self.in_flight += 1;
            let db = self.db.clone();
            let ids = batch.keys().copied().collect();
            let query = async move { Ok(db.call(FindUsers { ids }).await??) };
            context.spawn(query.into_actor(self).map(move |found, this, context| {
                this.in_flight -= 1;
                hand_out(batch, found);
                this.send_off(context);
            }));
        }
    }
}

type Batch = HashMap<UserId, Vec<oneshot::Sender<Result<User, Error>>>>;

/// Takes up to [`MAX_IDS`] different users off the list, oldest first; equal ones share a place. Those whose client
/// has left are dropped.
fn next_batch(waiting: &mut Vec<Waiting>) -> Option<Batch> {
    let mut batch = Batch::new();
    let mut taken = 0;
    for lookup in waiting.iter() {
        if batch.len() == MAX_IDS && !batch.contains_key(&lookup.id) {
            break;
        }
        if !lookup.reply.is_closed() {
            batch.entry(lookup.id).or_default();
        }
        taken += 1;
    }
    for lookup in waiting.drain(..taken) {
        if let Some(replies) = batch.get_mut(&lookup.id) {
            replies.push(lookup.reply);
        }
    }
    (!batch.is_empty()).then_some(batch)
}

/// Answers everyone in the batch. A failed query fails its own batch and no other.
fn hand_out(mut batch: Batch, found: Result<FoundUsers, Error>) {
    let rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            for reply in batch.into_values().flatten() {
                // A receiver that is gone is a client that is gone.
                let _ = reply.send(Err(error.clone()));
            }
            return;
        }
    };
    for (id, row) in rows {
        let answer = match row {
            Ok(user) if user.is_disabled => Err(Error::TokenRefused),
            Ok(user) => Ok(user),
            Err(error) => Err(error.into()),
        };
        for reply in batch.remove(&id).into_iter().flatten() {
            let _ = reply.send(answer.clone());
        }
    }
    // Whoever is left has no row: deleted.
    for reply in batch.into_values().flatten() {
        let _ = reply.send(Err(Error::TokenRefused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    fn lookup(id: i64) -> (Waiting, oneshot::Receiver<Result<User, Error>>) {
        let (reply, answer) = oneshot::channel();
        (Waiting { id: UserId(id), reply }, answer)
    }

    fn lookups(ids: impl IntoIterator<Item = i64>) -> (Vec<Waiting>, Vec<oneshot::Receiver<Result<User, Error>>>) {
        ids.into_iter().map(lookup).unzip()
    }

    fn user(id: i64, is_disabled: bool) -> (UserId, Result<User, StoreError>) {
        (UserId(id), Ok(User { id: UserId(id), email: format!("{id}@x.org"), is_disabled }))
    }

    #[test]
    fn a_batch_merges_equal_ids_and_holds_at_most_64_different_ones() {
        let (mut waiting, _answers) = lookups((0..70).chain(0..70));
        let first = next_batch(&mut waiting).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(waiting.len(), 140 - 64);
        let second = next_batch(&mut waiting).unwrap();
        // 64..70, then 0..58 of the second round fill the batch.
        assert_eq!((second.len(), waiting.len()), (64, 12));
        let third = next_batch(&mut waiting).unwrap();
        assert_eq!((third.len(), waiting.len()), (12, 0));
        assert!(next_batch(&mut waiting).is_none());
    }

    #[test]
    fn equal_ids_share_a_place_and_all_hear_the_answer() {
        let (mut waiting, answers) = lookups([7, 7, 7]);
        let batch = next_batch(&mut waiting).unwrap();
        assert_eq!(batch.len(), 1);
        hand_out(batch, Ok(vec![user(7, false)]));
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap().unwrap().id, UserId(7));
        }
    }

    #[test]
    fn lookups_of_clients_who_left_are_dropped() {
        let (mut waiting, answers) = lookups([1, 2]);
        drop(answers);
        assert!(next_batch(&mut waiting).is_none());
        assert!(waiting.is_empty());
    }

    #[test]
    fn each_hears_of_its_own_user() {
        let (mut waiting, mut answers) = lookups([1, 2, 3, 4]);
        let batch = next_batch(&mut waiting).unwrap();
        let damaged = (UserId(4), Err(StoreError::Corrupt("column 1".to_owned())));
        hand_out(batch, Ok(vec![user(1, false), user(2, true), damaged]));
        let mut heard = answers.iter_mut().map(|answer| answer.try_recv().unwrap());
        assert_eq!(heard.next().unwrap().unwrap().email, "1@x.org");
        assert_eq!(heard.next().unwrap(), Err(Error::TokenRefused), "disabled");
        assert_eq!(heard.next().unwrap(), Err(Error::TokenRefused), "deleted");
        assert!(matches!(heard.next().unwrap(), Err(Error::Internal(_))), "damaged");
    }

    #[test]
    fn a_failed_query_is_a_503_for_its_batch_and_never_a_refusal() {
        let (mut waiting, mut answers) = lookups([1]);
        let batch = next_batch(&mut waiting).unwrap();
        hand_out(batch, Err(Error::Unavailable("gone".to_owned())));
        assert!(matches!(answers[0].try_recv().unwrap(), Err(Error::Unavailable(_))));
    }
}
