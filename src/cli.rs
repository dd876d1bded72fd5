//! The command line.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::{self, End, log};
use crate::config::{self, Config, Problems};
use crate::domain::clock::{Clock, SystemClock};
use crate::store::Store;

/// A login server: people register with email and password, sign in, and get a signed token.
///
/// Without a command it serves. Without settings it serves on http://127.0.0.1:8000 and keeps its users in
/// ./data/tegata.db; open http://127.0.0.1:8000/docs to try it.
#[derive(Debug, Parser)]
#[command(name = "tegata", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Default, Subcommand)]
enum Command {
    /// Serve until SIGTERM; brings the schema up to date first [default]
    #[default]
    Serve,
    /// Bring the schema up to date and stop; safe to run twice, and by several at once
    Migrate,
    /// Ask the server that runs here whether it is ready; exit code 0 or 1. For containers
    Healthcheck {
        /// Ask only whether the process is alive, not whether its database is there
        #[arg(long)]
        live: bool,
    },
    /// Look after the keys that sign access tokens with EdDSA or ES256
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum KeysAction {
    /// Tell each key: its name, algorithm, when it was made, signs, and was withdrawn (seconds since 1970)
    List,
    /// Make the next key. It is published now and signs ten minutes later; the one before it checks until its last
    /// token has expired. Nobody is signed out
    Rotate,
    /// Withdraw a key that others may have: everything that it signed is refused at once, and clients renew their
    /// tokens. Withdrawing the only one makes another
    Retire {
        /// The key's name, as `keys list` tells it
        kid: String,
    },
}

/// The settings file in the working directory.
const DOTENV: &str = ".env";
/// How long a server may take to say whether it is well.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the program.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let matches = Cli::command().after_long_help(config::help()).get_matches_from(arguments);
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command.unwrap_or_default(),
        Err(error) => error.exit(),
    };
    let config = match Config::load(environment, Path::new(DOTENV)) {
        Ok(config) => config,
        Err(Problems(problems)) => {
            say(&format!("tegata: the settings need attention:\n  - {}", problems.join("\n  - ")));
            return ExitCode::from(2);
        }
    };
    let _log = log::start(&config.log);
    match command {
        Command::Serve => serve(config),
        Command::Migrate => migrate(config),
        Command::Keys { action } => keys(config, &action),
        Command::Healthcheck { live } => healthcheck(config.http.bind, if live { "/livez" } else { "/readyz" }),
    }
}

fn serve(config: Config) -> ExitCode {
    match actix_web::rt::System::new().block_on(app::serve(config, Arc::new(SystemClock))) {
        Ok(End::Clean) => ExitCode::SUCCESS,
        Ok(End::Abandoning) => ExitCode::FAILURE,
        // As a shell tells of a process that a signal has ended.
        Ok(End::AtOnce(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        Err(error) => fail(&error.to_string()),
    }
}

fn migrate(config: Config) -> ExitCode {
    match app::prepare_data_dir(&config).map_err(|error| error.to_string()) {
        Ok(()) => {}
        Err(error) => return fail(&error),
    }
    match Store::new(config.store).migrate(SystemClock.now()) {
        Ok(applied) if applied.is_empty() => say("the schema is up to date"),
        Ok(applied) => say(&format!("applied {}", applied.join(", "))),
        Err(error) => return fail(&error.to_string()),
    }
    ExitCode::SUCCESS
}

/// Works on the table itself; servers read it every few seconds.
fn keys(config: Config, action: &KeysAction) -> ExitCode {
    let (keys, now) = (app::keys::Keys::open(config), SystemClock.now());
    let lines = keys.and_then(|keys| match action {
        KeysAction::List => keys.list(),
        KeysAction::Rotate => keys.rotate(now),
        KeysAction::Retire { kid } => keys.retire(kid, now),
    });
    match lines {
        Ok(lines) => {
            // Whoever closed standard output does not want to know.
            let _ = writeln!(io::stdout(), "{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// Asks over HTTP and prints the answer's body.
fn healthcheck(bind: SocketAddr, path: &str) -> ExitCode {
    match ask(reachable(bind), path) {
        Ok(answer) => {
            let is_well = answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 ");
            say(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end());
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(&format!("no answer from {bind}: {error}")),
    }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A server that listens on every address is asked on the loopback one.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn fail(reason: &str) -> ExitCode {
    say(&format!("tegata: {reason}"));
    ExitCode::FAILURE
}

fn say(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(io::stderr(), "{text}");
}
