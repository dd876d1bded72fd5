//! Attempts to prove who one is, counted before anything is done for them: per account, for all nodes together (C-14),
//! and so that strangers can use up the strangers' budget and never the owner's (C-15).

use std::num::NonZeroU32;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::accounts::used_up;
use crate::accounts::{Error, Shared};
use crate::domain::clock::{Gate, UnixTime};
use crate::domain::email::Email;
use crate::domain::network::Network;
use crate::domain::password::Password;
use crate::limits::{Budget, Limiters, UsedUp};
use crate::store::StoreError;
use crate::store::budgets::{
    BURST, Bucket, Buckets, CountAttempt, Counting, FindBudget, PERIOD_SECS, RetryAfterSecs, SettleAttempt, Whose,
};

/// What somebody typed, and where.
#[derive(Debug)]
pub struct Attempt {
    /// Who they say they are.
    pub username: Username,
    /// The password, if it can be one. Without one an attempt costs as much as any other.
    pub password: Option<Password>,
    /// Where they are.
    pub network: Network,
}

/// Who somebody says to be.
#[derive(Debug)]
pub enum Username {
    /// An address; an account may have it.
    Email(Email),
    /// Something else, which no account has.
    Other(String),
}

impl Username {
    /// Takes whatever was typed.
    #[must_use]
    pub fn parse(typed: String) -> Self {
        Email::parse(&typed).map_or(Self::Other(typed), Self::Email)
    }

    /// What attempts are counted by: one name for all spellings of an address (C-17).
    fn name(&self) -> &str {
        match self {
            Self::Email(email) => email.key(),
            Self::Other(typed) => typed,
        }
    }
}

/// An attempt that was counted: only such a one is worth a hash.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Counted {
    buckets: Buckets,
    book: Book,
}

/// Where it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Book {
    /// In the database.
    Database(Whose),
    /// In this node's memory, since the database takes no writes (F-08).
    Memory(Whose),
    /// Nowhere: the limits are off.
    None,
}

impl Counted {
    /// What is to be written now that the attempt turned out to be the owner's.
    pub(super) fn settlement(&self, now: UnixTime) -> Option<SettleAttempt> {
        match self.book {
            Book::Database(whose) => Some(SettleAttempt { buckets: self.buckets, whose, now }),
            Book::Memory(_) | Book::None => None,
        }
    }

    /// Whether the database took the write just now.
    pub(super) fn was_written(&self) -> bool {
        !matches!(self.book, Book::Memory(_))
    }
}

/// What a node remembers of attempts.
pub(super) struct Memory {
    /// Those that were counted here while the database took no writes.
    counts: Limiters<1>,
    used_up: used_up::UsedUp,
}

/// Names that are remembered. Each attempt that is counted costs a hash, so no flood comes near.
const NAMES: usize = 57_344;

impl Memory {
    pub(super) fn new() -> Self {
        let burst = u32::try_from(BURST).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let budget = Budget { burst, period: Duration::from_secs(PERIOD_SECS.unsigned_abs()) };
        Self { counts: Limiters::new([budget], NAMES), used_up: used_up::UsedUp::default() }
    }

    /// Undoes a count, if it was counted here.
    pub(super) fn give_back(&self, counted: &Counted) {
        if let Book::Memory(whose) = counted.book {
            self.counts.give_back(0, counted.buckets.get(whose));
        }
    }
}

/// The budgets that an attempt may be counted against.
pub(super) fn buckets(shared: &Shared, attempt: &Attempt) -> Buckets {
    let bucket = |network: &str| Bucket(shared.keyring.pseudonym(&[attempt.username.name(), network]));
    Buckets { strangers: bucket(""), own: bucket(&attempt.network.to_string()) }
}

/// Refuses whoever would be refused anyway, before they take a place from anybody. Counts nothing.
///
/// Errors: as [`count`].
pub(super) async fn turn_away(shared: &Shared, buckets: Buckets) -> Result<(), Error> {
    let now = shared.clock.now();
    if !shared.settings.limits_attempts || !shared.attempts.used_up.may_hold(&buckets, now) {
        return Ok(());
    }
    let budget = shared.db.call(FindBudget { buckets, now }).await??;
    match budget.wait_secs(now) {
        0 => Ok(()),
        secs => Err(over(shared, buckets, budget.whose, now, secs)),
    }
}

/// Counts an attempt.
///
/// Errors: [`Error::TooManyAttempts`]; and what overload and outages bring.
pub(super) async fn count(shared: &Shared, buckets: Buckets) -> Result<Counted, Error> {
    let counted = |book| Ok(Counted { buckets, book });
    if !shared.settings.limits_attempts {
        return counted(Book::None);
    }
    let now = shared.clock.now();
    match shared.write_promptly(CountAttempt { buckets, now }).await {
        Ok(Counting::Counted(whose)) => counted(Book::Database(whose)),
        Ok(Counting::Over(whose, RetryAfterSecs(secs))) => Err(over(shared, buckets, whose, now, secs)),
        Err(StoreError::Unavailable(cause) | StoreError::Lost(cause)) => {
            static GATE: Gate = Gate::per_second(1);
            if GATE.passes().is_some() {
                tracing::warn!(cause, "attempts to sign in are counted in memory: the database takes no writes");
            }
            let budget = shared.db.call(FindBudget { buckets, now }).await??;
            let whose = budget.whose;
            let in_database = budget.wait_secs(now);
            if in_database > 0 {
                return Err(over(shared, buckets, whose, now, in_database));
            }
            shared.metrics.attempts.in_memory.inc();
            match shared.attempts.counts.take(0, buckets.get(whose)) {
                Ok(()) => counted(Book::Memory(whose)),
                Err(UsedUp { retry_after }) => {
                    let secs = i64::try_from(retry_after.as_secs()).unwrap_or(PERIOD_SECS);
                    Err(over(shared, buckets, whose, now, secs + 1))
                }
            }
        }
        // Others count at the same moment: there is a database, and another book would be another budget.
        Err(error) => Err(error.into()),
    }
}

fn over(shared: &Shared, buckets: Buckets, whose: Whose, now: UnixTime, secs: i64) -> Error {
    shared.attempts.used_up.remember(buckets.get(whose), now.plus(secs));
    let budget = match whose {
        Whose::Strangers => "account, from networks that are not the owner's",
        Whose::Owner => "account, from a network of the owner's",
    };
    shared.metrics.attempts.refused.get_or_create(&label(whose)).inc();
    Error::TooManyAttempts { budget, retry_after_secs: secs.unsigned_abs() }
}

/// What attempts are measured by.
#[derive(Clone, Default)]
pub(super) struct AttemptMetrics {
    refused: Family<BudgetLabel, Counter>,
    in_memory: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabel {
    budget: &'static str,
}

fn label(whose: Whose) -> BudgetLabel {
    let budget = match whose {
        Whose::Strangers => "strangers",
        Whose::Owner => "owner",
    };
    BudgetLabel { budget }
}

impl AttemptMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        // Made at the start: an alert on the increase of a series misses its first event otherwise.
        for whose in [Whose::Strangers, Whose::Owner] {
            drop(new.refused.get_or_create(&label(whose)));
        }
        registry.register(
            "sign_in_attempts_refused",
            "Attempts to sign in that were refused because the account's budget was used up, by whose it was",
            new.refused.clone(),
        );
        registry.register(
            "sign_in_attempts_in_memory",
            "Attempts to sign in that were counted in memory because the database took no writes",
            new.in_memory.clone(),
        );
        new
    }
}
