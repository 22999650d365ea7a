//! How different two words may be to count as one word and its misspelling.

/// Shorter words are too similar to too many others.
const MIN_LENGTH: usize = 4;
/// Words of this length or longer may have two wrong letters.
const TWO_TYPOS_LENGTH: usize = 9;

/// The number of letters that may be wrong in a word. 0 for words with digits, such as `404`: another number is another
/// thing.
#[must_use]
pub fn max_distance(word: &str) -> usize {
    match word.chars().count() {
        _ if !word.chars().all(char::is_alphabetic) => 0,
        ..MIN_LENGTH => 0,
        MIN_LENGTH..TWO_TYPOS_LENGTH => 1,
        _ => 2,
    }
}

/// Neighbours on a keyboard: the rows, each sign also near those of the next row at its own and the next lower place.
const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
/// Letters that sound alike, or that dialects and old spellings exchange.
const ALIKE: [(char, char); 8] =
    [('c', 'k'), ('s', 'z'), ('f', 'v'), ('f', 'p'), ('v', 'p'), ('b', 'p'), ('d', 't'), ('i', 'y')];
/// In shorter words another vowel makes another word: kata, kota.
const MIN_VOWEL_LENGTH: usize = 5;

/// Whether the finger or the ear may have taken one letter for the other. Else a replaced letter makes another word:
/// umur is not umum, nor telat telah.
fn may_replace(one: char, other: char, length: usize) -> bool {
    let is_vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u');
    let place = |c: char| {
        ROWS.iter().enumerate().find_map(|(row, signs)| signs.find(c).map(|at| (row as i32, at as i32)))
    };
    let near = || {
        let ((row, at), (other_row, other_at)) = (place(one)?, place(other)?);
        let lower = if row < other_row { at - other_at } else { other_at - at };
        Some(if row == other_row {
            (at - other_at).abs() == 1
        } else {
            (row - other_row).abs() == 1 && matches!(lower, 0 | 1)
        })
    };
    !one.is_ascii()
        || !other.is_ascii()
        || (is_vowel(one) && is_vowel(other) && length >= MIN_VOWEL_LENGTH)
        || ALIKE.contains(&(one, other))
        || ALIKE.contains(&(other, one))
        || near().unwrap_or(false)
}

/// Whether a word is likely to be typed for another that is `distance` letters away. Of words with one wrong letter, the
/// letter has to be one that is easily taken for the other.
#[must_use]
pub fn is_likely(typed: &str, meant: &str, distance: usize) -> bool {
    let length = typed.chars().count();
    if distance != 1 || length != meant.chars().count() {
        return true;
    }
    let mut different = typed.chars().zip(meant.chars()).filter(|(one, other)| one != other);
    match (different.next(), different.next()) {
        (Some((one, other)), None) => may_replace(one, other, length),
        _ => true,
    }
}

/// The number of letters to insert, delete, replace or swap with the next one to turn one word into the other (optimal
/// string alignment distance); `None` if above `max`.
#[must_use]
pub fn distance(one: &str, other: &str, max: usize) -> Option<usize> {
    // The difference in length is a lower bound, which saves the quadratic computation for most words of a vocabulary.
    if one.chars().count().abs_diff(other.chars().count()) > max {
        return None;
    }
    Some(strsim::osa_distance(one, other)).filter(|distance| *distance <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_the_number_of_slips() {
        for (one, other, expected) in [
            ("port", "port", Some(0)),
            ("chnage", "change", Some(1)),
            ("pasword", "password", Some(1)),
            ("conectoin", "connection", Some(2)),
            ("eror", "error", Some(1)),
            ("kühe", "kuhe", Some(1)),
            ("", "a", Some(1)),
            // 3, not 2: swapped letters are not edited again, so nothing is inserted between them.
            ("ca", "abc", None),
            ("weather", "password", None),
        ] {
            assert_eq!(distance(one, other, 2), expected, "{one} {other}");
        }
        assert_eq!(distance("conectoin", "connection", 1), None);
    }

    #[test]
    fn a_replaced_letter_is_one_that_fingers_or_ears_confuse() {
        for (typed, meant) in [("pajek", "pajak"), ("porr", "port"), ("akted", "aktes"), ("kratu", "kartu")] {
            assert!(is_likely(typed, meant, 1), "{typed} {meant}");
        }
        for (typed, meant) in [("umur", "umum"), ("telat", "telah"), ("bake", "base"), ("kota", "kata")] {
            assert!(!is_likely(typed, meant, 1), "{typed} {meant}");
        }
    }

    #[test]
    fn short_words_and_numbers_are_never_misspelt() {
        assert_eq!(
            ["log", "404", "v2beta", "eror", "pasword", "conection"].map(max_distance),
            [0, 0, 0, 1, 1, 2]
        );
    }
}
