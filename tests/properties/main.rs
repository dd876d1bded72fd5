//! What holds for whatever a stranger sends. Each file states one property, tried here on every seed of its fuzz target,
//! on arbitrary bytes and on damaged seeds; `fuzz/` searches on with the same files. An input that breaks one becomes a
//! seed, and so a test.

mod authorization;
mod email;
mod form;
mod json;
#[expect(dead_code, reason = "tests/tokens.rs uses the rest")]
mod jwt;
mod phc;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

#[test]
fn json_is_read_as_serde_json_reads_it_or_refused() {
    try_out("json", json::check);
}

#[test]
fn forms_are_read_as_the_whatwg_reads_them_or_refused() {
    try_out("form", form::check);
}

#[test]
fn only_one_header_with_a_b64token_is_a_bearer_token() {
    try_out("authorization", authorization::check);
}

#[test]
fn no_stored_hash_breaks_the_check_or_costs_more_than_the_caps() {
    try_out("phc", phc::check);
}

#[test]
fn tokens_are_judged_as_the_library_judges_them() {
    try_out("jwt", jwt::check);
}

#[test]
fn a_canonical_address_is_its_own_and_that_of_its_variants() {
    try_out("email", email::check);
}

fn try_out(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| check(seed));
    let damaged = (select(seeds), vec(damage(), 1..5)).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    });
    let inputs = prop_oneof![1 => vec(any::<u8>(), 0..200), 4 => damaged];
    // Nothing is remembered in a file of its own: fuzz/corpus is where such inputs are kept.
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let check_one = |bytes: Vec<u8>| {
        check(&bytes);
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&inputs, check_one) {
        panic!("{failure}");
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, usize),
    Repeat(Index, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, len)| Damage::Cut(at, len)),
        (any::<Index>(), 1..40_usize, 1..4_usize).prop_map(|(at, len, times)| Damage::Repeat(at, len, times)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let piece = |at: &Index, len: usize| {
            let start = at.index(bytes.len() + 1);
            start..(start + len).min(bytes.len())
        };
        match self {
            Self::Flip(at, bit) => piece(at, 1).for_each(|at| bytes[at] ^= 1 << bit),
            Self::Insert(at, new) => drop(bytes.splice(piece(at, 0), new.iter().copied())),
            Self::Cut(at, len) => drop(bytes.drain(piece(at, *len))),
            Self::Repeat(at, len, times) => {
                let piece = piece(at, *len);
                let again = bytes[piece.clone()].repeat(*times);
                drop(bytes.splice(piece.end..piece.end, again));
            }
        }
    }
}
