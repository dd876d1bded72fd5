//! Every connection that is open, and what its client owes: a bound on how many there are, in all and from one
//! address, and on how long each may keep us waiting. Who waits for nothing but the client has to go first, so slow
//! and idle clients cannot keep others out (C-54, F-24, F-25).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::rt;
use futures_util::task::AtomicWaker;

use crate::domain::network::Network;
use crate::http::client_address::TrustedProxies;
use crate::http::metrics::ConnectionMetrics;

/// Longest time for the head of a request, from its first byte on (C-54).
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time between two requests of a connection, and for taking in some of an answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How often it is looked who is overdue.
const ROUND: Duration = Duration::from_millis(250);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// From one IPv4 address, or one IPv6 network of 64 bits; proxies of the operator's may have all.
    pub per_address: usize,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The client, to send a request or to take in an answer.
    Idle,
    /// The client, to go on with a head that it has begun.
    Head,
    /// The client, to go on with a body.
    Body,
    /// Us.
    Working,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Idle, Self::Head, Self::Body, Self::Working];
}

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// Nothing came for too long: closed without a word, unless something has come meanwhile.
    Idle = 1,
    /// The head took too long.
    Slow = 2,
    /// Others need the place.
    Crowded = 3,
}

/// One open connection, as its stream and its requests see it.
pub(crate) struct Connection {
    address: Network,
    phase: AtomicU8,
    /// When the phase began, in milliseconds of [`uptime`].
    since: AtomicU32,
    verdict: AtomicU8,
    /// Whether what comes in next is the beginning of a head, and not perhaps what is left of a body.
    expects_head: AtomicBool,
    /// Wakes the stream to hear the verdict.
    waker: AtomicWaker,
    all: Weak<Connections>,
}

/// Milliseconds on the monotonic clock; wraps after 49 days, which [`Connection::waits_for`] minds.
fn uptime() -> u32 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u32
}

impl Connection {
    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed)) % Phase::ALL.len()]
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.touch();
    }

    /// A request was answered; `had_body`: and some of its body may still come in.
    pub(crate) fn answered(&self, had_body: bool) {
        self.expects_head.store(!had_body, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    pub(crate) fn expects_head(&self) -> bool {
        self.expects_head.load(Ordering::Relaxed)
    }

    /// The phase begins anew: there was progress.
    pub(crate) fn touch(&self) {
        self.since.store(uptime(), Ordering::Relaxed);
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.verdict.load(Ordering::Relaxed) {
            1 => Some(Verdict::Idle),
            2 => Some(Verdict::Slow),
            3 => Some(Verdict::Crowded),
            _ => None,
        }
    }

    /// The client has asked for something after all.
    pub(crate) fn pardon(&self) {
        self.verdict.store(0, Ordering::Relaxed);
    }

    /// Has the stream woken when there is a verdict.
    pub(crate) fn wake_on_verdict(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    fn condemn(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Ordering::Relaxed);
        self.waker.wake();
    }

    fn waits_for(&self, now: u32) -> Duration {
        Duration::from_millis(now.wrapping_sub(self.since.load(Ordering::Relaxed)).into())
    }

    fn overdue(&self, now: u32) -> Option<Verdict> {
        match self.phase() {
            Phase::Idle if self.waits_for(now) > KEEP_ALIVE => Some(Verdict::Idle),
            Phase::Head if self.waits_for(now) > HEAD_TIMEOUT => Some(Verdict::Slow),
            // A body has a bound of its own, where it is read; our work has the deadline.
            Phase::Idle | Phase::Head | Phase::Body | Phase::Working => None,
        }
    }
}

/// All connections of the server.
pub(crate) struct Connections {
    limits: Limits,
    trusted_proxies: TrustedProxies,
    open: Mutex<Open>,
    metrics: ConnectionMetrics,
}

#[derive(Default)]
struct Open {
    /// By the address of the allocation, which is unique while the connection is open.
    all: HashMap<usize, Arc<Connection>>,
    by_address: HashMap<Network, usize>,
}

impl Open {
    fn count(&self, address: Network) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    fn add(&mut self, connection: &Arc<Connection>) {
        self.all.insert(Arc::as_ptr(connection).addr(), Arc::clone(connection));
        *self.by_address.entry(connection.address).or_default() += 1;
    }

    /// Does nothing for one that was removed before.
    fn remove(&mut self, connection: &Connection) {
        if self.all.remove(&std::ptr::from_ref(connection).addr()).is_none() {
            return;
        }
        if let Some(count) = self.by_address.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&connection.address);
            }
        }
    }

    /// Those that wait for their client, the longest waiting ones; `address`: from there only. A share of them at
    /// once, so that a flood of newcomers does not search all of them each time.
    fn idlest(&self, address: Option<Network>, share: usize) -> Vec<Arc<Connection>> {
        let now = uptime();
        let is_candidate = |connection: &&Arc<Connection>| {
            connection.phase() != Phase::Working && address.is_none_or(|address| connection.address == address)
        };
        let mut candidates: Vec<_> = self.all.values().filter(is_candidate).cloned().collect();
        candidates.sort_by_key(|connection| std::cmp::Reverse(connection.waits_for(now)));
        candidates.truncate(share);
        candidates
    }
}

