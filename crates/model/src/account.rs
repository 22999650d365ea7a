//! The rules for the e-mails and passwords of people and the names of keys, for the API, the command line and the
//! configuration.

use std::ops::RangeInclusive;

use crate::Rule;

/// The length limit of a mail address (RFC 5321, 4.5.3.1.3).
pub const MAX_EMAIL_CHARS: usize = 254;
pub const PASSWORD_CHARS: RangeInclusive<usize> = 8..=1024;
pub const MAX_KEY_NAME_CHARS: usize = 64;

/// Normalises an e-mail for storage: lower case, trimmed. It is a name to sign in with and need not be a mailbox:
/// `admin@localhost` is valid.
pub fn email(text: &str) -> Result<String, Rule> {
    let email = text.trim().to_lowercase();
    let (name, host) = email.split_once('@').ok_or(Rule::Email)?;
    let sides = !name.is_empty() && !host.is_empty() && !host.contains('@');
    if !sides || email.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Rule::Email);
    }
    if email.chars().count() > MAX_EMAIL_CHARS { Err(Rule::MaxLength) } else { Ok(email) }
}

/// The display name of a person without one: the part before `@`.
#[must_use]
pub fn name_of(email: &str) -> &str {
    email.split_once('@').map_or(email, |(name, _)| name)
}

pub fn check_password(password: &str) -> Result<(), Rule> {
    let chars = password.chars().count();
    // A login with a blank password is refused as one without a password.
    if chars > 0 && password.trim().is_empty() {
        Err(Rule::Required)
    } else if chars < *PASSWORD_CHARS.start() {
        Err(Rule::MinLength)
    } else if chars > *PASSWORD_CHARS.end() {
        Err(Rule::MaxLength)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_has_one_at_with_something_on_both_sides() {
        assert_eq!(email(" Admin@LocalHost ").as_deref(), Ok("admin@localhost"));
        for text in ["", "admin", "@h", "a@", "a@b@c", "a b@h", "a@h\u{7}"] {
            assert_eq!(email(text), Err(Rule::Email), "{text:?}");
        }
        assert!(email(&format!("{}@h", "é".repeat(252))).is_ok());
        assert_eq!(email(&format!("{}@h", "é".repeat(253))), Err(Rule::MaxLength));
    }

    #[test]
    fn a_password_has_8_to_1024_characters_that_are_not_all_blank() {
        for (password, expected) in [
            (String::new(), Err(Rule::MinLength)),
            (" ".repeat(9), Err(Rule::Required)),
            ("é".repeat(7), Err(Rule::MinLength)),
            ("é".repeat(8), Ok(())),
            ("é".repeat(1024), Ok(())),
            ("é".repeat(1025), Err(Rule::MaxLength)),
        ] {
            assert_eq!(check_password(&password), expected, "{password}");
        }
    }
}
