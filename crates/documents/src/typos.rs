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
    fn short_words_and_numbers_are_never_misspelt() {
        assert_eq!(
            ["log", "404", "v2beta", "eror", "pasword", "conection"].map(max_distance),
            [0, 0, 0, 1, 1, 2]
        );
    }
}
