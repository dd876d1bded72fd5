//! Email addresses: kept as given, compared by one canonical key.
//!
//! The key is NFKC with every letter in lower case, and the domain in its ASCII form (UTS 46). So `Bob@X.org`,
//! `bob@x.org` and a full-width `ｂｏｂ@x.org` are one account, while `jose` and `josé`, `ss` and `ß`, `i` and
//! `ı` stay apart. It is computed here and compared as bytes, because each database engine would merge and
//! split such pairs in its own way. Why these rules: docs/adr/0003-email-key.md.

use std::fmt;

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// RFC 5321 4.5.3.1.3 allows a path of 256 octets, brackets included.
const MAX_BYTES: usize = 254;

/// No display name (`Bob <bob@x>`), no IP address in brackets; a domain without a dot serves inside a company.
const GRAMMAR: Options = Options { minimum_sub_domains: 0, allow_domain_literal: false, allow_display_text: false };

/// An address that parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    given: String,
    key: String,
}

/// Why a text is no usable address. `Display` tells a person what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Longer than 254 bytes, as given or in its canonical form.
    #[error("the address is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A control, format, private-use, unassigned or white-space character inside.
    #[error("the address contains a space or an invisible character")]
    Invisible,
    /// Everything else that RFC 5321's everyday grammar refuses.
    #[error("this is not an email address; it should look like name@example.com")]
    Malformed,
}

impl Email {
    /// Parses an address; spaces around it are dropped, as people paste them along.
    pub fn parse(raw: &str) -> Result<Self, EmailError> {
        let given = raw.trim_matches(' ');
        // Cheap bounds first: nothing below sees more than 254 bytes.
        if given.len() > MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        if given.chars().any(is_invisible) {
            return Err(EmailError::Invisible);
        }
        let key = canonical(given)?;
        if key.len() > MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        // Judged after normalising, which can bring forth an `@`, a space or a quote (`＠` becomes `@`).
        if key.chars().any(is_invisible) {
            return Err(EmailError::Invisible);
        }
        check_grammar(&key)?;
        Ok(Self { given: given.to_owned(), key })
    }

    /// The address as the person gave it.
    #[must_use]
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// The canonical form: equal keys mean the same account.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Email {
    /// What somebody who knows the address would try as a password: all of it, and its parts.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let (local, domain) = self.key.rsplit_once('@').unwrap_or((&self.key, ""));
        let parts = self.key.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 2);
        [&self.key, local, domain].into_iter().chain(parts).map(ToOwned::to_owned).collect()
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email({:?})", self.given)
    }
}

fn check_grammar(key: &str) -> Result<(), EmailError> {
    // A quoted local part (`"a b"@x`) could spell one mailbox in many ways; nobody has such an address.
    if key.starts_with('"') {
        return Err(EmailError::Malformed);
    }
    // RFC 6531 3.3 lets any character outside ASCII stand where a letter may; the crate knows only some of them.
    let shape: String = key.chars().map(|c| if c.is_ascii() { c } else { 'x' }).collect();
    EmailAddress::parse_with_options(&shape, GRAMMAR).map(drop).map_err(|_| EmailError::Malformed)
}

fn canonical(given: &str) -> Result<String, EmailError> {
    let (local, domain) = given.rsplit_once('@').ok_or(EmailError::Malformed)?;
    let domain = idna::domain_to_ascii_strict(domain).map_err(|_| EmailError::Malformed)?;
    // Letter by letter: str::to_lowercase looks at neighbours (final sigma) and would not be stable.
    let local: String = local.nfkc().flat_map(char::to_lowercase).nfkc().collect();
    Ok(format!("{local}@{domain}"))
}

fn is_invisible(c: char) -> bool {
    use GeneralCategory as G;
    matches!(
        c.general_category(),
        G::Control
            | G::Format
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::SpaceSeparator
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &str) -> String {
        Email::parse(raw).unwrap().key
    }

    /// T-6, C-17, C-20: the documented verdict for each pair that engines disagree on.
    #[test]
    fn pairs_that_are_one_account_and_pairs_that_are_two() {
        let same = [
            ("Bob@example.com", "bob@example.com"),
            ("A@x", "a@X"),
            ("a@x", "a@x "),
            ("k@x.org", "\u{212a}@x.org"),                        // Kelvin sign
            ("bob@x.org", "\u{ff42}\u{ff4f}\u{ff42}@x.org"),      // full width
            ("jos\u{e9}@x.org", "jose\u{301}@x.org"),             // NFC, NFD
            ("s@x.org", "\u{17f}@x.org"),                         // long s
            ("a@b\u{fc}cher.example", "a@xn--bcher-kva.example"), // IDNA
            ("a@x.org", "a@\u{ff58}.org"),
        ];
        for (a, b) in same {
            assert!(Email::parse(a).is_ok() && Email::parse(b).is_ok(), "{a} {b}");
            assert_eq!(key(a), key(b), "{a} and {b} are one account");
        }
        let different = [
            ("jose@x.org", "jos\u{e9}@x.org"),
            ("ss@x.org", "\u{df}@x.org"),
            ("s@x.org", "\u{df}@x.org"),
            ("i@x.org", "\u{131}@x.org"), // dotless i
            ("\u{1f600}@x.org", "\u{1f601}@x.org"),
            ("a.b@x.org", "ab@x.org"),
            ("a+b@x.org", "a@x.org"),
        ];
        for (a, b) in different {
            assert_ne!(key(a), key(b), "{a} and {b} are two accounts");
        }
    }

    /// C-27, C-28.
    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(243));
        assert_eq!(Email::parse(&long), Err(EmailError::TooLong));
        for invisible in ["a\u{200b}b@x.org", "a\0@x.org", "a\r\n@x.org", "a\tb@x.org", "a\u{202e}b@x.org", "a b@x.org"]
        {
            assert_eq!(Email::parse(invisible), Err(EmailError::Invisible), "{invisible:?}");
        }
        for malformed in [
            "",
            "a",
            "@",
            "a@",
            "@x.org",
            "a@@x.org",
            "a@x..org",
            "Bob<a@x.org>",
            "\"a\"@x.org",
            "a@[127.0.0.1]",
            "a@-x.org",
            "a\u{ff20}b@x.org",
        ] {
            assert_eq!(Email::parse(malformed), Err(EmailError::Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn the_words_of_an_address_are_what_a_stranger_would_try() {
        let words = Email::parse("Bobby.Tables+news@mail.example.com").unwrap().words();
        for word in [
            "bobby.tables+news@mail.example.com",
            "bobby.tables+news",
            "mail.example.com",
            "bobby",
            "tables",
            "example",
        ] {
            assert!(words.iter().any(|known| known == word), "{word} is missing in {words:?}");
        }
    }
}
