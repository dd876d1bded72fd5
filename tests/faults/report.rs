//! One line a row of the matrix, for people: printed, and appended to the file that `FAULTS_REPORT` names.

use std::io::Write;
use std::time::Duration;

use crate::ledger::Ledger;

/// A row of the table in docs/reliability.md. `recovery`: from the end of the fault to the first good answer.
pub fn row(id: &str, fault: &str, ledger: &Ledger, lost: usize, recovery: Option<Duration>) {
    let ok = ledger.count(|attempt| attempt.is_well());
    let refused = ledger.count(|attempt| attempt.status() == Some(503));
    let load = format!("{} requests, {ok} as ever, {refused} x 503", ledger.attempts.len());
    let recovery = recovery.map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()));
    line(id, fault, &load, &lost.to_string(), &recovery);
}

/// The same for a row whose load is not the ledger's.
#[expect(clippy::disallowed_methods, reason = "how scripts/test.sh says where the report goes")]
pub fn line(id: &str, fault: &str, load: &str, lost: &str, recovery: &str) {
    let line = format!("| {id} | {fault} | {load} | {lost} | {recovery} |\n");
    print!("{line}");
    if let Ok(path) = std::env::var("FAULTS_REPORT") {
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// What `percent` of them took at most.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
