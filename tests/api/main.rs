//! The wire, from outside: one module a route. Runs on SQLite, and on the server that `TEST_DATABASE_URL` names.

#[path = "../database/mod.rs"]
mod database;
mod forged;
mod framing;
mod harness;
mod is_logined;
mod keys;
mod limits;
mod me;
mod outage;
mod password;
mod password_rules;
mod register;
mod service;
mod sessions;
mod token;
