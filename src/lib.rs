//! Tegata, a login server. Layers, from top to bottom; imports point downward only (`tests/layers.rs` checks):
//!
//! - [`cli`]: the command line
//! - [`app`]: wires everything, starts and stops it
//! - [`config`]: the environment as settings; known to `cli` and `app` only
//! - [`http`]: URLs, JSON, problems, headers, limits
//! - [`accounts`]: the use cases; asks the executors below by messages
//! - [`store`], [`hashing`], [`tokens`]: executors and what they know; none of them knows another
//! - [`pool`]: bounded admission to executors; [`limits`]: how often somebody may do something
//! - [`domain`]: values parsed once, no I/O

#![warn(missing_docs, unreachable_pub)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod accounts;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod hashing;
pub mod http;
pub mod limits;
pub mod pool;
pub mod store;
pub mod tokens;
