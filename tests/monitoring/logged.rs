//! The binary with a log in JSON.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::PATIENCE;
use crate::process::tegata;

/// The binary with a log in JSON, from its first line to its last.
pub struct Logged {
    pub address: SocketAddr,
    child: Child,
    lines: JoinHandle<Vec<String>>,
}

impl Logged {
    pub fn start(dir: &Path, environment: &[(&str, &str)]) -> Self {
        let json = [("BIND_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json"), ("RUST_LOG", "debug")];
        let environment = [json.as_slice(), environment].concat();
        let mut child = tegata(dir, &environment, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = mpsc::channel();
        let lines = std::thread::spawn(move || {
            let lines = stderr.lines().map(|line| line.expect("UTF-8")).inspect(|line| {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if line["message"] == "listening" {
                    let _ = found.send(line["address"].as_str().unwrap().parse().unwrap());
                }
            });
            lines.collect()
        });
        let address = address.recv_timeout(PATIENCE).expect("it says where it listens");
        Self { address, child, lines }
    }

    /// Stops it and gives its log.
    pub fn end(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.lines.join().unwrap()
    }
}
