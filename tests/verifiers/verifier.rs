//! The three of examples/verifier as processes. What they run on is installed by scripts/verifiers.sh.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

/// A command that starts one, and what to call it.
pub struct Start {
    name: &'static str,
    command: Command,
}

/// One of each language, not started yet.
pub fn verifiers(issuer: &str) -> [Start; 3] {
    let start = |name, command: &[PathBuf]| {
        let mut started = Command::new(&command[0]);
        started.args(&command[1..]).args([issuer, "0"]);
        Start { name, command: started }
    };
    // The flag is for Debian 12, whose Node 18 has what jose needs behind it; later ones ignore it.
    let flag = PathBuf::from("--experimental-global-webcrypto");
    [
        start("verifier.rs", &[rust().to_owned()]),
        start("verifier.py", &[installed("venv/bin/python3"), source("examples/verifier/verifier.py")]),
        start("verifier.ts", &["node".into(), flag, typescript().to_owned()]),
    ]
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Below the directory that scripts/verifiers.sh fills.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("verifiers").join(name);
    assert!(path.exists(), "{} is missing: scripts/verifiers.sh installs it (or says what it needs)", path.display());
    path
}

/// cargo builds examples for `cargo test`, but not for `cargo test --test verifiers`.
fn rust() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--example", "verifier"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.current_dir(source("")).status().unwrap().success(), "the example verifier must build");
        // Beside the binary of the package.
        Path::new(env!("CARGO_BIN_EXE_tegata")).with_file_name("examples").join("verifier")
    })
}

/// Checked and compiled: Node runs TypeScript as it is from 22.18 on, and Debian's is older.
fn typescript() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let dir = installed("node_modules").with_file_name("");
        for name in ["verifier.ts", "tsconfig.json", "package.json"] {
            std::fs::copy(source("examples/verifier").join(name), dir.join(name)).unwrap();
        }
        let output = Command::new(installed("node_modules/.bin/tsc")).current_dir(&dir).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "tsc: {}; see scripts/verifiers.sh", String::from_utf8_lossy(&said));
        dir.join("verifier.js")
    })
}

pub struct Verifier {
    pub name: &'static str,
    url: String,
    child: Child,
}

impl Verifier {
    /// Waits until it says where it listens.
    pub fn start(Start { name, mut command }: Start) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child =
            spawned.unwrap_or_else(|error| panic!("{name} does not start: {error}; see scripts/verifiers.sh"));
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "{name} does not start: {command:?}");
        Self { name, url: url.trim().to_owned(), child }
    }

    /// What it answers to `GET /whoami`; without the header when `authorization` is empty.
    pub fn whoami(&self, authorization: &str) -> (u16, Value) {
        let mut request = ureq::get(format!("{}/whoami", self.url));
        if !authorization.is_empty() {
            request = request.header("Authorization", authorization);
        }
        let timeout = Some(Duration::from_secs(20));
        let request = request.config().http_status_as_error(false).timeout_global(timeout).build();
        let mut answer = request.call().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default())
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
