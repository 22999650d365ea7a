//! Which characters make words, and how they are folded.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::words::LONGEST_WORD;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A letter or a digit of a script that puts something between words.
    Letter,
    /// A letter of a script without spaces between words.
    Spaceless,
    /// Belongs to the letter before it.
    Mark,
    /// Invisible: a word goes on as if it were not there.
    Ignored,
    Separator,
}

pub fn class(character: char) -> Class {
    let code = u32::from(character);
    match code {
        0..=0x7f if character.is_ascii_alphanumeric() => return Class::Letter,
        0..=0x7f => return Class::Separator,
        // Most of Latin: no marks.
        0xc0..=0x24f if !matches!(code, 0xd7 | 0xf7) => return Class::Letter,
        0x4e00..=0x9fff => return Class::Spaceless,
        // Letters in circles and squares, and the letters of flags, are signs.
        0x1_f100..=0x1_f1ff => return Class::Separator,
        // Halfwidth kana have their marks as letters.
        0xff9e | 0xff9f => return Class::Mark,
        _ => {}
    }
    if is_ignored(code) {
        Class::Ignored
    } else if is_combining_mark(character) {
        Class::Mark
    } else if !character.is_alphanumeric() {
        Class::Separator
    } else if is_spaceless(code) {
        Class::Spaceless
    } else {
        Class::Letter
    }
}

/// Han, Kana, Thai, Lao, Myanmar, Khmer, Balinese, Javanese.
fn is_spaceless(code: u32) -> bool {
    matches!(code,
        0x0e00..=0x0eff
        | 0x1000..=0x109f
        | 0x1780..=0x17ff
        | 0x1b00..=0x1b7f
        | 0x3005..=0x3007
        | 0x3021..=0x3029
        | 0x3038..=0x303b
        | 0x3041..=0x30ff
        | 0x31f0..=0x31ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa980..=0xa9ff
        | 0xaa60..=0xaa7f
        | 0xf900..=0xfaff
        | 0xff66..=0xff9d
        | 0x1_aff0..=0x1_b16f
        | 0x2_0000..=0x3_ffff)
}

/// Soft hyphen, joiners, characters of no width, of direction and of filling, tags.
fn is_ignored(code: u32) -> bool {
    matches!(code,
        0xad | 0x61c | 0x115f | 0x1160 | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164
        | 0xfeff | 0xffa0 | 0x1_d173..=0x1_d17a | 0xe_0000..=0xe_007f)
}

/// Characters that override or isolate a direction until another ends it, which an excerpt may cut off.
pub fn directs(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Accents of Latin, Greek and Cyrillic, vowel signs of Arabic and Hebrew with Arabic's tatweel, variation selectors. The
/// marks of other scripts are letters in all but name and stay.
fn is_stripped(code: u32) -> bool {
    matches!(code,
        0x300..=0x36f
        | 0x483..=0x489
        | 0x591..=0x5c7
        | 0x610..=0x61a
        | 0x640
        | 0x64b..=0x65f
        | 0x670
        | 0x6d6..=0x6ed
        | 0x898..=0x89f
        | 0x8ca..=0x8ff
        | 0x180b..=0x180f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20ff
        | 0x2de0..=0x2dff
        | 0xa66f..=0xa67d
        | 0xa69e..=0xa69f
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xe_0100..=0xe_01ef)
}

/// What a person types for a letter that Unicode does not take apart.
fn plain(character: char) -> Option<&'static str> {
    Some(match character {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŧ' => "t",
        'ς' => "σ",
        _ => return None,
    })
}

/// Whether folding leaves the character as it is, whatever stands beside it that is also such.
fn is_folded(character: char) -> bool {
    matches!(character,
        'a'..='z' | '0'..='9' | 'а'..='и' | 'к'..='я' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | 'ー' | '가'..='힣' | '\u{4e00}'..='\u{9fff}')
}

/// The word in the form in which words are compared: compatible forms made one, small letters, no accents, nothing
/// invisible, in NFC, no more than [`LONGEST_WORD`] bytes.
pub fn fold(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        let word = &word[..word.len().min(LONGEST_WORD)];
        return if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(word.to_ascii_lowercase())
        } else {
            Cow::Borrowed(word)
        };
    }
    if word.chars().all(is_folded) {
        return Cow::Borrowed(cut(word));
    }
    let mut folded = String::with_capacity(word.len());
    for character in word.nfkd().filter(|character| !is_stripped(u32::from(*character))) {
        for character in character.to_lowercase() {
            match plain(character) {
                Some(plain) => folded.push_str(plain),
                None if is_safe(character, folded.is_empty()) => folded.push(character),
                None => {}
            }
        }
    }
    if !folded.is_ascii() {
        folded = folded.nfc().collect();
    }
    folded.truncate(cut(&folded).len());
    Cow::Owned(folded)
}

/// Whether a term may have the character. Taking a character apart may yield others: ½ is 1, a stroke, 2. A mark whose
/// letter is stripped has nothing to belong to.
fn is_safe(character: char, is_first: bool) -> bool {
    match class(character) {
        Class::Letter | Class::Spaceless => !is_stripped(u32::from(character)),
        Class::Mark => !is_first && !is_stripped(u32::from(character)),
        Class::Ignored | Class::Separator => false,
    }
}

fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(LONGEST_WORD)]
}
