//! Whether a new password is one that attackers try first (C-07, ASVS 6.2.4 and 6.2.11).

use zxcvbn::feedback::Feedback;

use crate::domain::password::Password;

/// A password that falls within this many guesses is refused: the commonest ones, and simple twists of them.
const TOO_FEW_GUESSES: u64 = 100_000;
/// The estimate's time grows with the square of the length; what is longer is judged by its beginning.
const LONGEST_JUDGED: usize = 64;
/// Words that a password for this service must not be made of.
const SERVICE: &str = "tegata";

/// Advice to the person who chose a password that is too easy to guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooCommon {
    /// What to do, in plain words.
    pub advice: String,
}

/// Judges a new password; `context` is what an attacker knows anyway, such as the email address.
pub(crate) fn judge(password: &Password, context: &[&str]) -> Result<(), TooCommon> {
    let judged: String = password.expose().chars().take(LONGEST_JUDGED).collect();
    // The estimate knows no script but ASCII, and would call every repetition of what it does not know weak.
    if !judged.chars().any(|c| c.is_ascii()) {
        return Ok(());
    }
    let inputs: Vec<&str> = context.iter().copied().chain([SERVICE]).collect();
    let estimate = zxcvbn::zxcvbn(&judged, &inputs);
    if estimate.guesses() > TOO_FEW_GUESSES {
        return Ok(());
    }
    Err(TooCommon { advice: advice(estimate.feedback()) })
}

fn advice(feedback: Option<&Feedback>) -> String {
    let because = feedback.and_then(Feedback::warning).map_or_else(
        || "This password is among the first that attackers try.".to_owned(),
        |warning| warning.to_string(),
    );
    format!("{because} Choose a longer one, for example four words that have nothing to do with each other.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(raw: &str) -> Result<(), TooCommon> {
        judge(&Password::parse(raw.to_owned()).unwrap(), &["margarethe.holm@example.com", "margarethe.holm"])
    }

    #[test]
    fn common_passwords_and_ones_own_name_are_refused_with_advice() {
        for common in [
            "password",
            "password12345678",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "margarethe.holm",
            "tegatategata",
            "aaaaaaaaaaaa",
            "P@ssw0rd",
        ] {
            let refused = verdict(common);
            assert!(refused.is_err(), "{common} passed");
            assert!(refused.unwrap_err().advice.contains("four words"));
        }
    }

    #[test]
    fn other_passwords_pass_whatever_they_are_made_of() {
        for fine in [
            "correct horse battery staple",
            "pass phrase 12345",
            "k3yb0ard-m0unta1n",
            "zwölf Boxkämpfer jagen",
            &"😀".repeat(8),
            &"ab3-".repeat(256),
        ] {
            assert_eq!(verdict(fine), Ok(()), "{fine}");
        }
    }
}
