//! A million damaged requests.

#[test]
fn f27_a_million_damaged_requests() {
    crate::quick::input::f27(1_000_000);
}
