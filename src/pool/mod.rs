//! Bounded admission to a pool of synchronous actors: the only way to reach an executor.
//!
//! actix bounds neither the mailbox nor the queue of a `SyncArbiter`, and a handler that panics ends its thread
//! for good. So the bound and the guard are ours: a [`Slot`] is taken before a message is sent and travels inside
//! it, and [`Admitted::run`] turns a panic into an answer.

mod metrics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Handler, Message, SyncArbiter, SyncContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pool::metrics::Gauges;

pub use crate::pool::metrics::Metrics;

/// Why an executor gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Every slot is taken: said at once, nothing was queued.
    #[error("no free slot")]
    Busy,
    /// The server is stopping and takes no more work.
    #[error("stopping")]
    Stopping,
    /// The work panicked; the worker goes on, whether the work took effect is unknown.
    #[error("the worker panicked")]
    Panicked,
    /// No worker is left to answer.
    #[error("the workers are gone")]
    Gone,
}

/// A pool of worker threads, each an `A`, and the number of messages it admits.
pub struct Pool<A: Actor<Context = SyncContext<A>>> {
    addr: Addr<A>,
    slots: Arc<Semaphore>,
    size: usize,
    lost: Arc<AtomicUsize>,
    gauges: Arc<Gauges>,
}

impl<A: Actor<Context = SyncContext<A>>> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Self {
            addr: self.addr.clone(),
            slots: Arc::clone(&self.slots),
            size: self.size,
            lost: Arc::clone(&self.lost),
            gauges: Arc::clone(&self.gauges),
        }
    }
}

/// Held by a worker for as long as its thread lives, so that [`Pool::is_whole`] can tell.
pub struct Presence(Arc<AtomicUsize>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A place in the pool, taken before the work is known: whoever holds one will be served.
pub struct Slot<A: Actor<Context = SyncContext<A>>> {
    addr: Addr<A>,
    permit: Permit,
}

/// A permit that is counted for as long as it is held.
struct Permit {
    _permit: OwnedSemaphorePermit,
    gauges: Arc<Gauges>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauges.in_use.dec();
    }
}

/// A message that holds its slot. Only [`Slot::call`] builds one, and executors handle nothing else, so going
/// around the bound does not compile. The slot is free again when the work has ended or was skipped, not when
/// the caller loses patience.
pub struct Admitted<M> {
    message: M,
    permit: Permit,
    sent: Instant,
}

impl<M> Admitted<M> {
    /// Does the work on a worker's thread. A panic ends the work and not the thread; whatever the work has left half
    /// done is dropped with it.
    pub(crate) fn run<T>(self, work: impl FnOnce(&M, Waited) -> T) -> Result<T, Panicked> {
        let Gauges { waits, runs, panics, .. } = &*self.permit.gauges;
        let waited = Waited(self.sent.elapsed());
        waits.observe(waited.0.as_secs_f64());
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&self.message, waited)));
        runs.observe(began.elapsed().as_secs_f64());
        outcome.map_err(|_| {
            panics.inc();
            Panicked
        })
    }
}

/// How long a message was in the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited(pub(crate) Duration);

impl<M: Message> Message for Admitted<M>
where
    M::Result: 'static,
{
    type Result = Result<M::Result, Panicked>;
}

/// What is left of work that panicked.
#[derive(Debug)]
pub struct Panicked;

impl<A: Actor<Context = SyncContext<A>>> Pool<A> {
    /// Starts `threads` workers named `name`, with room for `queue` messages that wait. Needs a running actix
    /// system. `worker` runs once on each thread and keeps the [`Presence`] inside the actor.
    pub fn start<F>(name: &'static str, threads: usize, queue: usize, metrics: &Metrics, worker: F) -> Self
    where
        F: Fn(Presence) -> A + Send + Sync + 'static,
    {
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lost);
        let addr = SyncArbiter::start_with_thread_builder(
            threads,
            move || std::thread::Builder::new().name(name.to_owned()),
            move || worker(Presence(Arc::clone(&counter))),
        );
        let size = threads + queue;
        let gauges = Arc::new(metrics.of_pool(name, size));
        Self { addr, slots: Arc::new(Semaphore::new(size)), size, lost, gauges }
    }

    /// Takes a slot if one is free.
    ///
    /// Errors: [`PoolError::Busy`] at once if none is, [`PoolError::Stopping`] after [`Pool::drain`].
    pub fn reserve(&self) -> Result<Slot<A>, PoolError> {
        self.try_reserve().inspect_err(|_| {
            self.gauges.refused.inc();
        })
    }

