//! The use cases, one a file, and what they share. They know messages; they know no HTTP and no SQL.

pub mod attempts;
pub mod authenticator;
pub mod change_password;
pub mod gather;
pub mod identify;
pub mod judge_password;
pub mod open_session;
mod prove;
pub mod readiness;
pub mod register;
pub mod renew;
pub mod sign_in;
pub mod sign_out;
pub mod signing_keys;
mod turns;
mod used_up;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::Addr;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::accounts::attempts::AttemptMetrics;
use crate::accounts::authenticator::Authenticator;
use crate::accounts::gather::Gather;
use crate::accounts::turns::Turns;
use crate::domain::clock::Clock;
use crate::domain::password::{PasswordHash, PasswordRules};
use crate::domain::session::SessionId;
use crate::hashing::{self, HashError, HashExecutor};
use crate::pool::{Pool, PoolError, Slot};
use crate::store::standings::MAX_ANCHORS;
use crate::store::{Database, Query, StoreError};
use crate::tokens::{self, Keyring};

/// What the use cases need to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What new passwords must satisfy.
    pub rules: PasswordRules,
    /// Longest time that a request may take once its body has been read.
    pub deadline: Duration,
    /// How long sessions go on.
    pub sessions: SessionSettings,
    /// Whether attempts to sign in are counted; not for load tests.
    pub limits_attempts: bool,
}

/// How long sessions go on.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Seconds from the last renewal.
    pub idle_secs: i64,
    /// Seconds from the sign-in, however often it is renewed.
    pub max_secs: i64,
}

impl SessionSettings {
    /// Seconds that a session goes on from now: up to three percent less than the settings say, as its name has it, so
    /// that those who signed in together do not come back together.
    fn lifetime_secs(self, id: SessionId) -> i64 {
        let [share, ..] = id.0;
        self.idle_secs - self.idle_secs * 3 * i64::from(share) / (100 * 255)
    }
}

/// What all HTTP workers share: made once, at the start.
#[derive(Clone)]
pub struct Shared {
    /// The database workers.
    pub db: Database,
    /// The hash workers.
    pub hasher: Pool<HashExecutor>,
    /// The signing key.
    pub keyring: Arc<Keyring>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Verified against where there is no hash: same work, same answer.
    pub decoy: PasswordHash,
    /// As configured.
    pub settings: Settings,
    /// Set when the server begins to stop.
    pub is_stopping: Arc<AtomicBool>,
    turns: Arc<Turns>,
    attempts: Arc<attempts::Memory>,
    metrics: Metrics,
}

/// What the use cases are measured by.
#[derive(Clone)]
pub struct Metrics {
    batches: Histogram,
    attempts: AttemptMetrics,
}

impl Metrics {
    /// Makes them part of what `registry` tells.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let batches = Histogram::new((0..=MAX_ANCHORS.ilog2()).map(|power| f64::from(1_u32 << power)));
        registry.register(
            "lookup_batch_rows",
            "Sessions and users that one gathered look-up asked for",
            batches.clone(),
        );
        Self { batches, attempts: AttemptMetrics::register(registry) }
    }
}

