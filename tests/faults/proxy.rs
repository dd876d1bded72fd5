//! A TCP proxy in front of the database that damages the line on request.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::wait::pause;

/// What happens to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Clear,
    /// New connections are reset.
    Refusing,
    /// Nothing passes, everything stays open.
    Frozen,
    /// Each direction takes this much longer.
    Slow(Duration),
    /// The request to COMMIT does not arrive, and the connection is cut.
    CutBeforeCommit,
    /// The request to COMMIT arrives and is carried out; the connection is cut instead of the answer.
    CutAfterCommit,
    /// Answers keep their packets' framing and say nonsense.
    Garbage,
}

struct Shared {
    target: SocketAddr,
    line: Mutex<Line>,
    /// Both ends of each connection.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    /// How often the fault took place: a row whose fault never happened has shown nothing.
    hits: AtomicUsize,
    is_over: AtomicBool,
    noise: AtomicU16,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: SocketAddr::from(([127, 0, 0, 1], port)),
            line: Mutex::new(Line::Clear),
            open: Mutex::default(),
            hits: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            noise: AtomicU16::new(1),
        });
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    if shared.is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    shared.connect(client.unwrap());
                }
            }
        });
        Self { port: own, shared }
    }

    pub fn set(&self, line: Line) {
        *self.shared.line.lock().unwrap() = line;
    }

    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::Relaxed)
    }

    /// Resets every connection.
    pub fn cut_all(&self) {
        for (client, server) in self.shared.open.lock().unwrap().drain(..) {
            cut(&client, &server);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.cut_all();
        // Wakes the one who accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn reset(stream: &TcpStream) {
    // Lingering for no time makes the close a reset; the shutdown wakes whoever reads.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn cut(client: &TcpStream, server: &TcpStream) {
    reset(client);
    reset(server);
}

impl Shared {
    fn line(&self) -> Line {
        *self.line.lock().unwrap()
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        let server = if self.line() == Line::Refusing { None } else { TcpStream::connect(self.target).ok() };
        let Some(server) = server else {
            return reset(&client);
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        self.open.lock().unwrap().push((client.try_clone().unwrap(), server.try_clone().unwrap()));
        for is_question in [true, false] {
            let shared = Arc::clone(self);
            let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                shared.pump(&client, &server, is_question);
                cut(&client, &server);
            });
        }
    }

    /// Carries one direction until an end closes or the fault closes both.
    fn pump(&self, client: &TcpStream, server: &TcpStream, is_question: bool) {
        let (mut from, mut to) = if is_question { (client, server) } else { (server, client) };
        let mut chunk = [0; 64 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut chunk) else { return };
            let bytes = &mut chunk[..count];
            while self.line() == Line::Frozen {
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                pause(Duration::from_millis(5));
            }
            match self.line() {
                Line::Slow(time) => pause(time),
                Line::CutBeforeCommit if is_question && is_commit(bytes) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Line::CutAfterCommit if is_question && is_commit(bytes) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    // The other direction's pump would pass the answer on: the client's end goes first.
                    reset(client);
                    if to.write_all(bytes).is_ok() {
                        // Cutting the server's end at once would race with the commit itself.
                        pause(Duration::from_millis(200));
                    }
                    return;
                }
                Line::Garbage if !is_question => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    self.garble(bytes);
                }
                _ => {}
            }
            if to.write_all(bytes).is_err() {
                return;
            }
        }
    }

    /// Leaves each packet's header (length and number) and replaces what it says, differently each time.
    fn garble(&self, bytes: &mut [u8]) {
        let mut state = u32::from(self.noise.fetch_add(1, Ordering::Relaxed)).wrapping_mul(2_654_435_761) | 1;
        let mut rest = bytes;
        while let [low, middle, high, _, tail @ ..] = rest {
            let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
            let length = length.min(tail.len());
            let (packet, next) = tail.split_at_mut(length);
            for (at, byte) in packet.iter_mut().enumerate() {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                // Half of the packets keep their first byte, so that the driver believes what kind they are.
                if at > 0 || state & 1 == 0 {
                    *byte = u8::try_from(state >> 24).unwrap();
                }
            }
            rest = next;
        }
    }
}

/// COM_QUERY (3) with the text COMMIT.
fn is_commit(bytes: &[u8]) -> bool {
    bytes.get(4..).is_some_and(|packet| packet.eq_ignore_ascii_case(b"\x03commit"))
}
