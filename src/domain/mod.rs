//! Values parsed once, at the edge: whoever holds one needs no further check. No I/O, no clock, no randomness.

pub mod clock;
pub mod email;
pub mod network;
pub mod password;
pub mod session;
pub mod signing_key;
pub mod user;
