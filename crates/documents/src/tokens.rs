//! Splits a text into the words that are searched for, in lower case.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// A run of digits after a point or comma that continues the number before: thousands (10.000).
const THOUSANDS_DIGITS: usize = 3;

/// A text's words: runs of letters, and runs of digits.
///
/// * What has several encodings has one word: letters composed or not, ligatures, full width. Soft hyphens and signs
///   without width are no part of it.
/// * `Rp10.000` is the words rp and 10000, as `rp 10.000` is, and `2MB` those of `2 MB`. A word with single letters
///   between digits, such as `k8s` or `v1`, is one.
pub fn words(text: &str) -> Vec<String> {
    let text = normalized(text);
    let mut words = Vec::new();
    each_token(&text, |token| split_at_digits(token, |part| words.push(part.to_lowercase())));
    words
}

/// As [`words`], and the parts of names of program code too: `bodyLimit` is found as bodylimit, body and limit. Two words with
/// a hyphen are one word too, as others write them: `e-mail` is found as email.
pub fn words_and_parts(text: &str) -> Vec<String> {
    let text = normalized(text);
    let mut words = Vec::new();
    each_token(&text, |token| {
        split_at_digits(token, |part| {
            words.push(part.to_lowercase());
            let mut humps = humps(part).peekable();
            let first = humps.next();
            if humps.peek().is_some() {
                words.extend(first.into_iter().chain(humps).map(str::to_lowercase));
            }
        });
    });
    for hyphened in text.split(|c: char| !(c.is_alphabetic() || c == '-')) {
        // What is said twice is no new word: anak-anak.
        if let Some((one, other)) = hyphened.split_once('-')
            && one != other
            && [one, other].iter().all(|part| !part.is_empty() && !part.contains('-'))
        {
            words.push(format!("{one}{other}").to_lowercase());
        }
    }
    words
}

fn normalized(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let is_invisible =
        |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    if is_nfkc(text) && !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| !is_invisible(*c)).nfkc().collect())
}

/// Runs of letters and digits, with the points of thousands left out.
fn each_token(text: &str, mut found: impl FnMut(&str)) {
    let mut number = String::new();
    let mut tokens = text.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()).peekable();
    while let Some(token) = tokens.next() {
        number.clear();
        let mut last = token;
        while ends_with_digit(last)
            && let Some(next) = tokens.next_if(|next| continues_number(text, last, next))
        {
            if number.is_empty() {
                number.push_str(token);
            }
            number.push_str(next);
            last = next;
        }
        found(if number.is_empty() { token } else { &number });
    }
}

fn ends_with_digit(token: &str) -> bool {
    token.ends_with(|c: char| c.is_ascii_digit())
}

/// Whether `next` is the thousands of the number that `last` ends with. Both are parts of `text`.
fn continues_number(text: &str, last: &str, next: &str) -> bool {
    let start = last.as_ptr() as usize - text.as_ptr() as usize + last.len();
    let end = next.as_ptr() as usize - text.as_ptr() as usize;
    let digits = next.chars().take_while(char::is_ascii_digit).count();
    let before = last.chars().rev().take_while(char::is_ascii_digit).count();
    matches!(&text[start..end], "." | ",") && digits == THOUSANDS_DIGITS && before <= THOUSANDS_DIGITS
}

/// Splits letters from digits, where there are two or more letters in a row and one boundary alone.
fn split_at_digits(token: &str, mut found: impl FnMut(&str)) {
    let is_digit = |c: char| c.is_numeric();
    let first_is_digit = token.starts_with(is_digit);
    let boundary = token.find(|c: char| is_digit(c) != first_is_digit);
    if let Some(boundary) = boundary {
        let (one, other) = token.split_at(boundary);
        let letters = if first_is_digit { other } else { one };
        if !other.contains(|c: char| is_digit(c) == first_is_digit) && letters.chars().nth(1).is_some() {
            found(one);
            return found(other);
        }
    }
    found(token);
}

/// The parts of a name in camel case: a new one begins where a capital follows a small letter, and with the last of
/// several capitals before a small one (`onHTTPError`: on, HTTP, Error).
fn humps(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        let mut signs = rest.char_indices().peekable();
        let mut before: Option<char> = None;
        while let Some((at, sign)) = signs.next() {
            let next_is_small = signs.peek().is_some_and(|(_, next)| next.is_lowercase());
            let begins = sign.is_uppercase()
                && before
                    .is_some_and(|before| before.is_lowercase() || (before.is_uppercase() && next_is_small));
            if begins {
                end = at;
                break;
            }
            before = Some(sign);
        }
        let (hump, others) = rest.split_at(end);
        rest = others;
        Some(hump)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(
            words("Apa-apa saja? `X-API-Key`, É 9"),
            ["apa", "apa", "saja", "x", "api", "key", "é", "9"]
        );
    }

    #[test]
    fn amounts_are_found_however_they_are_spaced() {
        for (one, other) in [
            ("Rp10.000", "rp 10.000"),
            ("2 MB", "2MB"),
            ("08.00WIB", "08.00 WIB"),
            ("Rp1.500.000,-", "rp 1500000"),
            ("1,024", "1024"),
        ] {
            assert_eq!(words(one), words(other), "{one}");
        }
        assert_eq!(words("k8s v1 127.0.0.1 12.2025"), ["k8s", "v1", "127", "0", "0", "1", "12", "2025"]);
    }

    #[test]
    fn what_looks_the_same_is_the_same_word() {
        for written in ["cafe\u{301}", "caf\u{e9}", "ca\u{ad}f\u{e9}", "c\u{200b}af\u{e9}", "\u{feff}ｃａｆé"]
        {
            assert_eq!(words(written), ["caf\u{e9}"], "{written:?}");
        }
    }

    #[test]
    fn names_of_program_code_are_found_by_their_parts() {
        assert_eq!(words_and_parts("bodyLimit"), ["bodylimit", "body", "limit"]);
        assert_eq!(words_and_parts("onHTTPError"), ["onhttperror", "on", "http", "error"]);
        assert_eq!(words_and_parts("Plain KTP"), ["plain", "ktp"]);
        assert_eq!(words_and_parts("E-mail, anak-anak"), ["e", "mail", "anak", "anak", "email"]);
    }
}
