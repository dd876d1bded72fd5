//! This process as the operating system sees it: its limit on open files, and what Prometheus expects to hear of any
//! process.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::app::log;
use crate::http::Limits;

/// Files that are open besides the clients' connections, with room to spare: the database's, the event loops', the log.
const OTHER_FILES: u64 = 200;

/// Raises the limit on open files as far as this process may, and lowers `limits` to what then fits: a connection that
/// cannot be accepted helps nobody (F-25).
pub(super) fn within_file_limit(limits: Limits) -> Limits {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Not vital: the limits below follow what is.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2)).unwrap_or(usize::MAX);
    if room < limits.total {
        tracing::warn!(files, room, "MAX_CONNECTIONS lowered to what the limit on open files leaves (ulimit -n)");
    }
    Limits { total: limits.total.min(room), per_address: limits.per_address.min(room) }
}

/// Makes the process's own figures part of what `registry` tells.
pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let memory = ConstGauge::new(resident_bytes().unwrap_or(0));
        let files = ConstGauge::new(open_files().unwrap_or(0));
        let lines = ConstCounter::new(log::dropped_lines());
        memory.encode(encoder.encode_descriptor(
            "process_resident_memory",
            "Memory in use",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?)?;
        files.encode(encoder.encode_descriptor(
            "process_open_fds",
            "Files and sockets that are open",
            None,
            MetricType::Gauge,
        )?)?;
        lines.encode(encoder.encode_descriptor(
            "tegata_log_lines_dropped",
            "Log lines that nobody took in",
            None,
            MetricType::Counter,
        )?)
    }
}

fn resident_bytes() -> Option<i64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(i64::try_from(rustix::param::page_size()).ok()?)
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}
