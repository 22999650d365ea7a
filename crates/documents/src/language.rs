//! Detects a text's language, and gives the forms under which a word is indexed.

use frostem::{Algorithm, Stemmer};
use wicara_guide::Language;

use crate::lexicon::{ENGLISH_STOP_WORDS, INDONESIAN_STOP_WORDS};
use crate::tokens::words;

/// The language whose stop words a text has more of; `None` where neither has.
#[must_use]
pub fn detect(text: &str) -> Option<Language> {
    let (mut english, mut indonesian) = (0, 0);
    for word in words(text) {
        english += usize::from(ENGLISH_STOP_WORDS.contains(word.as_str()));
        indonesian += usize::from(INDONESIAN_STOP_WORDS.contains(word.as_str()));
    }
    match english.cmp(&indonesian) {
        std::cmp::Ordering::Greater => Some(Language::English),
        std::cmp::Ordering::Less => Some(Language::Indonesian),
        std::cmp::Ordering::Equal => None,
    }
}

/// The forms under which a word is indexed: as written, its English stem, its possible Indonesian roots. Both stemmers
/// are applied to every word, as a document or a question may mix the languages.
#[must_use]
pub fn forms(word: &str) -> [Vec<String>; 3] {
    let stem = |algorithm, word: &str| Stemmer::new(algorithm).stem(word).into_owned();
    let mut roots = vec![stem(Algorithm::Indonesian, word)];
    roots.extend(restored_root(word).map(|root| stem(Algorithm::Indonesian, &root)));
    [vec![word.to_owned()], vec![stem(Algorithm::English, word)], roots]
}

/// The root of an Indonesian active form whose prefix replaced the root's first consonant: mengirim (kirim), menambah
/// (tambah), mematikan (mati). The stemmer restores only the `p` of memakai (pakai) and the `s` of menyimpan (simpan).
fn restored_root(word: &str) -> Option<String> {
    let (remainder, consonant) =
        [("eng", "k"), ("en", "t"), ("em", "m")].into_iter().find_map(|(nasal, consonant)| {
            Some((word.strip_prefix(['m', 'p'])?.strip_prefix(nasal)?, consonant))
        })?;
    remainder.starts_with(['a', 'e', 'i', 'o', 'u']).then(|| format!("{consonant}{remainder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_questions_language_is_told_by_its_small_words() {
        assert_eq!(detect("How do I add a key?"), Some(Language::English));
        assert_eq!(detect("Bagaimana cara menambah kunci?"), Some(Language::Indonesian));
        assert_eq!(detect("Cara backup database SQLite"), Some(Language::Indonesian));
        assert_eq!(detect("PostgreSQL"), None);
    }

    #[test]
    fn the_forms_of_a_word_meet_in_its_stem() {
        assert_eq!(forms("menjalankan")[2], forms("dijalankan")[2]);
        assert_eq!(forms("conversations")[1], forms("conversation")[1]);
        for (active, passive) in [("mengirim", "dikirim"), ("menambahkan", "ditambah"), ("mematikan", "mati")]
        {
            assert!(forms(active)[2].contains(&forms(passive)[2][0]), "{active}");
        }
    }
}
