//! Where clients find an issuer: an address that is known before the server behind it has one. It counts how often it
//! is asked, and can answer by itself.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What is behind the address.
#[derive(Clone)]
enum Behind {
    Nothing,
    Server(SocketAddr),
    Body(String),
}

pub struct Front {
    pub url: String,
    shared: Arc<(Mutex<Behind>, AtomicUsize)>,
}

impl Front {
    /// Its thread goes on until the process ends, waiting.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new((Mutex::new(Behind::Nothing), AtomicUsize::new(0)));
        let front = Self { url, shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                shared.1.fetch_add(1, Ordering::Relaxed);
                let behind = shared.0.lock().unwrap().clone();
                std::thread::spawn(move || serve(client, &behind));
            }
        });
        front
    }

    pub fn forward_to(&self, server: SocketAddr) {
        *self.shared.0.lock().unwrap() = Behind::Server(server);
    }

    pub fn answer_with(&self, body: &Value) {
        *self.shared.0.lock().unwrap() = Behind::Body(body.to_string());
    }

    /// Connections so far.
    pub fn asked(&self) -> usize {
        self.shared.1.load(Ordering::Relaxed)
    }
}

/// What goes wrong is between the client and the server, and they notice.
fn serve(mut client: TcpStream, behind: &Behind) {
    match behind {
        Behind::Nothing => {}
        Behind::Server(address) => {
            let Ok(server) = TcpStream::connect(address) else { return };
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let _ = std::io::copy(&mut &server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        }
        Behind::Body(body) => {
            // The head of a GET is all there is, and it is small.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if client.read_exact(&mut byte).is_err() {
                    return;
                }
                head.push(byte[0]);
            }
            let length = body.len();
            let _ = write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    }
}
