//! The real binary as a process of a test's own.
#![allow(dead_code, clippy::allow_attributes, reason = "each suite that includes this uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

pub const SECRET_KEY: &str = "the quick brown fox jumps over 13 lazy dogs";

/// The binary with nothing in its environment but what is given, in `dir`.
pub fn tegata(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tegata"));
    command.current_dir(dir).env_clear().envs(environment.iter().copied()).args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    tegata(dir, environment, arguments).output().unwrap()
}

pub struct Server {
    pub address: SocketAddr,
    /// What it announced on standard output.
    pub announcement: String,
    child: Child,
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts it on a free port and waits until it says where it listens.
    pub fn start(dir: &Path, environment: &[(&str, &str)]) -> Self {
        let environment = [&[("BIND_ADDR", "127.0.0.1:0")], environment].concat();
        Self::started_by(tegata(dir, &environment, &[]))
    }

    /// The same by a command of the test's own, which ends in the binary.
    pub fn started_by(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut announcement = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            announcement += &format!("{line}\n");
            if line.contains("signing key") {
                break;
            }
        }
        let address =
            announcement.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let Some(address) = address else {
            let _ = child.wait();
            panic!("it did not start: {announcement}\n{}", log.join().unwrap());
        };
        Self { address, announcement, child, log: Some(log) }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; gives the exit status and the log.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.log.take().unwrap().join().unwrap())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
