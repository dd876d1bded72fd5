//! How often one client may ask. A client is an IPv4 address or an IPv6 /64 (C-13, C-16, C-18).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};

use crate::domain::network::Network;
use crate::http::metrics::Metrics;
use crate::http::problem::Kind;
use crate::limits::{Budget, Limiters, UsedUp};

/// What is limited for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Whatever proves a password: each costs a hash.
    SignIn,
    /// Each costs a hash and leaves a row, and tells whether an address has an account.
    Register,
    /// Each costs some milliseconds of the hash workers.
    JudgePassword,
    /// Every request, these included.
    Request,
}

impl Action {
    pub(crate) const ALL: [Self; 4] = [Self::SignIn, Self::Register, Self::JudgePassword, Self::Request];

    /// For metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Register => "register",
            Self::JudgePassword => "judge_password",
            Self::Request => "request",
        }
    }

    /// Room for an office, a school or a mobile network behind one address, and little for a machine that guesses.
    fn budget(self) -> Budget {
        let (burst, period) = match self {
            Self::SignIn => (60, Duration::from_secs(2)),
            Self::Register => (20, Duration::from_secs(3 * 60)),
            Self::JudgePassword => (30, Duration::from_secs(1)),
            // A service that asks for each of its own requests is one client.
            Self::Request => (5000, Duration::from_millis(1)),
        };
        Budget { burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN), period }
    }
}

/// What is remembered at the same time, one for each client and action: 36 MB when twice as many have come.
const REMEMBERED: usize = 917_504;

/// The limits of all clients.
pub(crate) struct RateLimits {
    /// `None`: switched off.
    limiters: Option<Limiters<4>>,
    metrics: Metrics,
}

impl RateLimits {
    pub(crate) fn new(is_on: bool, metrics: Metrics) -> Self {
        Self { limiters: is_on.then(|| Limiters::new(Action::ALL.map(Action::budget), REMEMBERED)), metrics }
    }

    /// Counts one more `action` of the client at `address`.
    ///
    /// Errors: [`Kind::TooManyRequests`].
    pub(crate) fn take(&self, action: Action, address: IpAddr) -> Result<(), Kind> {
        let Some(limiters) = &self.limiters else { return Ok(()) };
        limiters.take(action as usize, Network::from(address)).map_err(|UsedUp { retry_after }| {
            self.metrics.limited(action.name());
            Kind::TooManyRequests { limit: action.name(), retry_after_secs: retry_after.as_secs() + 1 }
        })
    }
}

/// Where a request comes from; left in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// Of a request that came in through the envelope.
    pub(crate) fn of(request: &HttpRequest) -> IpAddr {
        // Elsewhere nobody is somebody in particular: all share one budget.
        request.extensions().get::<Self>().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.0)
    }
}
