//! Mixed requests at a steady pace from several clients, each of which writes down what it did and what it heard.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{self, Answer, Silence, Wire};
use crate::ledger::{Account, Action, Attempt, Ledger, Presented};
use crate::wait::pause;

/// As many clients as keep up the pace while each waits two seconds for its answer.
const CLIENTS: u32 = 24;

pub struct Load {
    address: Arc<Mutex<SocketAddr>>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Load {
    /// So many requests a second, until [`Load::stop`].
    pub fn start(address: SocketAddr, per_second: u32) -> Self {
        // Emails are new in each load, so that several can follow on one database.
        static LOADS: AtomicU32 = AtomicU32::new(0);
        let load = LOADS.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Mutex::new(address));
        let is_over = Arc::new(AtomicBool::new(false));
        let period = Duration::from_secs(1) * CLIENTS / per_second;
        let clients = (0..CLIENTS)
            .map(|number| {
                let (address, is_over) = (Arc::clone(&shared), Arc::clone(&is_over));
                let mut client = Client::new(load, number, address);
                std::thread::spawn(move || {
                    // Spread evenly, so that a second's requests do not come all at once.
                    let mut due = Instant::now() + period * number / CLIENTS;
                    while !is_over.load(Ordering::Relaxed) {
                        pause(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
                        if Instant::now() >= due {
                            client.next();
                            due = (due + period).max(Instant::now());
                        }
                    }
                    client.attempts
                })
            })
            .collect();
        Self { address: shared, is_over, clients }
    }

    /// The server is elsewhere now.
    pub fn turn_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    pub fn stop(self) -> Ledger {
        self.is_over.store(true, Ordering::Relaxed);
        let mut attempts: Vec<_> =
            self.clients.into_iter().flat_map(|client| client.join().expect("a client ends well")).collect();
        attempts.sort_by_key(|attempt| attempt.began);
        Ledger { attempts }
    }
}

/// Holds the load for a while and hands over what was written down.
pub fn hold(address: SocketAddr, per_second: u32, time: Duration) -> Ledger {
    let load = Load::start(address, per_second);
    pause(time);
    load.stop()
}

struct Client {
    load: u32,
    number: u32,
    address: Arc<Mutex<SocketAddr>>,
    /// Half of the clients keep their connection, half open one a request.
    kept: Option<(SocketAddr, Wire)>,
    turn: u32,
    /// Acknowledged ones.
    accounts: Vec<Account>,
    token: Option<String>,
    attempts: Vec<Attempt>,
}

impl Client {
    fn new(load: u32, number: u32, address: Arc<Mutex<SocketAddr>>) -> Self {
        let (turn, accounts, attempts) = (number, Vec::new(), Vec::new());
        Self { load, number, address, kept: None, turn, accounts, token: None, attempts }
    }

    fn next(&mut self) {
        self.turn += 1;
        let action = self.choose();
        let began = Instant::now();
        let outcome = self.send(&action);
        let attempt = Attempt { action, began, took: began.elapsed(), outcome };
        if let Ok(answer) = &attempt.outcome {
            match (&attempt.action, answer.status) {
                (Action::Register { account }, 201) => self.accounts.push(account.clone()),
                (Action::SignIn { is_right: true, .. }, 200) => self.token = Some(answer.token()),
                _ => {}
            }
        }
        self.attempts.push(attempt);
    }

    fn choose(&self) -> Action {
        let known = self.accounts.last().cloned();
        match (self.turn % 10, known, &self.token) {
            (1, Some(account), _) | (2, Some(account), None) => Action::SignIn { account, is_right: true },
            (2 | 5, _, Some(token)) => Action::Me { token: token.clone() },
            (3, ..) => Action::IsLogined { presented: Presented::Nothing },
            (4, Some(account), _) => Action::SignIn { account, is_right: false },
            (7, _, Some(token)) => Action::IsLogined { presented: Presented::Token(token.clone()) },
            (8, Some(account), _) => Action::RegisterTaken { account },
            (9, ..) => Action::IsLogined { presented: Presented::Forged },
            _ => Action::Register { account: self.new_account() },
        }
    }

    fn new_account(&self) -> Account {
        let Self { load, number, turn, .. } = self;
        Account {
            email: format!("l{load}-c{number}-t{turn}@example.com"),
            password: format!("violet {turn} anchor {number} meadow {load}"),
        }
    }

    fn send(&mut self, action: &Action) -> Result<Answer, Silence> {
        let address = *self.address.lock().unwrap();
        let request = action.request();
        if self.number % 2 == 0 {
            return client::send(address, &request);
        }
        let mut wire = match self.kept.take().filter(|(known, _)| *known == address) {
            Some((_, wire)) if !wire.is_closed() => wire,
            _ => Wire::open(address)?,
        };
        wire.send(&request)?;
        let answer = wire.answer()?;
        if !answer.closes() {
            self.kept = Some((address, wire));
        }
        Ok(answer)
    }
}
