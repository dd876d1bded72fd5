#![no_main]

#[expect(dead_code, reason = "tests/tokens.rs uses the rest")]
#[path = "../../tests/properties/jwt.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