    /// The same for somebody who will ask again: no refusal is counted.
    pub fn try_reserve(&self) -> Result<Slot<A>, PoolError> {
        if self.slots.is_closed() {
            return Err(PoolError::Stopping);
        }
        let permit = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| PoolError::Busy)?;
        self.gauges.in_use.inc();
        Ok(Slot { addr: self.addr.clone(), permit: Permit { _permit: permit, gauges: Arc::clone(&self.gauges) } })
    }

    /// Takes a slot and sends `message`. Dropping the future drops the message if no worker has begun with it.
    ///
    /// Errors: as [`Pool::reserve`] and [`Slot::call`].
    pub async fn call<M>(&self, message: M) -> Result<M::Result, PoolError>
    where
        A: Handler<Admitted<M>>,
        M: Message + Send + 'static,
        M::Result: Send + 'static,
    {
        self.reserve()?.call(message).await
    }

    /// Whether no worker thread has ended. One that has yet to begin will find its work waiting.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost.load(Ordering::Relaxed) == 0
    }

    /// Waits until nothing is queued or running, then refuses everything.
    ///
    /// Errors: how many messages were still under way after `patience`.
    pub async fn drain(&self, patience: Duration) -> Result<(), usize> {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(patience, self.slots.acquire_many(all)).await;
        let under_way = self.size - self.slots.available_permits();
        self.slots.close();
        match drained {
            Ok(_) => Ok(()),
            Err(_) => Err(under_way),
        }
    }
}

impl<A: Actor<Context = SyncContext<A>>> Slot<A> {
    /// Sends `message` and waits for the answer, without a bound of its own: the request's deadline is around it.
    ///
    /// Errors: [`PoolError::Panicked`], [`PoolError::Gone`].
    pub async fn call<M>(self, message: M) -> Result<M::Result, PoolError>
    where
        A: Handler<Admitted<M>>,
        M: Message + Send + 'static,
        M::Result: Send + 'static,
    {
        match self.addr.send(Admitted { message, permit: self.permit, sent: Instant::now() }).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Panicked)) => Err(PoolError::Panicked),
            Err(_) => Err(PoolError::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Worker(#[expect(dead_code, reason = "held for its Drop")] Presence);

    impl Actor for Worker {
        type Context = SyncContext<Self>;
    }

    /// Waits for a word, then answers or panics.
    struct Job(Mutex<Receiver<bool>>);

    impl Message for Job {
        type Result = &'static str;
    }

    impl Handler<Admitted<Job>> for Worker {
        type Result = Result<&'static str, Panicked>;
        fn handle(&mut self, job: Admitted<Job>, _: &mut SyncContext<Self>) -> Self::Result {
            job.run(|job, _| {
                let well = job.0.lock().unwrap().recv().unwrap();
                assert!(well, "told to panic");
                "done"
            })
        }
    }

    fn job() -> (Sender<bool>, Job) {
        let (tell, told) = channel();
        (tell, Job(Mutex::new(told)))
    }

    /// F-28, T-2: N panics and one more leave N workers.
    #[actix_web::test]
    async fn panics_cost_an_answer_and_never_a_worker() {
        let pool = Pool::start("test", 2, 2, &Metrics::default(), Worker);
        for _ in 0..5 {
            let (tell, message) = job();
            tell.send(false).unwrap();
            assert_eq!(pool.call(message).await, Err(PoolError::Panicked));
        }
        let (tell, message) = job();
        tell.send(true).unwrap();
        assert_eq!(pool.call(message).await, Ok("done"));
        assert!(pool.is_whole());
    }

    #[actix_web::test]
    async fn a_full_pool_says_busy_at_once_and_a_slot_is_free_when_its_work_ends() {
        let pool = Pool::start("test", 1, 1, &Metrics::default(), Worker);
        let (tell_first, first) = job();
        let (tell_second, second) = job();
        let first = actix_web::rt::spawn({
            let pool = pool.clone();
            async move { pool.call(first).await }
        });
        let second = actix_web::rt::spawn({
            let pool = pool.clone();
            async move { pool.call(second).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.call(job().1).await, Err(PoolError::Busy));
        tell_first.send(true).unwrap();
        assert_eq!(first.await.unwrap(), Ok("done"));
        tell_second.send(true).unwrap();
        assert_eq!(second.await.unwrap(), Ok("done"));
        assert_eq!(pool.drain(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(pool.call(job().1).await, Err(PoolError::Stopping));
    }

    /// F-22: the caller is gone before the work begins, so the work is skipped and its slot comes back.
    #[actix_web::test]
    async fn queued_work_of_a_caller_who_left_is_skipped() {
        let pool = Pool::start("test", 1, 1, &Metrics::default(), Worker);
        let (tell, running) = job();
        let running = actix_web::rt::spawn({
            let pool = pool.clone();
            async move { pool.call(running).await }
        });
        tokio::task::yield_now().await;
        let (never_told, queued) = job();
        let queued = actix_web::rt::spawn({
            let pool = pool.clone();
            async move { pool.call(queued).await }
        });
        tokio::task::yield_now().await;
        queued.abort();
        assert!(queued.await.is_err());
        tell.send(true).unwrap();
        assert_eq!(running.await.unwrap(), Ok("done"));
        // Had the queued job run, it would wait for `never_told` and the pool could not drain.
        assert_eq!(pool.drain(Duration::from_secs(5)).await, Ok(()));
        drop(never_told);
    }

    #[actix_web::test]
    async fn drain_counts_what_it_had_to_abandon() {
        let pool = Pool::start("test", 1, 1, &Metrics::default(), Worker);
        let (tell, message) = job();
        let running = actix_web::rt::spawn({
            let pool = pool.clone();
            async move { pool.call(message).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.drain(Duration::from_millis(20)).await, Err(1));
        tell.send(true).unwrap();
        assert_eq!(running.await.unwrap(), Ok("done"));
    }
}
