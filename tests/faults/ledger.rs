//! What was tried and what was answered, and the six rules by which both are judged afterwards:
//! L1 every acknowledged 201 is in the database and can log in; L2 one row an email at most; L3 no row without a valid
//! hash and none that nobody attempted; L4 what was not acknowledged can be tried again, with 201 or 409; L5 nobody
//! gets a token with a wrong password; L6 every request is answered in time, or its connection refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{self, Answer, Silence};
use crate::scene::Row;
use crate::wait::pause;

/// The request deadline and the half second beyond it, and another second because this machine has others to serve.
pub const DEADLINE: Duration = Duration::from_millis(6500);
/// How long a server that has recovered may go on to refuse a retry.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub email: String,
    pub password: String,
}

#[derive(Clone, Debug)]
pub enum Presented {
    Nothing,
    Forged,
    Token(String),
}

#[derive(Clone, Debug)]
pub enum Action {
    Register {
        account: Account,
    },
    /// An address that has an account, with another password.
    RegisterTaken {
        account: Account,
    },
    SignIn {
        account: Account,
        is_right: bool,
    },
    Me {
        token: String,
    },
    IsLogined {
        presented: Presented,
    },
}

impl Action {
    pub fn request(&self) -> Vec<u8> {
        let bearer =
            |path, token: &str| client::request("GET", path, &[("authorization", &format!("Bearer {token}"))], b"");
        match self {
            Self::Register { account } => client::registration(&account.email, &account.password),
            Self::RegisterTaken { account } => client::registration(&account.email, "the password of a usurper"),
            Self::SignIn { account, is_right: true } => client::grant(&account.email, &account.password),
            Self::SignIn { account, is_right: false } => client::grant(&account.email, "the guess of an intruder"),
            Self::Me { token } => bearer("/api/user/me", token),
            Self::IsLogined { presented: Presented::Token(token) } => bearer("/api/is_logined", token),
            Self::IsLogined { presented: Presented::Forged } => bearer("/api/is_logined", "e30.e30.forged"),
            Self::IsLogined { presented: Presented::Nothing } => client::request("GET", "/api/is_logined", &[], b""),
        }
    }

    pub fn needs_database(&self) -> bool {
        !matches!(self, Self::IsLogined { presented: Presented::Nothing | Presented::Forged })
    }

    /// Whether it only reads, once the database is asked.
    pub fn is_read(&self) -> bool {
        !matches!(self, Self::Register { .. })
    }

    /// Whether it opens a session, if it can be written, and goes on without.
    pub fn is_sign_in(&self) -> bool {
        matches!(self, Self::SignIn { is_right: true, .. })
    }

    /// The answer when all is well.
    fn wanted(&self) -> u16 {
        match self {
            Self::Register { .. } => 201,
            Self::RegisterTaken { .. } => 409,
            Self::SignIn { is_right: false, .. } => 401,
            Self::SignIn { .. } | Self::Me { .. } | Self::IsLogined { .. } => 200,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub action: Action,
    pub began: Instant,
    pub took: Duration,
    pub outcome: Result<Answer, Silence>,
}

impl Attempt {
    pub fn status(&self) -> Option<u16> {
        self.outcome.as_ref().ok().map(|answer| answer.status)
    }

    /// Answered as if nothing were wrong.
    pub fn is_well(&self) -> bool {
        self.status() == Some(self.action.wanted())
    }

    pub fn ended(&self) -> Instant {
        self.began + self.took
    }

    /// What is wrong with the answer, whatever the fault.
    fn complaint(&self) -> Option<String> {
        let answer = match &self.outcome {
            // Refused is an answer: the client knows that nothing happened.
            Err(Silence::Refused) => return None,
            Err(silence) => return Some(format!("L6: {silence:?} after {:?}: {:?}", self.took, self.action)),
            Ok(answer) => answer,
        };
        let wrong = |rule| Some(format!("{rule}: {:?} was answered {answer:?}", self.action));
        match (&self.action, answer.status) {
            _ if self.took > DEADLINE => wrong("L6, too late"),
            (Action::SignIn { is_right: false, .. }, 200) => wrong("L5"),
            (Action::RegisterTaken { .. }, 201) => wrong("L2"),
            (Action::IsLogined { presented }, 200) => {
                let is_true = matches!(presented, Presented::Token(_));
                if answer.json()["is_logined"] == is_true { None } else { wrong("a wrong verdict") }
            }
            (action, 503) if !action.needs_database() => wrong("asks no database"),
            (_, 503) if answer.header("retry-after").is_none() => wrong("503 without Retry-After"),
            (_, 503) => None,
            (action, status) if status == action.wanted() => None,
            _ => wrong("contract"),
        }
    }
}

pub struct Ledger {
    /// In the order in which they began.
    pub attempts: Vec<Attempt>,
}

/// What the rules found.
#[derive(Default)]
pub struct Verdict {
    pub complaints: Vec<String>,
    /// Acknowledged accounts that are not there, or that nobody can log in to.
    pub lost: usize,
}

impl Verdict {
    pub fn expect_clean(&self) {
        let (count, first) = (self.complaints.len(), self.complaints.iter().take(10).cloned().collect::<Vec<_>>());
        assert!(count == 0, "{count} complaints, {} lost; the first:\n{}", self.lost, first.join("\n"));
    }
}

impl Ledger {
    pub fn select(&self, choose: impl Fn(&Attempt) -> bool) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| choose(attempt))
    }

    pub fn count(&self, choose: impl Fn(&Attempt) -> bool) -> usize {
        self.select(choose).count()
    }

