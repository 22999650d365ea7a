//! The two languages that are understood: their words, stems and stop words.

use std::collections::HashSet;
use std::sync::LazyLock;

use frostem::{Algorithm, Stemmer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    Indonesian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Indonesian];

    /// As HTML's `lang` has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Indonesian => "id",
        }
    }

    /// What the language calls itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Indonesian => "Bahasa Indonesia",
        }
    }

    /// The language whose stop words a text has more of; `None` where neither has.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (mut english, mut indonesian) = (0, 0);
        for word in words(text) {
            english += usize::from(ENGLISH.contains(word.as_str()));
            indonesian += usize::from(INDONESIAN.contains(word.as_str()));
        }
        match english.cmp(&indonesian) {
            std::cmp::Ordering::Greater => Some(Language::English),
            std::cmp::Ordering::Less => Some(Language::Indonesian),
            std::cmp::Ordering::Equal => None,
        }
    }
}

/// A text's words in lower case: runs of letters and digits.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Whether a word says nothing about what a question is about.
#[must_use]
pub fn is_stop_word(word: &str) -> bool {
    ENGLISH.contains(word) || INDONESIAN.contains(word)
}

/// The forms under which a word is found: itself, its English and its Indonesian stem.
#[must_use]
pub fn forms(word: &str) -> [String; 3] {
    [
        word.to_owned(),
        Stemmer::new(Algorithm::English).stem(word).into_owned(),
        Stemmer::new(Algorithm::Indonesian).stem(word).into_owned(),
    ]
}

static ENGLISH: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    "a about again all also am an and any anybody anyone anything are as ask at available be been before being but by bye can \
     cannot could d did didn do does doesn doing don done else ever explain for from get gets getting give go goes \
     good got had happen happened happens has have having hello help here hey hi how i if in into is isn it its just \
     kind know let like live ll located look m make many may me mean means might morning much must my name need needed needs no not now \
     of ok okay on one or our ours out please possible re s say see shall should show so some somebody someone something \
     still such sure t tell than thank thanks that the their them then there these they thing things this those to \
     too up us use used using ve very want wants was way we were what when where whether which while who whom whose \
     why will with without won would yes yet you your yours"
        .split_whitespace()
        .collect()
});

static INDONESIAN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    "ada adakah adalah agar aja akan aku anda apa apabila apakah apanya arti artinya atas atau bagaimana bagaimanakah bagi bahwa \
     baik banyak beberapa begitu belum berapa bila bisa bisakah boleh bolehkah buat bukan cara caranya coba dalam dan \
     dapat dapatkah dari dengan di dia dong gimana hai halo hanya harus haruskah hingga ia ialah ingin ini itu jadi \
     jangan jelaskan jika juga kah kak kalau kami kamu kan kapan karena ke kenapa kepada ketika kita kok lah lagi lain \
     lalu lebih lewat lihat maka malam mana mau melalui melihat mengapa mereka min misalnya mohon nama namamu namun nanti nih nya oleh pada pagi paling \
     para per perlu permisi pernah pun saat saja sama sambil sampai sangat saya sebagai sebelum sebuah sedang sehingga \
     sekarang selamat semua seperti serta sesuatu sesudah setelah setiap siang siapa siapakah sih sore suatu sudah \
     supaya tanpa tanya tapi tentang terhadap terima kasih tersebut tersedia tetapi tiap tidak tolong untuk ya yaitu yang"
        .split_whitespace()
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_questions_language_is_told_by_its_small_words() {
        assert_eq!(Language::of("How do I add a key?"), Some(Language::English));
        assert_eq!(Language::of("Bagaimana cara menambah kunci?"), Some(Language::Indonesian));
        assert_eq!(Language::of("Cara backup database SQLite"), Some(Language::Indonesian));
        assert_eq!(Language::of("PostgreSQL"), None);
    }

    #[test]
    fn the_forms_of_a_word_meet_in_its_stem() {
        assert_eq!(forms("menjalankan")[2], forms("dijalankan")[2]);
        assert_eq!(forms("conversations")[1], forms("conversation")[1]);
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        let found: Vec<_> = words("Apa-apa saja? `X-API-Key`, É 9").collect();
        assert_eq!(found, ["apa", "apa", "saja", "x", "api", "key", "é", "9"]);
    }
}
