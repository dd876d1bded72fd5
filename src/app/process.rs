//! This process as the operating system sees it: its limit on open files, and what Prometheus expects to hear of any
//! process.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
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
        let Stat { cpu_seconds, started } = stat().unwrap_or_default();
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        let files = |count: Option<u64>| count.map_or(0.0, |count| count as f64);
        gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), resident_bytes().unwrap_or(0.0))?;
        gauge("process_open_fds", "Files and sockets that are open", None, files(open_files()))?;
        gauge(
            "process_max_fds",
            "Files and sockets that may be open",
            None,
            files(getrlimit(Resource::Nofile).current),
        )?;
        gauge("process_start_time", "When it started, since 1970", Some(&Unit::Seconds), started)?;
        let mut counter = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Counter)?)
        };
        counter("process_cpu", "Time at work on all cores", Some(&Unit::Seconds), cpu_seconds)?;
        counter("tegata_log_lines_dropped", "Log lines that nobody took in", None, log::dropped_lines() as f64)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        Info::new(version).encode(encoder.encode_descriptor(
            "tegata_build",
            "What runs here",
            None,
            MetricType::Info,
        )?)
    }
}

fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}

fn open_files() -> Option<u64> {
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[derive(Default)]
struct Stat {
    cpu_seconds: f64,
    /// Seconds since 1970.
    started: f64,
}

/// proc(5), /proc/pid/stat: fields 14, 15 and 22, in clock ticks; the last since the machine was started.
fn stat() -> Option<Stat> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let fields: Vec<f64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Stat { cpu_seconds: (fields.get(11)? + fields.get(12)?) / ticks, started: boot + fields.get(19)? / ticks })
}