impl Connections {
    pub(crate) fn new(limits: Limits, trusted_proxies: TrustedProxies, metrics: ConnectionMetrics) -> Arc<Self> {
        metrics.limit.set(i64::try_from(limits.total).unwrap_or(i64::MAX));
        Arc::new(Self { limits, trusted_proxies, open: Mutex::default(), metrics })
    }

    /// Lets a client in, if need be in place of those that have kept us waiting for longest. `None`: all connections
    /// that there may be are at work.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Connection>> {
        let is_proxy = self.trusted_proxies.contains(address);
        let address = Network::from(address);
        let mut open = self.lock();
        let is_full = open.all.len() >= self.limits.total;
        if is_full || (!is_proxy && open.count(address) >= self.limits.per_address) {
            let (from, limit) =
                if is_full { (None, self.limits.total) } else { (Some(address), self.limits.per_address) };
            let leaving = open.idlest(from, 1 + limit / 64);
            if leaving.is_empty() {
                self.metrics.refused.inc();
                return None;
            }
            for connection in leaving {
                open.remove(&connection);
                self.condemn(&connection, Verdict::Crowded);
            }
        }
        let connection = Arc::new(Connection {
            address,
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(uptime()),
            verdict: AtomicU8::new(0),
            expects_head: AtomicBool::new(true),
            waker: AtomicWaker::new(),
            all: Arc::downgrade(self),
        });
        open.add(&connection);
        self.metrics.open.set(i64::try_from(open.all.len()).unwrap_or(i64::MAX));
        Some(connection)
    }

    fn condemn(&self, connection: &Connection, verdict: Verdict) {
        connection.condemn(verdict);
        match verdict {
            Verdict::Idle => {}
            Verdict::Slow => drop(self.metrics.slow.inc()),
            Verdict::Crowded => drop(self.metrics.crowded_out.inc()),
        }
    }

    /// Closes what is overdue, round after round, for as long as the server lives.
    pub(crate) fn watch(self: &Arc<Self>) {
        let all = Arc::downgrade(self);
        rt::spawn(async move {
            loop {
                tokio::time::sleep(ROUND).await;
                let Some(all) = all.upgrade() else { return };
                all.close_overdue();
            }
        });
    }

    fn close_overdue(&self) {
        let now = uptime();
        for connection in self.lock().all.values().filter(|connection| connection.verdict().is_none()) {
            if let Some(verdict) = connection.overdue(now) {
                self.condemn(connection, verdict);
            }
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Closes those on which nothing has been asked for `time`.
    pub(crate) fn dismiss(&self, time: Duration) {
        let now = uptime();
        for connection in self.lock().all.values() {
            if connection.phase() == Phase::Idle && connection.waits_for(now) >= time {
                connection.condemn(Verdict::Idle);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic between two changes could at worst leave a count too high.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// What came in is no HTTP.
    pub(crate) fn is_malformed(&self) {
        if let Some(all) = self.all.upgrade() {
            all.metrics.malformed.inc();
        }
    }

    /// It was closed.
    pub(crate) fn closed(&self) {
        if let Some(all) = self.all.upgrade() {
            let mut open = all.lock();
            open.remove(self);
            all.metrics.open.set(i64::try_from(open.all.len()).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn connections(total: usize, per_address: usize) -> Arc<Connections> {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        Connections::new(Limits { total, per_address }, proxies, ConnectionMetrics::default())
    }

    fn waiting(connection: &Connection, seconds: u32) {
        connection.since.store(uptime().wrapping_sub(seconds * 1000), Ordering::Relaxed);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_who_has_waited_longest() {
        let all = connections(3, 3);
        let held: Vec<_> = (0..3).map(|_| all.admit(HOME).unwrap()).collect();
        held[0].enter(Phase::Working);
        waiting(&held[0], 100);
        waiting(&held[1], 1);
        held[2].enter(Phase::Body);
        waiting(&held[2], 2);
        let newcomer = all.admit(AWAY).unwrap();
        assert_eq!(held[2].verdict(), Some(Verdict::Crowded));
        assert_eq!((held[0].verdict(), held[1].verdict(), newcomer.verdict()), (None, None, None));
    }

    #[test]
    fn nobody_at_work_is_sent_away() {
        let all = connections(2, 2);
        let held: Vec<_> = (0..2).map(|_| all.admit(HOME).unwrap()).collect();
        held.iter().for_each(|connection| connection.enter(Phase::Working));
        assert!(all.admit(HOME).is_none());
        held[0].closed();
        assert!(all.admit(HOME).is_some());
    }

    #[test]
    fn one_address_can_only_crowd_out_itself() {
        let all = connections(10, 2);
        let other = all.admit(AWAY).unwrap();
        waiting(&other, 100);
        let own: Vec<_> = (0..4).map(|_| all.admit(HOME).unwrap()).collect();
        assert_eq!(other.verdict(), None);
        assert_eq!(own.iter().filter(|connection| connection.verdict().is_some()).count(), 2);
    }

    #[test]
    fn a_proxy_of_ours_may_have_all_connections() {
        let all = connections(10, 2);
        let held: Vec<_> = (0..10).map(|_| all.admit("10.0.0.1".parse().unwrap()).unwrap()).collect();
        assert!(held.iter().all(|connection| connection.verdict().is_none()));
        assert_eq!(all.count(), 10);
    }

    #[test]
    fn the_overdue_are_told_apart() {
        let all = connections(10, 10);
        let held: Vec<_> = (0..5).map(|_| all.admit(HOME).unwrap()).collect();
        for (connection, phase) in held.iter().zip([Phase::Idle, Phase::Head, Phase::Body, Phase::Working]) {
            connection.enter(phase);
            waiting(connection, 6);
        }
        held[4].enter(Phase::Head);
        all.close_overdue();
        let verdicts: Vec<_> = held.iter().map(|connection| connection.verdict()).collect();
        assert_eq!(verdicts, [Some(Verdict::Idle), Some(Verdict::Slow), None, None, None]);
    }

    #[test]
    fn only_the_silent_are_dismissed() {
        let all = connections(10, 10);
        let held: Vec<_> = (0..3).map(|_| all.admit(HOME).unwrap()).collect();
        waiting(&held[0], 2);
        held[1].enter(Phase::Working);
        waiting(&held[1], 2);
        all.dismiss(Duration::from_secs(1));
        assert_eq!([0, 1, 2].map(|at: usize| held[at].verdict().is_some()), [true, false, false]);
    }

    #[test]
    fn what_is_closed_is_forgotten() {
        let all = connections(10, 10);
        for _ in 0..100 {
            let connection = all.admit(HOME).unwrap();
            connection.closed();
            connection.closed();
        }
        let open = all.lock();
        assert!(open.all.is_empty() && open.by_address.is_empty());
    }
}
