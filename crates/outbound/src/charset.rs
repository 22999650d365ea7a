//! Bodies that are not UTF-8, made UTF-8 while they arrive. JSON and server-sent events have to be UTF-8 (RFC 8259, 8.1); old
//! servers send UTF-16, which the first bytes show, or what `Content-Type` declares.

use bytes::Bytes;
use encoding_rs::{Decoder, Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};
use futures_util::stream::{self, Stream, StreamExt};
use reqwest::header::HeaderValue;

use crate::Error;

/// Enough to tell UTF-16 without a byte order mark from NUL bytes before a text.
const BEGINNING: usize = 4;

/// The body in UTF-8. Wrong bytes of a body that seems to be UTF-8 stay as they are.
pub fn in_utf8(
    content_type: Option<HeaderValue>,
    chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
    let mut transcoder = Transcoder::new(content_type.as_ref().and_then(declared));
    let end = stream::iter([None]);
    chunks.map(Some).chain(end).filter_map(move |chunk| {
        let chunk = match chunk {
            Some(Ok(chunk)) => Ok(transcoder.read(chunk)),
            Some(Err(error)) => Err(error),
            None => Ok(transcoder.finish()),
        };
        std::future::ready(if chunk.as_ref().is_ok_and(Bytes::is_empty) { None } else { Some(chunk) })
    })
}

/// The charset that a header names, if it is another one than UTF-8. UTF-16 is not believed: its bytes show it.
fn declared(content_type: &HeaderValue) -> Option<&'static Encoding> {
    let parameters = content_type.to_str().ok()?.split(';').skip(1);
    let label = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    });
    let encoding = Encoding::for_label_no_replacement(label.last()?.as_bytes())?;
    (encoding != UTF_8 && (encoding.is_ascii_compatible() || encoding == ISO_2022_JP)).then_some(encoding)
}

struct Transcoder {
    declared: Option<&'static Encoding>,
    state: State,
    /// Bytes that decide nothing yet.
    pending: Vec<u8>,
}

enum State {
    Beginning,
    /// Only ASCII so far, of which the declared charset and UTF-8 make the same.
    Ascii(&'static Encoding),
    Utf8,
    Other(Box<Decoder>),
}

impl Transcoder {
    fn new(declared: Option<&'static Encoding>) -> Self {
        Self { declared, state: State::Beginning, pending: Vec::new() }
    }

    fn read(&mut self, chunk: Bytes) -> Bytes {
        if let State::Utf8 = self.state {
            return chunk;
        }
        let chunk = if self.pending.is_empty() {
            chunk
        } else {
            let mut bytes = std::mem::take(&mut self.pending);
            bytes.extend_from_slice(&chunk);
            bytes.into()
        };
        if let State::Beginning = self.state {
            let Some(beginning) = chunk.first_chunk::<BEGINNING>() else {
                self.pending = chunk.into();
                return Bytes::new();
            };
            self.state = self.begin(*beginning);
        }
        match &mut self.state {
            State::Beginning | State::Utf8 => chunk,
            State::Ascii(encoding) => {
                let encoding = *encoding;
                self.read_ascii(encoding, chunk)
            }
            State::Other(decoder) => decode(decoder, &chunk, false),
        }
    }

    fn begin(&self, beginning: [u8; BEGINNING]) -> State {
        let utf16 = match beginning {
            [0xfe, 0xff, ..] => Some(UTF_16BE),
            [0xff, 0xfe, ..] => Some(UTF_16LE),
            [0, first, 0, second] if first != 0 && second != 0 => Some(UTF_16BE),
            [first, 0, second, 0] if first != 0 && second != 0 => Some(UTF_16LE),
            _ => None,
        };
        match (utf16, self.declared) {
            (Some(encoding), _) => State::Other(Box::new(encoding.new_decoder_with_bom_removal())),
            (None, Some(encoding)) if encoding.is_ascii_compatible() => State::Ascii(encoding),
            (None, Some(encoding)) => State::Other(Box::new(encoding.new_decoder_without_bom_handling())),
            (None, None) => State::Utf8,
        }
    }

    /// Servers declare a charset by default and send UTF-8 all the same: a chunk that is all UTF-8 is taken for it. In another
    /// charset single letters may look so, a chunk of text seldom does.
    fn read_ascii(&mut self, encoding: &'static Encoding, chunk: Bytes) -> Bytes {
        let valid = match str::from_utf8(&chunk) {
            Ok(_) => chunk.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => {
                let mut decoder = encoding.new_decoder_without_bom_handling();
                let decoded = decode(&mut decoder, &chunk, false);
                self.state = State::Other(Box::new(decoder));
                return decoded;
            }
        };
        if !chunk[..valid].is_ascii() {
            self.state = State::Utf8;
            return chunk;
        }
        self.pending = chunk[valid..].to_vec();
        chunk.slice(..valid)
    }

