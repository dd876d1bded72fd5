//! Arguments and environment in, exit code out.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    tegata::cli::run(std::env::args_os(), std::env::vars_os())
}
