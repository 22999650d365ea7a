//! What an unknown word of a question may be: a spelling of Indonesian chats, a form of spoken Indonesian or Javanese, or
//! a word that exists and is merely not in the documents.
//!
//! `data/kamus-alay.tsv` has spellings that no rule finds (brp, bgmn), `data/english-words.txt` words that exist.

use std::cmp::Ordering;

use crate::lexicon::is_stop_word;

/// Lines of a spelling, a tab and the standard one, sorted by bytes.
const CHAT_SPELLINGS: &str = include_str!("../data/kamus-alay.tsv");
/// Lines of a word, sorted by bytes.
const ENGLISH_WORDS: &str = include_str!("../data/english-words.txt");

/// So many times the same letter in a row is one, drawn out: bangeeet.
const DRAWN_OUT: usize = 3;
/// The letters that must be left where a suffix or prefix is taken away.
const MIN_REMAINDER: usize = 3;

/// The line of a sorted list whose part before a tab is `word`.
fn find_line(lines: &'static str, word: &str) -> Option<&'static str> {
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = lines.floor_char_boundary(low + (high - low) / 2);
        let start = lines[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = lines[middle..].find('\n').map_or(lines.len(), |at| middle + at);
        let line = &lines[start..end];
        let key = line.split('\t').next().unwrap_or_default();
        match key.cmp(word) {
            Ordering::Equal => return Some(line),
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    None
}

/// The standard words of a chat spelling: gmn (bagaimana), ortu (orang tua).
fn chat_spelling(word: &str) -> Option<&'static str> {
    let lookup = |word: &str| find_line(CHAT_SPELLINGS, word)?.split_once('\t').map(|(_, standard)| standard);
    lookup(word).or_else(|| lookup(&without_drawn_out_letters(word)?))
}

fn without_drawn_out_letters(word: &str) -> Option<String> {
    let signs: Vec<char> = word.chars().collect();
    let runs = signs.chunk_by(|one, other| one == other);
    let short: String =
        runs.flat_map(|run| &run[..if run.len() >= DRAWN_OUT { 1 } else { run.len() }]).collect();
    (short.len() < word.len()).then_some(short)
}

#[must_use]
pub fn is_english_word(word: &str) -> bool {
    find_line(ENGLISH_WORDS, word).is_some()
}

/// What a word that the documents do not have may stand for, most likely first; each is one or more words. They need
/// not be words. `english`: the question is in English, so that its words are not those of Indonesian chats.
#[must_use]
pub fn readings(word: &str, english: bool) -> Vec<String> {
    let mut readings = Vec::new();
    if english {
        return readings;
    }
    let bases: Vec<String> = chat_bases(word);
    for base in std::iter::once(word).chain(bases.iter().map(String::as_str)) {
        readings.extend(chat_spelling(base).map(str::to_owned));
    }
    readings.extend(bases);
    readings.extend(without_drawn_out_letters(word));
    readings
}

/// What a word that some document has may stand for besides itself, each one word: the standard one for a chat spelling that
/// a document quotes (ilang, hilang), or for a form of spoken Indonesian (balikin, balikkan).
#[must_use]
pub fn readings_beside(word: &str, english: bool) -> Vec<String> {
    if is_english_word(word) || is_standard_word(word) {
        return Vec::new();
    }
    let mut readings = readings(word, english);
    readings.retain(|reading| !reading.contains(' ') && !is_stop_word(reading));
    readings
}

/// Whether a word is a stop word in another spelling, such as one with the suffix `-nya`.
#[must_use]
pub fn is_spelt_stop_word(word: &str, english: bool) -> bool {
    let is_stop_phrase = |reading: &str| reading.split(' ').all(is_stop_word);
    !english
        && (chat_spelling(word).is_some_and(is_stop_phrase)
            || suffixless(word)
                .is_some_and(|base| is_stop_word(base) || chat_spelling(base).is_some_and(is_stop_phrase)))
}

/// The word without a suffix that means "its" or "the".
fn suffixless(word: &str) -> Option<&str> {
    word.strip_suffix("nya").filter(|base| base.len() >= 2)
}

/// Words that a form of spoken Indonesian or Javanese may come from: lognya (log), matiin (matikan), nyari (cari), nambah
/// (menambah), kepake (terpakai), setaun (taun), dendane (denda), mbayar (bayar).
fn chat_bases(word: &str) -> Vec<String> {
    let mut bases = Vec::new();
    let mut add = |base: String| {
        if base.len() >= MIN_REMAINDER && base != word && !bases.contains(&base) {
            bases.push(base);
        }
    };
    if let Some(base) = suffixless(word) {
        add(base.to_owned());
        nasal_bases(base).into_iter().for_each(&mut add);
    }
    let without_in = word.strip_suffix("in");
    if let Some(base) = without_in {
        add(format!("{base}kan"));
        add(base.to_owned());
        nasal_bases(base).into_iter().for_each(&mut add);
    }
    nasal_bases(word).into_iter().for_each(&mut add);
    if let Some(base) = word.strip_prefix("ke") {
        add(format!("ter{base}"));
        add(base.to_owned());
    }
    for prefix in ["se", "tak", "di"] {
        word.strip_prefix(prefix).into_iter().for_each(|base| add(base.to_owned()));
    }
    for suffix in ["an", "ne", "e"] {
        word.strip_suffix(suffix).into_iter().for_each(|base| add(base.to_owned()));
    }
    bases
}

/// The roots of active forms without `me-`: nyari (cari, sari), ngirim (kirim), ngubah (ubah), nulis (tulis), mukul (pukul),
/// mbayar (bayar), nambah (menambah).
fn nasal_bases(word: &str) -> Vec<String> {
    let mut bases = Vec::new();
    // `nge-` is for short words: ngecek (cek), ngeprint (print).
    bases.extend(word.strip_prefix("nge").map(str::to_owned));
    let prefixes: [(&str, &[&str]); 4] =
        [("ny", &["s", "c"]), ("ng", &["", "k"]), ("n", &["t", ""]), ("m", &["p", ""])];
    for (prefix, consonants) in prefixes {
        if let Some(remainder) = word.strip_prefix(prefix) {
            bases.extend(consonants.iter().map(|consonant| format!("{consonant}{remainder}")));
            bases.push(format!("me{word}"));
            break;
        }
    }
    bases
}

/// Whether a word exists, as far as the lists know: then it is not a misspelling of another.
#[must_use]
pub fn exists(word: &str) -> bool {
    is_english_word(word) || chat_spelling(word).is_some() || is_standard_word(word)
}

/// Whether a chat spelling stands for the word.
fn is_standard_word(word: &str) -> bool {
    use std::collections::HashSet;
    use std::sync::LazyLock;
    static STANDARD: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        CHAT_SPELLINGS
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .flat_map(|(_, it)| it.split(' '))
            .collect()
    });
    STANDARD.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_language_is_written_out() {
        for (typed, meant) in [
            ("lognya", "log"),
            ("matiin", "matikan"),
            ("nyoba", "coba"),
            ("nambah", "menambah"),
            ("ngecek", "cek"),
            ("ngirimin", "kirim"),
            ("ortu", "orang tua"),
            ("ilang", "hilang"),
            ("ngurusnya", "mengurus"),
            ("dendane", "denda"),
            ("mbayar", "bayar"),
            ("hilaaang", "hilang"),
        ] {
            assert!(
                readings(typed, false).contains(&meant.to_owned()),
                "{typed}: {:?}",
                readings(typed, false)
            );
        }
        assert_eq!(readings("402", false), [""; 0]);
        for (typed, meant) in [("ilang", "hilang"), ("balikin", "balikkan")] {
            assert!(readings_beside(typed, false).contains(&meant.to_owned()), "{typed}");
        }
        for word in ["gmn", "hilang", "server"] {
            assert_eq!(readings_beside(word, false), [""; 0], "a stop word, or a word that exists");
        }
        assert_eq!(readings("login", true), [""; 0], "an English question has no chat spellings");
    }

    #[test]
    fn the_lists_are_sorted_as_they_are_searched() {
        for list in [CHAT_SPELLINGS, ENGLISH_WORDS] {
            let keys: Vec<&str> = list.lines().map(|line| line.split('\t').next().unwrap()).collect();
            assert!(keys.is_sorted() && list.is_ascii());
            for word in [keys[0], keys[keys.len() / 2], keys[keys.len() - 1]] {
                assert!(find_line(list, word).is_some(), "{word}");
            }
            assert!(find_line(list, "zzzzz").is_none() && find_line(list, "").is_none());
        }
    }

    #[test]
    fn a_stop_word_in_another_spelling_is_one() {
        for word in ["gmna", "knpp", "dmna", "adanya"] {
            assert!(is_spelt_stop_word(word, false), "{word}");
        }
        for word in ["kartu", "biayanya"] {
            assert!(!is_spelt_stop_word(word, false), "{word}");
        }
    }

    #[test]
    fn words_that_exist_are_known() {
        for word in ["bake", "recipe", "telat", "hilang", "gmn"] {
            assert!(exists(word), "{word}");
        }
        for word in ["pasword", "kunig"] {
            assert!(!exists(word), "{word}");
        }
    }
}
