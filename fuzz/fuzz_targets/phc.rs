#![no_main]

#[path = "../../tests/properties/phc.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
