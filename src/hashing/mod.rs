//! Passwords are hashed here and nowhere else: in a pool of its own, bounded in threads, memory and queue, at lower
//! priority than everything that answers requests.

mod scrypt;
mod strength;

use std::time::Duration;

use actix::{Actor, Handler, Message, SyncContext};

use crate::domain::password::{Password, PasswordHash};
use crate::pool::{self, Admitted, Panicked, Pool, Presence};

pub use crate::hashing::scrypt::{Cost, CostError, HashError, Verdict, decoy};
pub use crate::hashing::strength::TooCommon;

/// How much nicer hash threads are than the rest. Measured: at 10 the readers' p99 in a login storm is that of a
/// quiet server, at 0 it is ten times as long, and logins lose nothing.
const NICENESS: i32 = 10;
/// Work that one thread does in a second, on the slow side; sizes the queue. 2^15 * 8 * 3 blocks took 158 ms on
/// the machine that the targets were set on, and the same in 250 ms is assumed.
const WORK_PER_SECOND: u64 = 4 * (1 << 15) * 8 * 3;

/// What the pool needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Cost of new hashes; another one makes a stored hash stale.
    pub cost: Cost,
    /// Worker threads; memory is at most this many times [`Cost::memory`].
    pub threads: usize,
    /// Longest time that a queued login may wait; decides the length of the queue.
    pub patience: Duration,
}

impl Settings {
    /// Starts the workers. Needs a running actix system.
    #[must_use]
    pub fn start(self, metrics: &pool::Metrics) -> Pool<HashExecutor> {
        let cost = self.cost;
        let worker = move |presence| HashExecutor { cost, _presence: presence };
        Pool::start("hash", self.threads, self.queue(), metrics, worker)
    }

    /// As many messages as all threads finish within the patience: one more would wait in vain.
    fn queue(self) -> usize {
        let hashes_per_second = WORK_PER_SECOND as f64 / self.cost.work() as f64 * self.threads as f64;
        (hashes_per_second * self.patience.as_secs_f64()).clamp(1.0, 10_000.0) as usize
    }
}

/// A hash worker: one thread, one hash at a time.
pub struct HashExecutor {
    cost: Cost,
    _presence: Presence,
}

impl Actor for HashExecutor {
    type Context = SyncContext<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        // On Linux niceness belongs to a thread, named by its id. Not vital: log and go on.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
            tracing::warn!(%error, "hash threads run at normal priority");
        }
    }
}

/// Work for a hash worker.
pub trait HashJob: Message + Send + 'static {
    /// Does it, for a server whose new hashes have `cost`.
    fn run(&self, cost: Cost) -> Self::Result;
}

impl<J: HashJob> Handler<Admitted<J>> for HashExecutor
where
    J::Result: Send,
{
    type Result = Result<J::Result, Panicked>;

    fn handle(&mut self, job: Admitted<J>, _: &mut SyncContext<Self>) -> Self::Result {
        job.run(|job, _| job.run(self.cost))
    }
}

/// Hashes a password at today's cost.
#[derive(Debug, Message)]
#[rtype(result = "Result<PasswordHash, HashError>")]
pub struct HashPassword {
    /// The password.
    pub password: Password,
}

impl HashJob for HashPassword {
    fn run(&self, cost: Cost) -> Result<PasswordHash, HashError> {
        scrypt::hash(&self.password, cost)
    }
}

/// Hashes a new password unless it is too easy to guess.
#[derive(Debug, Message)]
#[rtype(result = "Result<Result<PasswordHash, TooCommon>, HashError>")]
pub struct HashNewPassword(pub JudgePassword);

impl HashJob for HashNewPassword {
    fn run(&self, cost: Cost) -> Result<Result<PasswordHash, TooCommon>, HashError> {
        match self.0.run(cost) {
            Ok(()) => scrypt::hash(&self.0.password, cost).map(Ok),
            Err(too_common) => Ok(Err(too_common)),
        }
    }
}

/// Judges whether a new password is too easy to guess, and hashes nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), TooCommon>")]
pub struct JudgePassword {
    /// The password.
    pub password: Password,
    /// What an attacker would try for this person, such as the email address.
    pub context: Vec<String>,
}

impl HashJob for JudgePassword {
    fn run(&self, _: Cost) -> Result<(), TooCommon> {
        let context: Vec<&str> = self.context.iter().map(String::as_str).collect();
        strength::judge(&self.password, &context)
    }
}

/// Checks a password against a stored hash.
#[derive(Debug, Message)]
#[rtype(result = "Result<Verdict, HashError>")]
pub struct VerifyPassword {
    /// The password that was typed.
    pub password: Password,
    /// The account's hash, or the decoy where there is none.
    pub hash: PasswordHash,
    /// What to verify against when `hash` is unusable, so that a damaged row takes as long as any other.
    pub decoy: PasswordHash,
}

impl HashJob for VerifyPassword {
    fn run(&self, cost: Cost) -> Result<Verdict, HashError> {
        match scrypt::verify(&self.password, &self.hash, cost)? {
            Verdict::Unusable => scrypt::verify(&self.password, &self.decoy, cost).map(|_| Verdict::Unusable),
            verdict => Ok(verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_what_finishes_in_time() {
        let settings = Settings { cost: Cost::new(15, 8, 3).unwrap(), threads: 2, patience: Duration::from_secs(4) };
        assert_eq!(settings.queue(), 32);
        let dear = Settings { cost: Cost::new(17, 8, 8).unwrap(), threads: 1, patience: Duration::from_secs(1) };
        assert_eq!(dear.queue(), 1, "never none: somebody may wait");
    }
}
