//! scrypt as PHC strings: what a hash costs, making one, checking one, and the decoy for accounts that are not there.

use aws_lc_rs::rand;
use scrypt::phc::{Output, PasswordHash as Phc, Salt};
use scrypt::{Params, scrypt};
use zeroize::Zeroizing;

use crate::domain::password::{Password, PasswordHash};

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// What one hash costs: memory `128 * 2^log_n * r` bytes, time in proportion to `2^log_n * r * p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

/// Largest cost that is ever computed. A stored hash beyond it would take memory or time that the server never
/// set aside for one account (C-10, F-33).
const CEILING: Cost = Cost { log_n: 20, r: 32, p: 16 };
/// Most memory for one hash: that of N=2^17 r=8, the largest row of OWASP's table.
const MAX_MEMORY: u64 = 128 << 20;
/// Most work, in blocks: eight times that of N=2^17 r=8 p=1.
const MAX_WORK: u64 = 8 * (1 << 20);

/// OWASP's table (Password Storage Cheat Sheet, scrypt, r=8) as far as ASVS 5.0 Appendix C accepts it.
const ACCEPTED: [Cost; 3] =
    [Cost { log_n: 17, r: 8, p: 1 }, Cost { log_n: 16, r: 8, p: 2 }, Cost { log_n: 15, r: 8, p: 3 }];

/// Why a cost cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// Zero, or above what this program computes.
    #[error("ln must be 1 to {}, r 1 to {}, p 1 to {}, memory at most 128 MiB (128 * 2^ln * r bytes), work at most that of ln=20 r=8 p=1", CEILING.log_n, CEILING.r, CEILING.p)]
    OutOfRange,
}

impl Cost {
    /// A cost within bounds.
    pub fn new(log_n: u8, r: u32, p: u32) -> Result<Self, CostError> {
        let cost = Self { log_n, r, p };
        let in_range = |value, ceiling| (1..=ceiling).contains(&value);
        // The ranges first: they keep the products below from overflowing.
        if in_range(u32::from(log_n), u32::from(CEILING.log_n))
            && in_range(r, CEILING.r)
            && in_range(p, CEILING.p)
            && cost.memory() <= MAX_MEMORY
            && cost.work() <= MAX_WORK
        {
            Ok(cost)
        } else {
            Err(CostError::OutOfRange)
        }
    }

    /// Bytes that one hash occupies while it is computed.
    #[must_use]
    pub fn memory(self) -> u64 {
        128 * (1 << self.log_n) * u64::from(self.r)
    }

    /// Time, in blocks mixed; compare it with another cost's.
    #[must_use]
    pub fn work(self) -> u64 {
        (1 << self.log_n) * u64::from(self.r) * u64::from(self.p)
    }

    /// Whether it is at least as strong as a row of OWASP's table: as much memory at as much work.
    #[must_use]
    pub fn is_strong(self) -> bool {
        ACCEPTED.iter().any(|row| self.memory() >= row.memory() && self.work() >= row.work())
    }

    fn params(self) -> Result<Params, HashError> {
        Params::new(self.log_n, self.r, self.p).map_err(|_| HashError)
    }
}

/// The hash function itself failed: no randomness, or parameters that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hashing failed")]
pub struct HashError;

/// What a password is to a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The right one, hashed at today's cost.
    Match,
    /// The right one, hashed at another cost: hash it anew.
    MatchButStale,
    /// A wrong one.
    Mismatch,
    /// The stored text is no scrypt hash within bounds: that account cannot sign in, and nobody else notices.
    Unusable,
}

/// Hashes with a fresh random salt.
pub(super) fn hash(password: &Password, cost: Cost) -> Result<PasswordHash, HashError> {
    let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
    let salt = random::<SALT_BYTES>()?;
    scrypt(password.expose().as_bytes(), &salt, &cost.params()?, output.as_mut()).map_err(|_| HashError)?;
    to_phc(cost, &salt, output.as_ref())
}

/// A hash that no password has, at today's cost. Whoever asks for an account that is not there waits as long as
/// for one that is (C-12). Its bytes are random, so making it costs nothing.
pub fn decoy(cost: Cost) -> Result<PasswordHash, HashError> {
    to_phc(cost, &random::<SALT_BYTES>()?, &random::<OUTPUT_BYTES>()?)
}

/// Checks a password against a stored hash, in constant time once the hash is computed.
pub(super) fn verify(password: &Password, stored: &PasswordHash, today: Cost) -> Result<Verdict, HashError> {
    let Some((cost, phc)) = parse(stored) else {
        return Ok(Verdict::Unusable);
    };
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else {
        return Ok(Verdict::Unusable);
    };
    let mut output = Zeroizing::new([0; Output::MAX_LENGTH]);
    let output = output.get_mut(..expected.len()).ok_or(HashError)?;
    scrypt(password.expose().as_bytes(), &salt, &cost.params()?, output).map_err(|_| HashError)?;
    let computed = Output::new(output).map_err(|_| HashError)?;
    // Output compares in constant time.
    if computed == expected {
        return Ok(if cost == today { Verdict::Match } else { Verdict::MatchButStale });
    }
    spend(today.work().saturating_sub(cost.work()), today)?;
    Ok(Verdict::Mismatch)
}

