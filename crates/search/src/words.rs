//! A text's words.

use std::borrow::Cow;
use std::ops::Range;

use crate::character::{Class, class, fold};

/// In bytes of the folded form. A longer word is known by as much of it, in a text as in a query. PostgreSQL's lexemes
/// have less than 2 KB.
pub const LONGEST_WORD: usize = 128;
/// Words of a text; what follows is not searched. No position in a PostgreSQL `tsvector` is higher.
pub const MOST_WORDS: usize = 16_383;
/// Bytes of a text's folded words; what follows is not searched. With four bytes for a position and, in the worst case,
/// two stems of the word's length, a `tsvector` of them stays below its 1 MB.
pub const MOST_BYTES: usize = 192 * 1024;

/// A word of a text: a run of letters and digits. Where a script has no spaces, each pair of neighbouring letters, and a
/// run's last letter by itself, which makes a single letter the beginning of at least one word wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// 1, 2, 3 and so on, up to [`MOST_WORDS`].
    pub position: usize,
    /// In bytes of the text.
    pub range: Range<usize>,
    /// The folded form: without case, accents and invisible characters, the same for NFC and NFD.
    pub surface: Cow<'a, str>,
    /// Where the first letter of a pair ends in the text; of other words, their end.
    pub(crate) head_end: usize,
    pub(crate) spaceless: bool,
}

impl Word<'_> {
    /// Whether it is one letter of a script without spaces.
    pub(crate) fn is_single(&self) -> bool {
        self.spaceless && self.head_end == self.range.end
    }
}

/// The words of a text, in order, up to [`MOST_WORDS`] and [`MOST_BYTES`]. All else separates them: spaces, signs, emoji.
#[must_use]
pub fn words(text: &str) -> Words<'_> {
    Words { text, at: 0, position: 0, bytes: 0 }
}

/// What [`words`] returns.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    text: &'a str,
    at: usize,
    position: usize,
    bytes: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        while self.position < MOST_WORDS {
            let start = self.skip_separators()?;
            let spaceless = self.class_at(start) == Some(Class::Spaceless);
            let (head_end, end) = if spaceless { self.pair(start) } else { self.run(start) };
            let surface = fold(&self.text[start..end]);
            if surface.is_empty() {
                continue;
            }
            self.bytes += surface.len();
            if self.bytes > MOST_BYTES {
                break;
            }
            self.position += 1;
            return Some(Word { position: self.position, range: start..end, surface, head_end, spaceless });
        }
        self.at = self.text.len();
        None
    }
}

