//! Valid requests of every route, damaged at random: F-27.

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::{Silence, Wire, grant, registration, request};

/// How many requests travel on one connection: few, because most damage ends it, and what follows is not read.
const BATCH: u64 = 4;

/// A small generator, so that a run can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % limit.max(1)
    }
}

fn valid(random: &mut Random, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let json = [("content-type", "application/json"), ("x-request-id", "abc-1")];
    match random.below(12) {
        0 => registration("a@example.com", "correct horse battery staple"),
        1 => grant("a@example.com", "correct horse battery staple"),
        2 | 3 => request("GET", "/api/user/me", &[("authorization", &bearer)], b""),
        4 | 5 => request("GET", "/api/is_logined", &[("authorization", &bearer)], b""),
        6 => request("HEAD", "/api/hello", &[], b""),
        7 => request("GET", "/openapi.json", &[("accept-encoding", "gzip")], b""),
        8 => request("GET", "/docs/index.css?x=%41", &[], b""),
        9 => request("POST", "/api/register", &[("transfer-encoding", "chunked"), json[0]], b"")
            .into_iter()
            .chain(*b"1b\r\n{\"email\": \"b@example.com\",\r\n1a;x=y\r\n \"password\": \"a b c d e f\"\r\n0\r\n\r\n")
            .collect(),
        10 => request("POST", "/api/register", &json, b"{\"email\": \"\\ud83d\\ude00@x.org\", \"password\": [1, 2e9]}"),
        _ => request("GET", "/readyz", &[("connection", "keep-alive"), ("expect", "100-continue")], b""),
    }
}

const ODD: &[&[u8]] = &[
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"%00",
    b"%FF",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-",
    b"99999999999999999999",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\"",
    b"&",
    b"=",
    b";",
    b" ",
    b"\t",
    b"../",
    b"content-length: 7\r\n",
    b"content-length: -1\r\n",
    b"transfer-encoding: chunked\r\n",
    b"host: b\r\n",
    b"authorization: Bearer x\r\n",
    b"expect: 100-continue\r\n",
    b"connection: close\r\n",
    b"upgrade: h2c\r\n",
    b"transfer-encoding: identity\r\n",
    b"content-type: application/json; charset=utf-16\r\n",
    b"HTTP/1.0",
    b"\x80",
];

/// Damaged anywhere, or only inside its body or its head with the framing left whole, so that it is read to the end.
pub fn mutated(random: &mut Random, token: &str) -> Vec<u8> {
    let mut bytes = valid(random, token);
    if random.below(2) == 0 {
        damage(random, &mut bytes);
        return bytes;
    }
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut body = bytes.split_off(split);
    if body.is_empty() {
        let head = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<_> = head.trim_end().split("\r\n").map(|line| line.as_bytes().to_vec()).collect();
        let at = random.below(lines.len());
        damage(random, &mut lines[at]);
        lines[at].retain(|byte| *byte >= b' ');
        bytes = lines.join(b"\r\n".as_slice());
        bytes.extend_from_slice(b"\r\n\r\n");
        return bytes;
    }
    damage(random, &mut body);
    let head = String::from_utf8(bytes).unwrap();
    let lines = head.trim_end().lines().filter(|line| !line.starts_with("content-length"));
    let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
    [format!("{lines}content-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
}

/// One to three times.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = at + random.below(40).min(bytes.len() - at);
                let again = bytes[at..end].repeat(1 + random.below(4));
                bytes.splice(at..at, again);
            }
            4 => drop(bytes.drain(at..(at + 1 + random.below(20)).min(bytes.len()))),
            5 | 6 => {
                bytes.splice(at..at, ODD[random.below(ODD.len())].iter().copied());
            }
            // After a line's end: a header twice, a strange one, a framing of another kind.
            7 => {
                let lines: Vec<_> = bytes.windows(2).enumerate().filter(|(_, two)| two == b"\r\n").collect();
                let at = lines.get(random.below(lines.len())).map_or(0, |(at, _)| at + 2);
                bytes.splice(at..at, ODD[random.below(ODD.len())].iter().copied());
            }
            _ => bytes.splice(at..at, vec![b'a'; random.below(300)]).for_each(drop),
        }
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
    }
}

/// What came back.
#[derive(Default)]
pub struct Heard {
    pub answers: AtomicU64,
    /// By the hundred.
    pub classes: [AtomicU64; 6],
}

/// Sends `count` damaged requests on kept connections, several to a packet; complains about each that is wrong.
pub fn bombard(address: SocketAddr, token: &str, seed: u64, count: u64, heard: &Heard) -> Vec<String> {
    let mut random = Random(seed);
    let mut complaints = Vec::new();
    for _ in 0..count.div_ceil(BATCH) {
        let before = random.0;
        let batch: Vec<u8> = (0..BATCH).flat_map(|_| mutated(&mut random, token)).collect();
        let text = match exchange(address, &batch) {
            Ok(text) => text,
            Err(silence) => {
                complaints.push(format!("{silence:?}, seed {before}"));
                continue;
            }
        };
        let mark = b"HTTP/1.1 ";
        for at in text.windows(mark.len()).enumerate().filter(|(_, window)| window == mark).map(|(at, _)| at) {
            let class = text.get(at + mark.len()).map_or(0, |digit| usize::from(digit.wrapping_sub(b'0')).min(5));
            heard.answers.fetch_add(1, Ordering::Relaxed);
            heard.classes[class].fetch_add(1, Ordering::Relaxed);
            if class == 5 {
                let answer = String::from_utf8_lossy(&text[at..(at + 600).min(text.len())]).into_owned();
                complaints.push(format!("seed {before}: {answer}"));
            }
        }
        for hidden in [b"$scrypt$".as_slice(), b"panicked", b"SELECT", b"/src/"] {
            if text.windows(hidden.len()).any(|window| window == hidden) {
                complaints.push(format!("seed {before} tells {}", String::from_utf8_lossy(hidden)));
            }
        }
    }
    complaints
}

/// Everything that comes back until the server closes, which it does soon, because we have.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Silence> {
    let mut wire = Wire::open(address)?;
    // It may close at the first thing that it cannot frame.
    let _ = wire.send(bytes);
    let _ = wire.stream.shutdown(Shutdown::Write);
    wire.rest()
}