    /// From `moment` until the first good answer that needed the database.
    pub fn first_good_after(&self, moment: Instant) -> Duration {
        let good = self.select(|attempt| attempt.action.needs_database() && attempt.is_well());
        let ends = good.map(Attempt::ended).filter(|ended| *ended >= moment);
        ends.min().expect("it recovered at all").duration_since(moment)
    }

    /// From `moment` until the start of the last request that did not get what it should.
    pub fn last_bad_after(&self, moment: Instant) -> Duration {
        let bad = self.select(|attempt| !attempt.is_well()).map(|attempt| attempt.began);
        bad.max().map_or(Duration::ZERO, |began| began.saturating_duration_since(moment))
    }

    pub fn slowest(&self, choose: impl Fn(&Attempt) -> bool) -> Duration {
        self.select(choose).map(|attempt| attempt.took).max().unwrap_or_default()
    }

    /// What is wrong with the answers themselves: L5, L6 and the contract. While the server itself is being killed,
    /// silence is nobody's fault.
    pub fn complaints(&self, may_be_silent: impl Fn(&Attempt) -> bool) -> Vec<String> {
        let judged = self.select(|attempt| attempt.outcome.is_ok() || !may_be_silent(attempt));
        judged.filter_map(Attempt::complaint).collect()
    }

    fn accounts(&self, choose: impl Fn(&Attempt) -> bool) -> BTreeMap<&str, &Account> {
        let chosen = self.select(choose).filter_map(|attempt| match &attempt.action {
            Action::Register { account } => Some((&*account.email, account)),
            _ => None,
        });
        chosen.collect()
    }

    /// Judges everything, with the database as it is now: call it when the fault is over.
    pub fn settle(&self, address: SocketAddr, rows: impl Fn() -> Vec<Row>) -> Verdict {
        self.settle_with(address, rows, |_| false)
    }

    pub fn settle_with(
        &self,
        address: SocketAddr,
        rows: impl Fn() -> Vec<Row>,
        may_be_silent: impl Fn(&Attempt) -> bool,
    ) -> Verdict {
        let mut complaints = self.complaints(may_be_silent);
        let acknowledged = self.accounts(|attempt| attempt.status() == Some(201));
        let attempted = self.accounts(|_| true);
        let before = rows();
        let there: BTreeMap<_, _> = before.iter().map(|row| (&*row.email, row)).collect();
        let absent: BTreeSet<_> = acknowledged.keys().filter(|email| !there.contains_key(*email)).copied().collect();
        complaints.extend(absent.iter().map(|email| format!("L1: {email} was acknowledged and is not there")));
        for attempt in self.select(|attempt| attempt.status() == Some(201)) {
            let (Action::Register { account }, Ok(answer)) = (&attempt.action, &attempt.outcome) else { continue };
            if there.get(&*account.email).is_some_and(|row| answer.json()["id"] != row.id) {
                complaints.push(format!("L1: {} has another id than {answer:?}", account.email));
            }
        }
        complaints.extend(judge_rows(&before, |email| attempted.contains_key(email)));
        // L4: whether it is there or not, trying again ends well.
        let unacknowledged: Vec<_> = attempted.values().filter(|a| !acknowledged.contains_key(&*a.email)).collect();
        complaints.extend(each(&unacknowledged, |account| {
            let known = there.contains_key(&*account.email);
            let status = persistent(|| client::register(address, &account.email, &account.password));
            let is_right = status == if known { Ok(409) } else { Ok(201) };
            (!is_right).then(|| format!("L4: {} (there: {known}) tried again: {status:?}", account.email))
        }));
        // L1, L3: every account that anybody attempted is there now, and its password opens it.
        let everybody: Vec<_> = attempted.values().collect();
        let locked_out = AtomicUsize::new(0);
        complaints.extend(each(&everybody, |account| {
            let status = persistent(|| client::sign_in(address, &account.email, &account.password));
            if status != Ok(200) && acknowledged.contains_key(&*account.email) && !absent.contains(&*account.email) {
                locked_out.fetch_add(1, Ordering::Relaxed);
            }
            (status != Ok(200)).then(|| format!("L1: {} signs in: {status:?}", account.email))
        }));
        complaints.extend(judge_rows(&rows(), |email| attempted.contains_key(email)));
        Verdict { complaints, lost: absent.len() + locked_out.into_inner() }
    }
}

/// L2 and L3.
fn judge_rows(rows: &[Row], is_attempted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut keys = BTreeSet::new();
    for row in rows {
        if !keys.insert(&row.email_key) {
            complaints.push(format!("L2: {} is there twice", row.email));
        }
        if !is_attempted(&row.email) {
            complaints.push(format!("L3: nobody attempted {}", row.email));
        }
        let parts = row.hash.as_deref().map(|hash| hash.split('$').collect::<Vec<_>>());
        if !matches!(parts.as_deref(), Some(["", "scrypt", _, salt, hash]) if salt.len() >= 22 && hash.len() >= 43) {
            complaints.push(format!("L3: {} has no valid hash", row.email));
        }
    }
    complaints
}

/// The status, once it is not 503 any more; a 503 that never ends is one as well.
fn persistent(ask: impl Fn() -> Result<Answer, Silence>) -> Result<u16, Silence> {
    let began = Instant::now();
    loop {
        let status = ask().map(|answer| answer.status);
        if status != Ok(503) || began.elapsed() > PATIENCE {
            return status;
        }
        pause(Duration::from_millis(50));
    }
}

/// Eight at a time.
fn each<T: Sync>(all: &[T], check: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(complaint) = check(one) {
                        complaints.lock().unwrap().push(complaint);
                    }
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}
