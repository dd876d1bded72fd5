//! Look-ups that wait together travel together: what arrives while queries are under way is gathered and asked for in
//! the next one. Nothing is cached: what a query found is told to those who were waiting when it was sent, and to
//! nobody else, so a change that was committed before a request arrived is seen by that request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;

use crate::accounts::Error;
use crate::accounts::identify::SignedIn;
use crate::domain::clock::UnixTime;
use crate::domain::session::{Anchor, Claimed};
use crate::store::Database;
use crate::store::standings::{FindStandings, MAX_ANCHORS, Standings};

/// Where an answer goes: who is signed in, or why nobody is.
pub(crate) type Reply = oneshot::Sender<Result<SignedIn, Error>>;

/// A token whose signature is right.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry {
    /// What it says.
    pub claimed: Claimed,
    /// Judged at this time.
    pub now: UnixTime,
}

/// The look-ups of one thread.
#[derive(Clone)]
pub struct Gather(Rc<RefCell<State>>);

struct State {
    db: Database,
    /// Half of a request's deadline: the longest that a query may take, and that a look-up may wait for its query.
    /// One timer a batch then bounds every request in it, where a timer a request would cost more than the look-up.
    patience: Duration,
    /// Bounded by the number of connections that the server accepts.
    waiting: Vec<Waiting>,
    /// Whether [`Gather::ask`] is under way.
    is_asking: bool,
    /// How many rows each query asked for.
    batches: Histogram,
}

struct Waiting {
    inquiry: Inquiry,
    reply: Reply,
    since: Instant,
}

impl Gather {
    /// A request is answered within `deadline`, whatever the database does.
    pub(crate) fn new(db: Database, deadline: Duration, batches: Histogram) -> Self {
        let patience = deadline / 2;
        Self(Rc::new(RefCell::new(State { db, patience, waiting: Vec::new(), is_asking: false, batches })))
    }

    /// Holds a token against what the database says now, and tells `reply`.
    pub(crate) fn look_up(&self, inquiry: Inquiry, reply: Reply) {
        let mut state = self.0.borrow_mut();
        state.waiting.push(Waiting { inquiry, reply, since: Instant::now() });
        if !state.is_asking {
            state.is_asking = true;
            rt::spawn(self.clone().ask());
        }
    }

    /// Asks for what waits until nothing does: one query at a time, as more would only make the batches smaller
    /// (docs/adr/0006-gathered-lookups.md).
    async fn ask(self) {
        let (db, patience, batches) = {
            let state = self.0.borrow();
            (state.db.clone(), state.patience, state.batches.clone())
        };
        loop {
            // One turn of the event loop: the requests that have arrived already come along. An idle loop turns at once.
            tokio::task::yield_now().await;
            let Some(batch) = self.next_batch() else { return };
            batches.observe(batch.len() as f64);
            let anchors = batch.keys().copied().collect();
            let found = match tokio::time::timeout(patience, db.call(FindStandings { anchors })).await {
                Ok(answer) => answer.map_err(Error::from).and_then(|found| found.map_err(Error::from)),
                Err(_) => Err(Error::Unavailable("the database took too long for a look-up".to_owned())),
            };
            hand_out(batch, found);
        }
    }

    /// What to ask for next; `None` ends the asking, in the same breath as finding that nothing waits.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.0.borrow_mut();
        let patience = state.patience;
        let batch = next_batch(&mut state.waiting, patience);
        state.is_asking = batch.is_some();
        batch
    }
}

type Batch = HashMap<Anchor, Vec<(Inquiry, Reply)>>;

/// Takes up to [`MAX_ANCHORS`] different sessions or users off the list, oldest first; equal ones share a place. Those whose client
/// has left are dropped, and those who have waited longer than `patience` are told so.
fn next_batch(waiting: &mut Vec<Waiting>, patience: Duration) -> Option<Batch> {
    let mut batch = Batch::new();
    let mut rest = Vec::new();
    let mut lookups = std::mem::take(waiting).into_iter();
    for lookup in lookups.by_ref() {
        if lookup.reply.is_closed() {
            continue;
        }
        if lookup.since.elapsed() > patience {
            let _ = lookup.reply.send(Err(Error::Unavailable("no query in time for a look-up".to_owned())));
            continue;
        }
        let anchor = lookup.inquiry.claimed.anchor();
        if batch.len() == MAX_ANCHORS && !batch.contains_key(&anchor) {
            rest.push(lookup);
            break;
        }
        batch.entry(anchor).or_default().push((lookup.inquiry, lookup.reply));
    }
    rest.extend(lookups);
    *waiting = rest;
    (!batch.is_empty()).then_some(batch)
}

