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
    if one.len().abs_diff(other.len()) > most * 4 {
        return None;
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    // Rows of the table of distances between what the words begin with: the last but one, the last, this one.
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for row in 1..=one.len() {
        let mut this = vec![row; other.len() + 1];
        for column in 1..=other.len() {
            let same = one[row - 1] == other[column - 1];
            this[column] =
                (last[column] + 1).min(this[column - 1] + 1).min(last[column - 1] + usize::from(!same));
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                this[column] = this[column].min(before[column - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, this);
    }
    Some(last[other.len()]).filter(|distance| *distance <= most)
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