    fn finish(&mut self) -> Bytes {
        let pending = std::mem::take(&mut self.pending);
        match &mut self.state {
            State::Ascii(encoding) => {
                decode(&mut encoding.new_decoder_without_bom_handling(), &pending, true)
            }
            State::Other(decoder) => decode(decoder, &pending, true),
            State::Beginning => match self.declared.filter(|_| str::from_utf8(&pending).is_err()) {
                Some(encoding) => decode(&mut encoding.new_decoder_without_bom_handling(), &pending, true),
                None => pending.into(),
            },
            State::Utf8 => pending.into(),
        }
    }
}

fn decode(decoder: &mut Decoder, bytes: &[u8], is_end: bool) -> Bytes {
    let mut text = String::new();
    text.reserve(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len()));
    let _ = decoder.decode_to_string(bytes, &mut text, is_end);
    text.into()
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1252};
    use proptest::prelude::*;

    use super::*;

    /// What becomes of a body that arrives in these pieces.
    fn read(content_type: &'static str, chunks: &[&[u8]]) -> String {
        let mut transcoder = Transcoder::new(declared(&HeaderValue::from_static(content_type)));
        let mut read: Vec<u8> =
            chunks.iter().flat_map(|chunk| transcoder.read(Bytes::copy_from_slice(chunk))).collect();
        read.extend(transcoder.finish());
        String::from_utf8(read).unwrap()
    }

    fn utf16(text: &str, is_big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn a_declared_charset_is_read_unless_the_body_is_utf_8() {
        for (content_type, bytes, text) in [
            ("text/plain; charset=windows-1252", &b"caf\xe9 \x93ya\x94"[..], "café “ya”"),
            ("application/json;Charset=\"ISO-8859-1\"", b"{\"a\":\"\xe9\"}", "{\"a\":\"é\"}"),
            ("application/json; charset=iso-8859-1", "{\"a\":\"é😀\"}".as_bytes(), "{\"a\":\"é😀\"}"),
            ("application/json; charset=us-ascii", "é".as_bytes(), "é"),
            ("application/json; charset=utf-16", b"{\"a\":1}", "{\"a\":1}"),
            ("application/json; charset=nonsense", "é".as_bytes(), "é"),
            ("application/json", "\u{feff}{}".as_bytes(), "\u{feff}{}"),
            ("application/json", b"\0\0{}", "\0\0{}"),
            ("text/plain; charset=windows-1252", b"\xe9", "é"),
            ("text/plain; charset=windows-1252", b"", ""),
            ("application/json; charset=gbk", b"{\"a\":\"\xc4\xa3\xd0\xcd\"}", "{\"a\":\"模型\"}"),
            ("application/json; charset=euc-kr", b"{\"a\":\"\xc4\xab\xb5\xe5\"}", "{\"a\":\"카드\"}"),
        ] {
            assert_eq!(read(content_type, &[bytes]), text, "{content_type}");
        }
    }

    proptest! {
        /// Wherever the body is cut. Some signs are left out that after a letter look like UTF-8.
        #[test]
        fn any_text_is_read_in_any_charset(
            text in "[ -~]{4}[ -~éüÀñ]{0,40}", japanese in "[ -~]{2}[ -~あいう語]{0,20}", cut in 0usize..99,
        ) {
            let text = format!("{{\"{text}");
            let japanese = format!("{{\"{japanese}");
            let windows = WINDOWS_1252.encode(&text).0.into_owned();
            let shift_jis = SHIFT_JIS.encode(&japanese).0.into_owned();
            let bodies = [
                ("text/event-stream; charset=windows-1252", windows, &text),
                ("text/plain; charset=Shift_JIS", shift_jis, &japanese),
                ("text/plain; charset=latin1", text.clone().into_bytes(), &text),
                ("application/json", text.clone().into_bytes(), &text),
                ("application/json", utf16(&text, true), &text),
                ("application/json", utf16(&text, false), &text),
                ("application/json", utf16(&format!("\u{feff}{text}"), true), &text),
                ("application/json; charset=utf-8", utf16(&format!("\u{feff}{text}"), false), &text),
            ];
            for (content_type, body, text) in bodies {
                let (first, second) = body.split_at(cut % (body.len() + 1));
                prop_assert_eq!(&read(content_type, &[first, second]), text, "{}", content_type);
            }
        }
    }
}