/// Works for nothing. An account whose hash is cheaper than today's would otherwise refuse a wrong password sooner
/// than an account that does not exist (C-12).
fn spend(work: u64, today: Cost) -> Result<(), HashError> {
    let mut blocks = work / u64::from(today.r);
    // In lanes as large as fit, and never larger than today's, which the memory limit is made for. What is left
    // below 2^10 takes less time than the network's own variation.
    for log_n in (10..=today.log_n).rev() {
        let lanes = u32::try_from(blocks >> log_n).unwrap_or(u32::MAX);
        if lanes > 0 {
            let part = Cost { log_n, r: today.r, p: lanes };
            scrypt(b"", b"", &part.params()?, &mut [0; OUTPUT_BYTES]).map_err(|_| HashError)?;
            blocks -= u64::from(lanes) << log_n;
        }
    }
    Ok(())
}

fn parse(stored: &PasswordHash) -> Option<(Cost, Phc)> {
    let phc: Phc = stored.expose().parse().ok()?;
    if phc.algorithm.as_str() != "scrypt" || phc.version.is_some() {
        return None;
    }
    let log_n = u8::try_from(phc.params.get_decimal("ln")?).ok()?;
    let cost = Cost::new(log_n, phc.params.get_decimal("r")?, phc.params.get_decimal("p")?).ok()?;
    Some((cost, phc))
}

fn to_phc(cost: Cost, salt: &[u8], output: &[u8]) -> Result<PasswordHash, HashError> {
    let phc = Phc {
        algorithm: scrypt::phc::Ident::new("scrypt").map_err(|_| HashError)?,
        version: None,
        params: cost.params()?.try_into().map_err(|_| HashError)?,
        salt: Some(Salt::new(salt).map_err(|_| HashError)?),
        hash: Some(Output::new(output).map_err(|_| HashError)?),
    };
    Ok(PasswordHash::new(phc.to_string()))
}

fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| HashError)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Cost {
        Cost::new(4, 8, 1).unwrap()
    }

    fn password(raw: &str) -> Password {
        Password::parse(raw.to_owned()).unwrap()
    }

    /// C-08: a PHC string with its parameters, a salt of its own each time.
    #[test]
    fn a_hash_is_a_phc_string_with_a_fresh_salt() {
        let first = hash(&password("correct horse"), cheap()).unwrap();
        let second = hash(&password("correct horse"), cheap()).unwrap();
        assert!(first.expose().starts_with("$scrypt$ln=4,r=8,p=1$"), "{}", first.expose());
        assert_ne!(first, second);
        assert_eq!(verify(&password("correct horse"), &first, cheap()), Ok(Verdict::Match));
        assert_eq!(verify(&password("correct horsf"), &first, cheap()), Ok(Verdict::Mismatch));
    }

    /// RFC 7914 12, third vector, as a PHC string of another implementation.
    #[test]
    fn hashes_of_other_programs_verify() {
        let elsewhere = PasswordHash::new(
            "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw".to_owned(),
        );
        assert_eq!(verify(&password("pleaseletmein"), &elsewhere, cheap()), Ok(Verdict::MatchButStale));
    }

    /// C-02: the whole password counts.
    #[test]
    fn every_byte_counts() {
        for at in [72, 128, 1023] {
            let long = "a".repeat(1024);
            let stored = hash(&password(&long), cheap()).unwrap();
            let mut other = long.clone();
            other.replace_range(at..=at, "b");
            assert_eq!(verify(&password(&other), &stored, cheap()), Ok(Verdict::Mismatch), "byte {at}");
        }
    }

    /// C-10: absurd parameters cost nothing and break nothing.
    #[test]
    fn damaged_hashes_are_unusable() {
        for damaged in [
            "",
            "$scrypt$",
            "hunter2",
            "$scrypt$ln=30,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$scrypt$ln=63,r=4294967295,p=4294967295$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$scrypt$ln=20,r=32,p=16$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$scrypt$ln=0,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$scrypt$ln=4,r=8,p=1$aM15713r3Xsvxbi31lqr1Q",
            "$scrypt$ln=4,r=8$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$argon2id$v=19$m=65536,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno",
            "\u{1f600}$scrypt$ln=4,r=8,p=1",
        ] {
            let verdict = verify(&password("correct horse"), &PasswordHash::new(damaged.to_owned()), cheap());
            assert_eq!(verdict, Ok(Verdict::Unusable), "{damaged}");
        }
    }

    #[test]
    fn the_decoy_matches_nothing_at_the_cost_asked_for() {
        let decoy = decoy(cheap()).unwrap();
        assert!(decoy.expose().starts_with("$scrypt$ln=4,r=8,p=1$"));
        assert_eq!(verify(&password("correct horse"), &decoy, cheap()), Ok(Verdict::Mismatch));
    }

    #[test]
    fn owasps_rows_are_strong_and_less_is_not() {
        for (log_n, r, p) in [(17, 8, 1), (16, 8, 2), (15, 8, 3), (15, 8, 4)] {
            assert!(Cost::new(log_n, r, p).unwrap().is_strong(), "{log_n} {r} {p}");
        }
        for (log_n, r, p) in [(14, 8, 5), (15, 8, 2), (4, 8, 1), (16, 8, 1)] {
            assert!(!Cost::new(log_n, r, p).unwrap().is_strong(), "{log_n} {r} {p}");
        }
        assert_eq!(Cost::new(15, 8, 3).unwrap().memory(), 32 << 20);
        for (log_n, r, p) in [(0, 8, 1), (21, 1, 1), (18, 8, 1), (15, 0, 1), (15, 8, 0), (17, 8, 16)] {
            assert_eq!(Cost::new(log_n, r, p), Err(CostError::OutOfRange), "{log_n} {r} {p}");
        }
    }
}
