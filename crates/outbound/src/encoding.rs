//! The text of bytes that should be UTF-8.

use std::borrow::Cow;

/// The first byte of ISO 8859-1 that is a character of its own, and none in the middle of one in UTF-8.
const FIRST_LATIN: u8 = 0xc0;

/// Decodes UTF-8. A byte that is none by itself is a letter of ISO 8859-1, as old servers send it; any other wrong bytes are
/// U+FFFD. One such byte, perhaps in a comment, is no reason to lose an answer.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        match chunk.invalid() {
            [] => {}
            [byte] if *byte >= FIRST_LATIN => text.push(char::from(*byte)),
            _ => text.push('\u{fffd}'),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_byte_loses_no_text() {
        for (bytes, text) in [
            ("caf\u{e9} \u{1f600}".as_bytes(), "caf\u{e9} \u{1f600}"),
            (b"caf\xe9 \xdcber", "caf\u{e9} \u{dc}ber"),
            (b"a\x98b", "a\u{fffd}b"),
            (b"a\xf0\x9f\x98", "a\u{fffd}"),
        ] {
            assert_eq!(text_of(bytes), text);
        }
    }
}