/// Answers everyone in the batch. A failed query fails its own batch and no other.
fn hand_out(mut batch: Batch, found: Result<Standings, Error>) {
    let rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            for (_, reply) in batch.into_values().flatten() {
                // A receiver that is gone is a client that is gone.
                let _ = reply.send(Err(error.clone()));
            }
            return;
        }
    };
    for (anchor, row) in rows {
        for (Inquiry { claimed, now }, reply) in batch.remove(&anchor).into_iter().flatten() {
            let answer = match &row {
                Ok(standing) if standing.admits(&claimed, now) => {
                    Ok(SignedIn { user: standing.user.clone(), session: claimed.session })
                }
                Ok(_) => Err(Error::TokenRefused),
                Err(error) => Err(error.clone().into()),
            };
            let _ = reply.send(answer);
        }
    }
    // Whoever is left has no row: deleted, or signed out long ago.
    for (_, reply) in batch.into_values().flatten() {
        let _ = reply.send(Err(Error::TokenRefused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::Standing;
    use crate::domain::user::{User, UserId};
    use crate::store::StoreError;

    const NOW: UnixTime = UnixTime(1000);

    fn lookup(id: i64) -> (Waiting, oneshot::Receiver<Result<SignedIn, Error>>) {
        let (reply, answer) = oneshot::channel();
        let claimed = Claimed { user: UserId(id), session: None, issued_at: NOW };
        (Waiting { inquiry: Inquiry { claimed, now: NOW }, reply, since: Instant::now() }, answer)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    type Answers = Vec<oneshot::Receiver<Result<SignedIn, Error>>>;

    fn lookups(ids: impl IntoIterator<Item = i64>) -> (Vec<Waiting>, Answers) {
        ids.into_iter().map(lookup).unzip()
    }

    fn user(id: i64, is_disabled: bool) -> (Anchor, Result<Standing, StoreError>) {
        let user = User { id: UserId(id), email: format!("{id}@x.org"), is_disabled };
        let standing = Standing { user, valid_after: UnixTime(0), valid_until: UnixTime(i64::MAX) };
        (Anchor::User(UserId(id)), Ok(standing))
    }

    #[test]
    fn a_batch_merges_equal_ids_and_holds_at_most_64_different_ones() {
        let (mut waiting, _answers) = lookups((0..70).chain(0..70));
        let first = next_batch(&mut waiting, PATIENCE).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(waiting.len(), 140 - 64);
        let second = next_batch(&mut waiting, PATIENCE).unwrap();
        // 64..70, then 0..58 of the second round fill the batch.
        assert_eq!((second.len(), waiting.len()), (64, 12));
        let third = next_batch(&mut waiting, PATIENCE).unwrap();
        assert_eq!((third.len(), waiting.len()), (12, 0));
        assert!(next_batch(&mut waiting, PATIENCE).is_none());
    }

    #[test]
    fn equal_ids_share_a_place_and_all_hear_the_answer() {
        let (mut waiting, answers) = lookups([7, 7, 7]);
        let batch = next_batch(&mut waiting, PATIENCE).unwrap();
        assert_eq!(batch.len(), 1);
        hand_out(batch, Ok(vec![user(7, false)]));
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap().unwrap().user.id, UserId(7));
        }
    }

    #[test]
    fn lookups_of_clients_who_left_are_dropped() {
        let (mut waiting, answers) = lookups([1, 2]);
        drop(answers);
        assert!(next_batch(&mut waiting, PATIENCE).is_none());
        assert!(waiting.is_empty());
    }

    #[test]
    fn those_who_waited_too_long_are_told_and_not_asked_for() {
        let (mut waiting, mut answers) = lookups([1, 2]);
        waiting[0].since -= PATIENCE + Duration::from_secs(1);
        let batch = next_batch(&mut waiting, PATIENCE).unwrap();
        assert_eq!(batch.into_keys().collect::<Vec<_>>(), [Anchor::User(UserId(2))]);
        assert!(matches!(answers[0].try_recv().unwrap(), Err(Error::Unavailable(_))));
    }

    #[test]
    fn each_hears_of_its_own_user() {
        let (mut waiting, mut answers) = lookups([1, 2, 3, 4]);
        let batch = next_batch(&mut waiting, PATIENCE).unwrap();
        let damaged = (Anchor::User(UserId(4)), Err(StoreError::Corrupt("column 1".to_owned())));
        hand_out(batch, Ok(vec![user(1, false), user(2, true), damaged]));
        let mut heard = answers.iter_mut().map(|answer| answer.try_recv().unwrap());
        assert_eq!(heard.next().unwrap().unwrap().user.email, "1@x.org");
        assert_eq!(heard.next().unwrap(), Err(Error::TokenRefused), "disabled");
        assert_eq!(heard.next().unwrap(), Err(Error::TokenRefused), "deleted");
        assert!(matches!(heard.next().unwrap(), Err(Error::Internal(_))), "damaged");
    }

    #[test]
    fn a_failed_query_is_a_503_for_its_batch_and_never_a_refusal() {
        let (mut waiting, mut answers) = lookups([1]);
        let batch = next_batch(&mut waiting, PATIENCE).unwrap();
        hand_out(batch, Err(Error::Unavailable("gone".to_owned())));
        assert!(matches!(answers[0].try_recv().unwrap(), Err(Error::Unavailable(_))));
    }
}
