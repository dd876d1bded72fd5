//! Arguments and environment in, exit code out.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

/// Measured against the system's: docs/adr/0007-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    tegata::cli::run(std::env::args_os(), std::env::vars_os())
}
