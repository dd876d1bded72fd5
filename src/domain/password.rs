//! Passwords and their stored hashes: secrets that neither print nor linger.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

/// Longest password in bytes after normalising; the whole of it counts, whatever its length.
pub const MAX_BYTES: usize = 1024;
/// Shortest password that the rules may allow, in code points (ASVS 6.2.1).
pub const MIN_CODE_POINTS: usize = 8;

/// A password as typed, in NFC as RFC 8265 4.2 has it and otherwise unchanged, without NUL, at most [`MAX_BYTES`]. Wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Why a text cannot be a password. `Display` tells a person what to do and never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// scrypt starts with PBKDF2-HMAC, which pads its key with zero bytes: `pw` and `pw\0` would hash alike.
    #[error("a password cannot contain the character U+0000")]
    Nul,
    /// More bytes than [`MAX_BYTES`].
    #[error("a password can have at most {MAX_BYTES} bytes")]
    TooLong,
    /// Fewer code points than the rules ask for.
    #[error("a password needs at least {0} characters")]
    TooShort(usize),
}

impl Password {
    /// Takes over what was typed: any composition, spaces and case kept. The length rule for new passwords is
    /// [`PasswordRules::check`], so that an old shorter password can still sign in.
    pub fn parse(raw: String) -> Result<Self, PasswordError> {
        let raw = Zeroizing::new(raw);
        if raw.contains('\0') {
            return Err(PasswordError::Nul);
        }
        let normal = if unicode_normalization::is_nfc(&raw) {
            raw
        } else {
            // NFC is at most three times as long (UAX 15 9): with room for it no copy is left behind by growing.
            let mut normal = Zeroizing::new(String::with_capacity(raw.len() * 3));
            normal.extend(raw.nfc());
            normal
        };
        if normal.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(normal))
    }

    /// The empty password, to have something to verify against the decoy.
    #[must_use]
    pub fn blank() -> Self {
        Self(Zeroizing::default())
    }

    /// The secret itself, for the hash and the strength estimate alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What a new password must satisfy beyond being a [`Password`].
#[derive(Clone, Copy, Debug)]
pub struct PasswordRules {
    /// Fewest code points; at least [`MIN_CODE_POINTS`].
    pub min_code_points: usize,
}

impl PasswordRules {
    /// Checks the length in code points (ASVS 6.2.1, NIST SP 800-63B-4).
    pub fn check(self, password: &Password) -> Result<(), PasswordError> {
        if password.0.chars().count() < self.min_code_points {
            return Err(PasswordError::TooShort(self.min_code_points));
        }
        Ok(())
    }
}

/// A stored hash: a PHC string such as `$scrypt$ln=15,r=8,p=3$salt$hash`, or whatever a damaged row holds.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps what the database holds; nothing is checked until a password is verified against it.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl Drop for PasswordHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: PasswordRules = PasswordRules { min_code_points: 8 };

    fn rule(raw: &str) -> Result<(), PasswordError> {
        Password::parse(raw.to_owned()).and_then(|password| RULES.check(&password))
    }

    /// C-01: code points, not bytes and not UTF-16 units.
    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(rule("1234567"), Err(PasswordError::TooShort(8)));
        assert_eq!(rule("12345678"), Ok(()));
        assert_eq!(rule(&"😀".repeat(7)), Err(PasswordError::TooShort(8)));
        assert_eq!(rule(&"😀".repeat(8)), Ok(()));
    }

    /// C-02.
    #[test]
    fn up_to_1024_bytes() {
        assert_eq!(rule(&"a".repeat(1024)), Ok(()));
        assert_eq!(rule(&"a".repeat(1025)), Err(PasswordError::TooLong));
    }

    /// C-04, C-05, C-03.
    #[test]
    fn nul_is_refused_nfd_equals_nfc_and_spaces_stay() {
        assert_eq!(rule("pass phrase\0"), Err(PasswordError::Nul));
        let nfc = Password::parse("caf\u{e9} au lait".to_owned()).unwrap();
        let nfd = Password::parse("cafe\u{301} au lait".to_owned()).unwrap();
        assert_eq!(nfc, nfd);
        assert_eq!(Password::parse(" p w ".to_owned()).unwrap().expose(), " p w ");
    }

    #[test]
    fn secrets_do_not_print() {
        let password = Password::parse("correct horse".to_owned()).unwrap();
        let hash = PasswordHash::new("$scrypt$ln=15".to_owned());
        assert_eq!(format!("{password:?} {hash:?}"), "Password(..) PasswordHash(..)");
    }
}
