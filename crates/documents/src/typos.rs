//! What a misspelt word was meant to be.

/// Shorter words have too many neighbours.
const SHORTEST: usize = 4;
/// Words from this length on may have two wrong letters.
const LONG: usize = 9;

/// How many letters of a word may be wrong; none in one that is no mere word, such as `404`.
#[must_use]
pub fn allowed(word: &str) -> usize {
    match word.chars().count() {
        _ if !word.chars().all(char::is_alphabetic) => 0,
        ..SHORTEST => 0,
        SHORTEST..LONG => 1,
        _ => 2,
    }
}

/// How many letters have to be put in, left out, replaced or swapped with the next to make one word of the other;
/// `None` if more than `most`.
#[must_use]
pub fn distance(one: &str, other: &str, most: usize) -> Option<usize> {
    // Each letter more is one to put in, so that most words of a vocabulary need no table.
    if one.chars().count().abs_diff(other.chars().count()) > most {
        return None;
    }
    Some(strsim::osa_distance(one, other)).filter(|distance| *distance <= most)
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
            // A letter that was swapped is not touched again, or it would be two.
            ("ca", "abc", None),
            ("weather", "password", None),
        ] {
            assert_eq!(distance(one, other, 2), expected, "{one} {other}");
        }
        assert_eq!(distance("conectoin", "connection", 1), None);
    }

    #[test]
    fn short_words_and_numbers_are_never_misspelt() {
        assert_eq!(["log", "404", "v2beta", "eror", "pasword", "conection"].map(allowed), [0, 0, 0, 1, 1, 2]);
    }
}
