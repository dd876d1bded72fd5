//! The fault matrix: what the server promises while its database, its disk, its clock and its clients misbehave.
//! Each row is a test named after its ID and drives the real binary over real sockets. `quick::` rows take seconds
//! and run in scripts/test.sh; `slow::` ones with its `--faults`. What was measured: docs/reliability.md.

mod client;
mod crashes;
mod crowd;
mod forge;
mod ledger;
mod load;
mod mariadb;
mod mutate;
#[path = "../process/mod.rs"]
mod process;
mod proxy;
mod report;
mod scene;
mod wait;

mod quick {
    mod away;
    mod clock;
    mod floods;
    pub mod input;
    mod ledger;
    mod limits;
    mod refuses;
    mod sqlite;
    mod stops;
}

mod slow {
    mod away;
    mod chaos;
    mod floods;
    mod input;
    mod stops;
}
