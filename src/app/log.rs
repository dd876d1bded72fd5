//! The log, on standard error: standard output is for the one announcement. Whoever reads it may stop reading, or its
//! disk may be full; the server goes on, and counts the lines that nobody took in (F-35).

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;

/// Lines that may wait for standard error to take them in.
const WAITING_LINES: usize = 4096;

/// Writes what still waits when it is dropped.
pub struct Log {
    _guard: WorkerGuard,
}

static NOT_WRITTEN: AtomicU64 = AtomicU64::new(0);
static NOT_QUEUED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines of this process that are lost: nobody read on, or writing failed.
#[must_use]
pub fn dropped_lines() -> u64 {
    let not_queued = NOT_QUEUED.get().map_or(0, ErrorCounter::dropped_lines);
    NOT_WRITTEN.load(Ordering::Relaxed) + u64::try_from(not_queued).unwrap_or(u64::MAX)
}

/// Starts the log of this process, once. Panics become lines of it.
#[must_use]
pub fn start(settings: &LogSettings) -> Log {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(StandardError);
    let _ = NOT_QUEUED.set(writer.error_counter());
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&settings.filter)).with_writer(writer);
    if settings.is_json {
        log.json().flatten_event(true).with_span_list(false).init();
    } else {
        log.with_ansi(io::stderr().is_terminal()).init();
    }
    std::panic::set_hook(Box::new(tell_of_panic));
    Log { _guard: guard }
}

fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name().unwrap_or("?"),
        at = panic.location().map(tracing::field::display),
        what = panic.payload_as_str().unwrap_or("?"),
        "panicked"
    );
}

struct StandardError;

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            NOT_WRITTEN.fetch_add(1, Ordering::Relaxed);
        }
        // Lost or not, there is nobody to tell but the counter.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
