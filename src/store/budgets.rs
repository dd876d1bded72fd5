//! The table `sign_in_budgets`: how many passwords may still be tried, counted for all nodes together. Each message is
//! one transaction, its SQL beside it, the same text on both engines.

use actix::Message;

use crate::domain::clock::UnixTime;
use crate::store::error::StoreError;
use crate::store::session::{Session, Value};
use crate::store::{Access, Query};

/// Attempts that a budget has when nobody has tried for a while.
pub const BURST: i64 = 10;
/// Seconds until there is one more: with the burst at most 106 in a day.
pub const PERIOD_SECS: i64 = 15 * 60;
/// Seconds for which a network counts as the owner's after a sign-in from there.
pub const KNOWN_SECS: i64 = 90 * 24 * 60 * 60;

/// The budgets that an attempt may be counted against, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Of all networks that the owner has not signed in from.
    pub strangers: Bucket,
    /// Of this network, if the owner has.
    pub own: Bucket,
}

/// The name of a budget; a pseudonym, so that neither who was attacked nor what people typed by mistake is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket(pub [u8; 32]);

impl Buckets {
    /// The name of one of the two.
    #[must_use]
    pub fn get(&self, whose: Whose) -> Bucket {
        match whose {
            Whose::Strangers => self.strangers,
            Whose::Owner => self.own,
        }
    }
}

impl From<Bucket> for Value {
    fn from(bucket: Bucket) -> Self {
        Self::Bytes(bucket.0.to_vec())
    }
}

/// Which budget an attempt is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one that all networks share from which the owner has not signed in.
    Strangers,
    /// The one of a network from which the owner has.
    Owner,
}

/// A budget as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Which.
    pub whose: Whose,
    /// When it is whole again; `None`: nobody has tried for a while.
    full_at: Option<UnixTime>,
}

impl Budget {
    /// Seconds until there is something in it; 0 if there is now.
    #[must_use]
    pub fn wait_secs(&self, now: UnixTime) -> i64 {
        let Some(full_at) = self.full_at else { return 0 };
        (full_at.0 - latest_full_at(now)).max(0)
    }
}

/// A budget that is whole only later than this has nothing in it at `now`.
fn latest_full_at(now: UnixTime) -> i64 {
    now.plus(PERIOD_SECS * (BURST - 1)).0
}

/// Finds the budget that an attempt is to be counted against.
#[derive(Debug, Message)]
#[rtype(result = "Result<Budget, StoreError>")]
pub struct FindBudget {
    /// The two that it may be.
    pub buckets: Buckets,
    /// When.
    pub now: UnixTime,
}

const FIND: &str = "SELECT bucket, full_at, expires_at FROM sign_in_budgets WHERE bucket IN (?, ?)";

impl Query for FindBudget {
    const ACCESS: Access = Access::Read;
    type Output = Budget;

    fn run(&self, session: &mut dyn Session) -> Result<Budget, StoreError> {
        let Buckets { strangers, own } = self.buckets;
        let mut budget = Budget { whose: Whose::Strangers, full_at: None };
        for row in session.query(FIND, &[strangers.into(), own.into()])? {
            let (bucket, full_at, expires_at) = (Bucket(row.bytes(0)?), row.int(1)?, row.int(2)?);
            if bucket == own && self.now.0 < expires_at {
                return Ok(Budget { whose: Whose::Owner, full_at: Some(UnixTime(full_at)) });
            }
            if bucket == strangers {
                budget.full_at = Some(UnixTime(full_at));
            }
        }
        Ok(budget)
    }
}

/// Counts an attempt before anything is done for it. Of those that are made at once, on all nodes, only as many are
/// counted as there is budget for.
#[derive(Debug, Message)]
#[rtype(result = "Result<Counting, StoreError>")]
pub struct CountAttempt {
    /// The budgets that it may be counted against.
    pub buckets: Buckets,
    /// When.
    pub now: UnixTime,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// It was counted.
    Counted(Whose),
    /// There is nothing left for it.
    Over(Whose, RetryAfterSecs),
}

/// Seconds until there is some again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfterSecs(pub i64);