impl Words<'_> {
    fn char_at(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    fn class_at(&self, at: usize) -> Option<Class> {
        self.char_at(at).map(class)
    }

    /// To the next letter; `None` at the end.
    fn skip_separators(&mut self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        loop {
            let byte = *bytes.get(self.at)?;
            if byte.is_ascii() {
                if byte.is_ascii_alphanumeric() {
                    return Some(self.at);
                }
                self.at += 1;
                continue;
            }
            let character = self.char_at(self.at)?;
            if matches!(class(character), Class::Letter | Class::Spaceless) {
                return Some(self.at);
            }
            self.at += character.len_utf8();
        }
    }

    /// The end of the run of letters, twice.
    fn run(&mut self, start: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let (mut at, mut end) = (start, start);
        loop {
            while bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) {
                at += 1;
                end = at;
            }
            if bytes.get(at).is_none_or(u8::is_ascii) {
                break;
            }
            let Some(character) = self.char_at(at) else { break };
            let next = at + character.len_utf8();
            match class(character) {
                Class::Letter | Class::Mark => (at, end) = (next, next),
                Class::Ignored => at = next,
                Class::Spaceless | Class::Separator => break,
            }
        }
        self.at = at;
        (end, end)
    }

    /// The ends of the first and the second letter of a pair; the same twice, where no second one follows. The next word
    /// begins with the second.
    fn pair(&mut self, start: usize) -> (usize, usize) {
        let (head_end, next) = self.letter(start);
        self.at = next;
        if self.class_at(next) == Some(Class::Spaceless) {
            (head_end, self.letter(next).0)
        } else {
            (head_end, head_end)
        }
    }

    /// The end of a letter with its marks, and with what is invisible after it.
    fn letter(&self, start: usize) -> (usize, usize) {
        let mut at = start + self.char_at(start).map_or(0, char::len_utf8);
        let mut end = at;
        while let Some(character) = self.char_at(at) {
            let next = at + character.len_utf8();
            match class(character) {
                Class::Mark => (at, end) = (next, next),
                Class::Ignored => at = next,
                Class::Letter | Class::Spaceless | Class::Separator => break,
            }
        }
        (end, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surfaces(text: &str) -> Vec<String> {
        words(text).map(|word| word.surface.into_owned()).collect()
    }

    #[test]
    fn letters_and_digits_together_are_a_word_and_all_else_separates() {
        for (text, expected) in [
            ("", &[][..]),
            ("Kartu saya HILANG, tolong!", &["kartu", "saya", "hilang", "tolong"]),
            ("POL-358", &["pol", "358"]),
            ("nama.saya@kota.go.id", &["nama", "saya", "kota", "go", "id"]),
            ("https://a.id/x?y=1#z", &["https", "a", "id", "x", "y", "1", "z"]),
            ("10.0.0.1:8080 [::1]", &["10", "0", "0", "1", "8080", "1"]),
            ("let my_var2 = fooBar(\"x\\n\");", &["let", "my", "var2", "foobar", "x", "n"]),
            ("Rp1.500.000,-", &["rp1", "500", "000"]),
            ("don't Jum’at", &["don", "t", "jum", "at"]),
            ("a\0b\u{1}c", &["a", "b", "c"]),
        ] {
            assert_eq!(surfaces(text), expected, "{text:?}");
        }
    }

    #[test]
    fn signs_and_emoji_are_no_words() {
        for text in
            ["!?… — €%", "😀👩‍👩‍👧👍🏽❤️", "🇮🇩", "🅰🅱", "\u{301}\u{200d}\u{fe0f}", "ـ", "ـ\u{3099}", "\u{3164}"]
        {
            assert_eq!(surfaces(text), [""; 0], "{text}");
        }
        assert_eq!(surfaces("ok👍🏽ya 1️⃣"), ["ok", "ya", "1"]);
    }

    #[test]
    fn case_accents_and_what_is_invisible_are_folded() {
        for (text, expected) in [
            ("É", "e"),
            ("E\u{301}", "e"),
            ("ÅNGSTRÖM", "angstrom"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("Łódź", "lodz"),
            ("İstanbul", "istanbul"),
            ("ΟΔΌΣ", "οδοσ"),
            ("οδός", "οδοσ"),
            ("Ёлка", "елка"),
            ("Ｗｉｃａｒａ", "wicara"),
            ("ﬁle", "file"),
            ("so\u{ad}ft", "soft"),
            ("ze\u{200b}ro", "zero"),
            ("a\u{2060}b\u{feff}c", "abc"),
            ("مُحَمَّد", "محمد"),
            ("محـــمد", "محمد"),
            ("שָׁלוֹם", "שלום"),
            ("हिन्दी", "हिन्दी"),
            ("한국어", "한국어"),
            ("½", "12"),
        ] {
            assert_eq!(surfaces(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_script_without_spaces_is_pairs_and_the_last_letter() {
        for (text, expected) in [
            ("日", &["日"][..]),
            ("日本語", &["日本", "本語", "語"]),
            ("2024年3月", &["2024", "年", "3", "月"]),
            ("カード を", &["カー", "ード", "ド", "を"]),
            ("が", &["が"]),
            ("か\u{3099}き", &["がき", "き"]),
            ("ﾊﾞｽ", &["バス", "ス"]),
            ("ที่นี่", &["ที่นี่", "นี่"]),
            ("abc日本", &["abc", "日本", "本"]),
            ("日\u{200b}本", &["日本", "本"]),
        ] {
            assert_eq!(surfaces(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_knows_its_place_in_the_text() {
        let text = " «Élan» \u{200b}日本 x\u{301}\u{200d}.";
        let places: Vec<_> = words(text).map(|word| (word.position, &text[word.range])).collect();
        assert_eq!(places, [(1, "Élan"), (2, "日本"), (3, "本"), (4, "x\u{301}")]);
    }

    #[test]
    fn long_words_and_long_texts_are_known_by_their_first_part() {
        assert_eq!(surfaces(&"ABC".repeat(100))[0], "abc".repeat(100)[..LONGEST_WORD]);
        let [cut] = &surfaces(&"ж".repeat(1000))[..] else { panic!("one word") };
        assert_eq!(cut.len(), LONGEST_WORD);
        assert_eq!(words(&"a ".repeat(MOST_WORDS + 5)).count(), MOST_WORDS);
        let long = format!("{} ", "a".repeat(LONGEST_WORD));
        assert_eq!(words(&long.repeat(MOST_WORDS)).count(), MOST_BYTES / LONGEST_WORD);
    }
}
