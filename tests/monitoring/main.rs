//! What operators watch, of the real binary: the metrics that docs/monitoring asks for, and the log.

mod account;
#[expect(dead_code, reason = "the fault matrix uses all of it")]
#[path = "../faults/client.rs"]
mod client;
#[path = "../database/mod.rs"]
mod database;
mod forgery;
mod log;
mod logged;
mod metrics;
mod page;
#[path = "../process/mod.rs"]
mod process;
#[path = "../faults/wait.rs"]
mod wait;

use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const CHEAP: [(&str, &str); 3] = [("SCRYPT_LOG_N", "4"), ("SCRYPT_P", "1"), ("ALLOW_WEAK_SCRYPT", "true")];