// A budget that was whole before now is whole now.
const TAKE: &str = "UPDATE sign_in_budgets SET full_at = CASE WHEN full_at < ? THEN ? ELSE full_at + ? END \
     WHERE bucket = ? AND full_at <= ?";
const TAKE_OF_STRANGERS: &str = "UPDATE sign_in_budgets SET full_at = CASE WHEN full_at < ? THEN ? ELSE full_at + ? END, \
     expires_at = ? WHERE bucket = ? AND full_at <= ?";
const OPEN: &str = "INSERT INTO sign_in_budgets (bucket, full_at, expires_at) VALUES (?, ?, ?)";

impl Query for CountAttempt {
    const ACCESS: Access = Access::Write;
    type Output = Counting;

    fn run(&self, session: &mut dyn Session) -> Result<Counting, StoreError> {
        let Self { buckets, now } = *self;
        // Looked at first, because an UPDATE that finds no row locks the gap where the INSERT has to go.
        let budget = FindBudget { buckets, now }.run(session)?;
        let Budget { whose, full_at } = budget;
        let bucket = Value::from(buckets.get(whose));
        let after_one = Value::Int(now.plus(PERIOD_SECS).0);
        // By then the strangers' budget is whole, whatever is taken now.
        let expires_at = Value::Int(now.plus(PERIOD_SECS * BURST).0);
        if full_at.is_none() {
            return match session.execute(OPEN, &[bucket, after_one, expires_at]) {
                Ok(_) => Ok(Counting::Counted(whose)),
                // Somebody else was first: there is a row now.
                Err(StoreError::Duplicate) => Err(StoreError::Retry("two first attempts at once".to_owned())),
                Err(error) => Err(error),
            };
        }
        let wait = budget.wait_secs(now);
        if wait > 0 {
            return Ok(Counting::Over(whose, RetryAfterSecs(wait)));
        }
        let (now, period, latest) = (Value::Int(now.0), Value::Int(PERIOD_SECS), Value::Int(latest_full_at(now)));
        let taken = match whose {
            Whose::Strangers => {
                session.execute(TAKE_OF_STRANGERS, &[now, after_one, period, expires_at, bucket, latest])?
            }
            Whose::Owner => session.execute(TAKE, &[now, after_one, period, bucket, latest])?,
        };
        match taken.rows {
            // Others have taken the rest since it was looked at.
            0 => Ok(Counting::Over(whose, RetryAfterSecs(PERIOD_SECS))),
            _ => Ok(Counting::Counted(whose)),
        }
    }
}

/// Gives back what an attempt took, since it was the owner's; from now on the network is known as the owner's.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct SettleAttempt {
    /// The budgets that it may have been counted against.
    pub buckets: Buckets,
    /// The one that it was.
    pub whose: Whose,
    /// When.
    pub now: UnixTime,
}

const GIVE_BACK: &str = "UPDATE sign_in_budgets SET full_at = full_at - ? WHERE bucket = ?";
const STAYS_KNOWN: &str = "UPDATE sign_in_budgets SET full_at = full_at - ?, expires_at = ? WHERE bucket = ?";
const BECOMES_KNOWN: &str = "UPDATE sign_in_budgets SET full_at = ?, expires_at = ? WHERE bucket = ?";

impl Query for SettleAttempt {
    const ACCESS: Access = Access::Write;
    type Output = ();

    fn run(&self, session: &mut dyn Session) -> Result<(), StoreError> {
        let Self { buckets: Buckets { strangers, own }, whose, now } = *self;
        let period = Value::Int(PERIOD_SECS);
        let until = Value::Int(now.plus(KNOWN_SECS).0);
        if whose == Whose::Owner {
            return session.execute(STAYS_KNOWN, &[period, until, own.into()]).map(drop);
        }
        session.execute(GIVE_BACK, &[period, strangers.into()])?;
        let is_there = session.query(FIND, &[own.into(), own.into()])?.pop().is_some();
        if is_there {
            return session.execute(BECOMES_KNOWN, &[now.0.into(), until, own.into()]).map(drop);
        }
        match session.execute(OPEN, &[own.into(), now.0.into(), until]) {
            // Two sign-ins at once: the other one has made it known.
            Ok(_) | Err(StoreError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