impl Shared {
    /// Puts the parts together.
    ///
    /// Errors: [`HashError`] if the system gives no randomness.
    pub fn new(
        settings: Settings,
        db: Database,
        hasher: Pool<HashExecutor>,
        cost: hashing::Cost,
        keyring: Keyring,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, HashError> {
        Ok(Self {
            db,
            hasher,
            keyring: Arc::new(keyring),
            clock,
            decoy: hashing::decoy(cost)?,
            settings,
            is_stopping: Arc::default(),
            turns: Arc::default(),
            attempts: Arc::new(attempts::Memory::new()),
            metrics,
        })
    }
}

/// How long a request without a place waits before it is refused. Clients that try again without a pause would
/// otherwise spend the server's time on refusals: with it each costs forty a second and not thousands.
const REFUSAL_PAUSE: Duration = Duration::from_millis(25);

impl Shared {
    /// Takes a place among those who wait for a hash.
    ///
    /// Errors: [`Error::Overloaded`] after [`REFUSAL_PAUSE`] without one.
    async fn hash_place(&self) -> Result<Slot<HashExecutor>, Error> {
        match self.hasher.try_reserve() {
            Err(PoolError::Busy) => {
                tokio::time::sleep(REFUSAL_PAUSE).await;
                Ok(self.hasher.reserve()?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Writes what a sign-in can do without, so that it does not wait for it as long as a registration does (F-13).
    ///
    /// Errors: [`StoreError::Unavailable`] also when it takes too long; it may still happen then.
    async fn write_promptly<Q: Query>(&self, query: Q) -> Result<Q::Output, StoreError> {
        match tokio::time::timeout(self.settings.deadline / 4, self.db.call(query)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error @ (PoolError::Busy | PoolError::Stopping))) => Err(StoreError::Unavailable(error.to_string())),
            Ok(Err(error @ (PoolError::Panicked | PoolError::Gone))) => Err(StoreError::Bug(error.to_string())),
            Err(_) => Err(StoreError::Unavailable("no write in time".to_owned())),
        }
    }
}

/// Everything that a use case may reach. One an HTTP worker: the [`Authenticator`] runs on the same thread as the
/// requests that it answers.
pub struct Services {
    shared: Shared,
    authenticator: Addr<Authenticator>,
}

impl Services {
    /// Starts this thread's authenticator. Needs a running actix arbiter.
    #[must_use]
    pub fn start(shared: Shared) -> Self {
        let gather = Gather::new(shared.db.clone(), shared.settings.deadline, shared.metrics.batches.clone());
        let authenticator = authenticator::start(Arc::clone(&shared.keyring), gather);
        Self { shared, authenticator }
    }

    /// What new passwords must satisfy.
    #[must_use]
    pub fn rules(&self) -> PasswordRules {
        self.shared.settings.rules
    }

    /// The public signing keys, as a JWK set (RFC 7517 5).
    ///
    /// Errors: [`Error::Unavailable`] while they have not been read from the database.
    pub fn jwks(&self) -> Result<String, Error> {
        self.shared.keyring.jwks().ok_or_else(|| Error::Unavailable(authenticator::NO_KEYS.to_owned()))
    }

    /// Where clients find this server, if the settings say so: `iss` of its tokens.
    #[must_use]
    pub fn issuer_url(&self) -> Option<&str> {
        Some(self.shared.keyring.issuer()).filter(|issuer| *issuer != tokens::ISSUER)
    }

    /// Ends `work` at the deadline, whichever of its steps it is in.
    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(self.shared.settings.deadline, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Overloaded("the deadline passed".to_owned())),
        }
    }
}

/// Why a use case did not succeed. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another account has the address.
    #[error("email taken")]
    EmailTaken,
    /// Attackers would try this password early.
    #[error("password too common")]
    PasswordTooCommon {
        /// What to do about it, for the person who chose it.
        advice: String,
    },
    /// The refresh token is none of ours, was used before, or its session has ended: deliberately one case.
    #[error("refresh token refused")]
    BadGrant,
    /// No such account, wrong password, disabled: deliberately one case.
    #[error("incorrect email or password")]
    BadCredentials,
    /// So many attempts were made for this account that nobody looks at another one now, right or wrong.
    #[error("too many attempts: {budget}")]
    TooManyAttempts {
        /// What is used up, for the log.
        budget: &'static str,
        /// Seconds until there is some again.
        retry_after_secs: u64,
    },
    /// The token is not valid, or its user is gone or disabled.
    #[error("token refused")]
    TokenRefused,
    /// No room or no time: trying again in a moment helps.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// The database cannot serve now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A mistake of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Overloaded(error.to_string()),
            PoolError::Stopping => Self::Unavailable(error.to_string()),
            PoolError::Panicked | PoolError::Gone => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Lost(_) | StoreError::SchemaMissing(_) | StoreError::Retry(_) => {
                Self::Unavailable(error.to_string())
            }
            StoreError::Duplicate | StoreError::Corrupt(_) | StoreError::Bug(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        Self::Internal(error.to_string())
    }
}
