//! The keyring's quick check against the library's own `decode`: they agree on a million mutated tokens.

#[expect(dead_code, reason = "tests/properties and fuzz/ use the rest")]
#[path = "properties/jwt.rs"]
mod jwt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const TOKENS: u64 = 1_000_000;
const THREADS: u64 = 2;

/// Deterministic, so that a failure can be repeated (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    const TEXT: &[u8] = b"abcXYZ0129-_.=\"{}:,[]ntrue ";
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(7),
            1 if !bytes.is_empty() => bytes[at] = TEXT[chance.below(TEXT.len())],
            2 => bytes.insert(at, TEXT[chance.below(TEXT.len())]),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + chance.below(12)).min(bytes.len())].to_vec();
                let to = chance.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// Half of the tokens are mutated as they are; of the other half the claims are mutated and signed with the right key,
/// so that more than the signature decides.
fn agree(seed: u64) -> (u64, u64) {
    let genuine = jwt::genuine();
    assert!(jwt::agree(genuine));
    let (header, rest) = genuine.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD.decode(rest.split('.').next().unwrap()).unwrap();
    let (mut chance, mut accepted, mut refused) = (Chance(seed), 0, 0);
    for number in 0..TOKENS / THREADS {
        let token = if number % 2 == 0 {
            let mut token = genuine.as_bytes().to_vec();
            mutate(&mut token, &mut chance);
            String::from_utf8_lossy(&token).into_owned()
        } else {
            let mut claims = claims.clone();
            mutate(&mut claims, &mut chance);
            jwt::sign(header, &claims)
        };
        if jwt::agree(&token) { accepted += 1 } else { refused += 1 }
    }
    (accepted, refused)
}

#[test]
fn a_million_mutated_tokens_are_judged_as_the_library_judges_them() {
    let threads: Vec<_> = (1..=THREADS).map(|seed| std::thread::spawn(move || agree(seed * 0x9e37_79b9))).collect();
    let counts: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (accepted, refused) = counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    // Some mutations touch nothing that counts, such as the email: were none accepted, the test would show nothing.
    assert!(accepted > TOKENS / 100 && refused > TOKENS / 2, "{accepted} accepted, {refused} refused");
}
