//! Many connections that do little, on one thread: what slowloris and forgotten tabs look like from the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wait::pause;

pub struct Member {
    stream: TcpStream,
    began: Instant,
    pub heard: Vec<u8>,
    /// How long it stayed open, once it is not.
    pub closed_after: Option<Duration>,
}

pub struct Crowd(pub Vec<Member>);

/// As many descriptors as the system lets us have; the servers that are started inherit it.
pub fn raise_the_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

impl Crowd {
    /// Each says `first` at once.
    pub fn connect(address: SocketAddr, count: usize, first: &[u8]) -> Self {
        raise_the_limit();
        let members = (0..count).map(|_| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
            let _ = stream.write_all(first);
            stream.set_nonblocking(true).unwrap();
            Member { stream, began: Instant::now(), heard: Vec::new(), closed_after: None }
        });
        Self(members.collect())
    }

    /// Once more to each; the time of each begins anew.
    pub fn say(&mut self, bytes: &[u8]) {
        for member in &mut self.0 {
            let _ = member.stream.write_all(bytes);
            member.began = Instant::now();
        }
    }

    /// One byte a second to each that is open, and nothing when `byte` is `None`, until none is or time is over.
    pub fn trickle(&mut self, byte: Option<u8>, time: Duration) {
        let began = Instant::now();
        let mut due = began;
        while began.elapsed() < time && self.open() > 0 {
            let is_due = Instant::now() >= due;
            if is_due {
                due += Duration::from_secs(1);
            }
            for member in self.0.iter_mut().filter(|member| member.closed_after.is_none()) {
                if is_due && let Some(byte) = byte {
                    let _ = member.stream.write(&[byte]);
                }
                member.listen();
            }
            pause(Duration::from_millis(50));
        }
    }

    pub fn open(&self) -> usize {
        self.0.iter().filter(|member| member.closed_after.is_none()).count()
    }

    /// How many were told `status` last.
    pub fn told(&self, status: &str) -> usize {
        self.0.iter().filter(|member| member.last_status() == Some(status.as_bytes())).count()
    }

    pub fn longest(&self) -> Duration {
        self.0.iter().filter_map(|member| member.closed_after).max().unwrap_or_default()
    }

    pub fn shortest(&self) -> Duration {
        self.0.iter().filter_map(|member| member.closed_after).min().unwrap_or_default()
    }
}

impl Member {
    fn last_status(&self) -> Option<&[u8]> {
        let mark = b"HTTP/1.1 ";
        let at = self.heard.windows(mark.len()).rposition(|window| window == mark)?;
        self.heard.get(at + mark.len()..at + mark.len() + 3)
    }

    fn listen(&mut self) {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count @ 1..) => self.heard.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Closed, in order or not.
                _ => {
                    self.closed_after = Some(self.began.elapsed());
                    return;
                }
            }
        }
    }
}
