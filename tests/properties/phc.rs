//! Whatever a row holds for a hash, checking a password against it fails that account at most: no panic, no error, and
//! nothing is computed beyond the caps (C-10). Where it is cheap to compute, the scrypt crate's own verdict is asked.

use scrypt::Scrypt;
use scrypt::password_hash::{Error, PasswordVerifier};
use scrypt::phc::PasswordHash as Phc;
use tegata::domain::password::{Password, PasswordHash};
use tegata::hashing::{Cost, HashJob, Verdict, VerifyPassword, decoy};

const PASSWORD: &str = "correct horse";
const MAX_MEMORY: u64 = 128 << 20;
/// Of N=2^20 r=8 p=1, in blocks.
const MAX_WORK: u64 = 8 << 20;
/// What a property may compute, in blocks.
const CHEAP: u64 = 1 << 10;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let phc = Phc::new(text).ok();
    let asked = phc.as_ref().and_then(Asked::of);
    match (phc, asked) {
        (Some(phc), Some(asked)) if asked.work() <= CHEAP => {
            let verdict = verify(text);
            let is_usable = phc.version.is_none() && phc.algorithm.as_str() == "scrypt" && asked.is_within_caps();
            if !is_usable || phc.salt.is_none() || phc.hash.is_none() {
                assert_eq!(verdict, Verdict::Unusable, "{text}");
            } else if phc.params.iter().count() == 3 {
                // With more parameters the crate refuses, or takes another one of two `ln`.
                let expected = match Scrypt::new().verify_password(PASSWORD.as_bytes(), &phc) {
                    Ok(()) if asked.is_todays() => Verdict::Match,
                    Ok(()) => Verdict::MatchButStale,
                    Err(Error::PasswordInvalid) => Verdict::Mismatch,
                    Err(error) => panic!("{error}: {text}"),
                };
                assert_eq!(verdict, expected, "{text}");
            } else {
                assert_ne!(verdict, Verdict::Unusable, "{text}");
            }
        }
        // Within the caps and dear: nothing to learn that would be worth the time.
        (Some(_), Some(asked)) if asked.is_within_caps() => {}
        // At once, or the fuzzer's limits on time and memory speak up.
        _ => assert_eq!(verify(text), Verdict::Unusable, "{text}"),
    }
}

fn verify(text: &str) -> Verdict {
    let today = Cost::new(1, 1, 1).unwrap();
    let job = VerifyPassword {
        password: Password::parse(PASSWORD.to_owned()).unwrap(),
        hash: PasswordHash::new(text.to_owned()),
        decoy: decoy(today).unwrap(),
    };
    job.run(today).unwrap()
}

/// The cost that a hash asks for.
struct Asked {
    log_n: u64,
    r: u64,
    p: u64,
}

impl Asked {
    fn of(phc: &Phc) -> Option<Self> {
        let read = |name| phc.params.get_decimal(name).map(u64::from);
        Some(Self { log_n: read("ln")?, r: read("r")?, p: read("p")? })
    }

    fn n(&self) -> u64 {
        u32::try_from(self.log_n).ok().and_then(|log_n| 1_u64.checked_shl(log_n)).unwrap_or(u64::MAX)
    }

    fn memory(&self) -> u64 {
        self.n().saturating_mul(self.r).saturating_mul(128)
    }

    fn work(&self) -> u64 {
        self.n().saturating_mul(self.r).saturating_mul(self.p)
    }

    fn is_within_caps(&self) -> bool {
        let is_positive = self.log_n > 0 && self.r > 0 && self.p > 0;
        is_positive && self.r <= 32 && self.p <= 16 && self.memory() <= MAX_MEMORY && self.work() <= MAX_WORK
    }

    fn is_todays(&self) -> bool {
        (self.log_n, self.r, self.p) == (1, 1, 1)
    }
}
