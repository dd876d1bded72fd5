//! Remembers tokens whose signature was found right, where checking one costs thirty times as much as remembering it.
//! Signatures only: whose token it is, and whether it counts now, is looked up for each request.

use std::collections::HashSet;

/// Tokens that are remembered at least; at most twice as many. A token has about 500 bytes.
const REMEMBERED: usize = 2048;

/// One an HTTP worker. The older half is forgotten when the newer one is full.
#[derive(Default)]
pub struct Verified {
    newer: HashSet<Box<str>>,
    older: HashSet<Box<str>>,
}

impl Verified {
    /// Whether this very token, to the last byte, is remembered.
    pub(crate) fn contains(&self, token: &str) -> bool {
        self.newer.contains(token) || self.older.contains(token)
    }

    pub(crate) fn remember(&mut self, token: &str) {
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(token.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_the_last_ones_and_stays_small() {
        let mut verified = Verified::default();
        for number in 0..10 * REMEMBERED {
            verified.remember(&number.to_string());
        }
        assert!(verified.newer.len() + verified.older.len() <= 2 * REMEMBERED);
        assert!(verified.contains(&(9 * REMEMBERED + 1).to_string()) && !verified.contains("0"));
    }
}
