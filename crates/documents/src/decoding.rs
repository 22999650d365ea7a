//! Turns the bytes of a file into text, whatever editor wrote it.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The part of an HTML page in which it names its encoding: that much is what browsers read.
const DECLARATION_BYTES: usize = 1024;
/// The part of a file that is looked at to tell UTF-16 from bytes that are no text.
const PROBE_BYTES: usize = 4096;

/// The text of a file: in the encoding that its byte order mark or its HTML declares, else UTF-8, else UTF-16 as its zero
/// bytes show it, else Windows-1252, which old editors on Windows write. `None` where it is no text.
#[must_use]
pub fn text(bytes: &[u8], is_html: bool) -> Option<String> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return decoded(encoding, &bytes[mark..]);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return is_text(text).then(|| text.to_owned());
    }
    let declared = is_html.then(|| declared_encoding(bytes)).flatten();
    // A page that is no UTF-8 is not in the encoding that it declares.
    let declared = declared.filter(|encoding| *encoding != UTF_8);
    decoded(declared.or_else(|| utf_16(bytes)).unwrap_or(WINDOWS_1252), bytes)
}

fn decoded(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    is_text(&text).then(|| text.into_owned())
}

/// Pictures and programs have control characters that no text has.
fn is_text(text: &str) -> bool {
    !text.contains(|c: char| matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1a}'))
}

/// UTF-16 without a mark: Latin letters have a zero byte each, always before or always behind them.
fn utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    let probe = &bytes[..bytes.len().min(PROBE_BYTES)];
    let zeros = |offset: usize| probe.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (before, behind) = (zeros(0), zeros(1));
    match (before * 4 > probe.len(), behind * 4 > probe.len()) {
        (true, false) => Some(UTF_16BE),
        (false, true) => Some(UTF_16LE),
        _ => None,
    }
}

/// The encoding that `<meta charset=…>` names.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let beginning =
        String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_BYTES)]).to_ascii_lowercase();
    let (_, rest) = beginning.split_once("charset")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    Encoding::for_label(&rest.as_bytes()[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_encoding_is_read() {
        let wanted = "Biaya caf\u{e9}: 5 \u{20ac}\nDua baris";
        let utf_16 =
            |to_bytes: fn(u16) -> [u8; 2]| wanted.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
        let windows_1252 = WINDOWS_1252.encode(wanted).0.into_owned();
        let with_mark = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
        for bytes in [
            wanted.as_bytes().to_vec(),
            with_mark(b"\xef\xbb\xbf", wanted.as_bytes().to_vec()),
            windows_1252,
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
            with_mark(b"\xff\xfe", utf_16(u16::to_le_bytes)),
            with_mark(b"\xfe\xff", utf_16(u16::to_be_bytes)),
        ] {
            assert_eq!(text(&bytes, false).as_deref(), Some(wanted));
        }
        let page = b"<meta charset='iso-8859-2'><p>\xb1</p>";
        assert_eq!(text(page, true).as_deref(), Some("<meta charset='iso-8859-2'><p>ą</p>"));
    }

    #[test]
    fn what_is_no_text_is_told() {
        assert_eq!(text(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false), None);
        assert_eq!(text(b"a\0b", false), None);
        assert_eq!(text(b"", false).as_deref(), Some(""));
    }
}
