//! Parses streams of frames as bots send them: server-sent events by the standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>), and Langflow's own
//! format, which has the same media type but consists of JSON values that end with a blank line, without `data:`.

use futures_util::stream::{self, Stream, StreamExt};

use crate::{Error, Reply};

/// The limit for a whole stream, as a multiple of the limit for one frame: each token comes in a frame that is much longer
/// than the token.
const MAX_STREAM_FRAMES: usize = 32;

/// One event with data. Events without data are skipped; ids and reconnection times are ignored, because the client never
/// reconnects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event's name; empty where it has none, as in bare JSON.
    pub event: String,
    pub data: String,
}

/// The frames of a body, each when it is complete. A frame without its blank line at the end of the body is dropped, as the
/// standard says.
pub fn frames(
    reply: Reply,
    max_frame_bytes: usize,
) -> impl Stream<Item = Result<Frame, Error>> + Unpin + Send + 'static {
    let mut parser = Parser::new(max_frame_bytes);
    let chunks = reply.chunks(max_frame_bytes.saturating_mul(MAX_STREAM_FRAMES));
    chunks
        .map(move |chunk| {
            let mut frames = Vec::new();
            let pushed = chunk.and_then(|chunk| parser.push(&chunk, &mut frames));
            stream::iter(frames.into_iter().map(Ok).chain(pushed.err().map(Err)))
        })
        .flatten()
}

/// An incremental parser: chunks of any size give the same frames.
pub struct Parser {
    max_bytes: usize,
    /// The beginning of the current line, from earlier chunks.
    line: Vec<u8>,
    /// The last byte was a CR that ended a line: a LF that follows belongs to the same line end.
    after_return: bool,
    at_start: bool,
    event: String,
    /// The lines of the current frame's data, each with a LF.
    data: String,
    /// The current frame is bare JSON: its lines have no field names.
    bare: bool,
}

impl Parser {
    /// A frame of more than `max_bytes` is an error.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            line: Vec::new(),
            after_return: false,
            at_start: true,
            event: String::new(),
            data: String::new(),
            bare: false,
        }
    }

    /// Appends the frames that the chunk completes, also those before an error. After an error no chunk may follow.
    pub fn push(&mut self, mut chunk: &[u8], frames: &mut Vec<Frame>) -> Result<(), Error> {
        while let [first, after_first @ ..] = chunk {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                chunk = after_first;
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line_bytes, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            self.line.extend_from_slice(line_bytes);
            if self.line.len() + self.data.len() > self.max_bytes {
                let error = format!("a piece of it is larger than {} bytes", self.max_bytes);
                return Err(Error::Unreadable(error));
            }
            chunk = rest;
            if let [end, after_end @ ..] = rest {
                self.after_return = *end == b'\r';
                chunk = after_end;
                let mut line = std::mem::take(&mut self.line);
                frames.extend(self.end_line(&line)?);
                line.clear();
                self.line = line;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Frame>, Error> {
        let line = str::from_utf8(line).map_err(|_| Error::Unreadable("it is not UTF-8".to_owned()))?;
        let byte_order_mark = if std::mem::take(&mut self.at_start) { "\u{feff}" } else { "" };
        let line = line.strip_prefix(byte_order_mark).unwrap_or(line);
        if line.is_empty() {
            return Ok(self.end_frame());
        }
        // No field's name begins with a brace.
        self.bare |= self.data.is_empty() && line.starts_with('{');
        if self.bare {
            self.add_data(line);
            return Ok(None);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => self.add_data(value),
            "event" => value.clone_into(&mut self.event),
            // A comment, or a field that is not needed: id, retry or an unknown one.
            _ => {}
        }
        Ok(None)
    }

    fn add_data(&mut self, line: &str) {
        self.data.push_str(line);
        self.data.push('\n');
    }

    fn end_frame(&mut self) -> Option<Frame> {
        self.bare = false;
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        data.pop();
        (!data.is_empty()).then_some(Frame { event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use wicara_fuzz::{fuzz, mutated};

    use super::*;

    /// The frames in these chunks, and whether all chunks were parsed.
    fn parsed<'a>(max_bytes: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
        let mut parser = Parser::new(max_bytes);
        let mut frames = Vec::new();
        let parsed_all = chunks.into_iter().all(|chunk| parser.push(chunk, &mut frames).is_ok());
        (frames, parsed_all)
    }

    fn data(text: &str) -> Vec<String> {
        let (frames, parsed_all) = parsed(1000, [text.as_bytes()]);
        assert!(parsed_all, "{text:?}");
        frames.into_iter().map(|frame| frame.data).collect()
    }

    #[test]
    fn frames_are_read_as_the_standard_has_them() {
        for (text, expected) in [
            ("data: a\n\n", vec!["a"]),
            ("data:a\r\n\r\ndata: b\r\rdata:  c\n\n", vec!["a", "b", " c"]),
            ("data: a\r\ndata: b\rdata: c\r\n\r\n", vec!["a\nb\nc"]),
            ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec!["a"]),
            ("data: a\ndata: b\ndata\ndata:c\n\n", vec!["a\nb\n\nc"]),
            (": comment\nid: 7\nretry: 10\ndata: a\nother: x\nno colon\n\n", vec!["a"]),
            ("data: a: b\n\n", vec!["a: b"]),
            ("data: a\n{\"b\":1}\n\n", vec!["a"]),
            ("id: 1\n\n: comment\n\ndata:\n\nevent: x\n\n\n\n", vec![]),
            ("data: cut off\n", vec![]),
            ("data: cut off", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(data(text), expected, "{text:?}");
        }
        let named = "event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n";
        let names: Vec<_> = parsed(1000, [named.as_bytes()]).0.into_iter().map(|frame| frame.event).collect();
        assert_eq!(names, ["a", "", ""]);
    }

    #[test]
    fn bare_json_ends_with_a_blank_line() {
        for (text, expected) in [
            ("{\"a\":1}\n\n{\"b\":2}\r\n\r\n", vec!["{\"a\":1}", "{\"b\":2}"]),
            ("{\n  \"a\": 1,\ndata: 5\n}\n\n", vec!["{\n  \"a\": 1,\ndata: 5\n}"]),
            ("{\"a\":1}\n\ndata: {\"b\":2}\n\n{}\n\n", vec!["{\"a\":1}", "{\"b\":2}", "{}"]),
            ("{\"cut\": \"off\"}\n", vec![]),
            ("<html>{}</html>\n\n [1]\n\n", vec![]),
        ] {
            assert_eq!(data(text), expected, "{text:?}");
        }
    }

    const SAMPLE: &str = "\u{feff}: hi\r\n\r\nevent: token\r\ndata: {\"t\":\"caf\u{e9} \u{1f600}\"}\rid: 1\r\rdata: a\n\
                          data: b\r\n\n{\"bare\":\n \"\u{1f600}\"}\n\n\r\n\ndata: [DONE]\n\n";

    #[test]
    fn where_a_stream_is_cut_makes_no_difference() {
        let sample = SAMPLE.as_bytes();
        let (whole, parsed_all) = parsed(1000, [sample]);
        assert_eq!((whole.len(), parsed_all), (4, true), "{whole:?}");
        for first in 0..=sample.len() {
            for second in first..=sample.len() {
                let chunks = [&sample[..first], &sample[first..second], &sample[second..]];
                assert_eq!(parsed(1000, chunks), (whole.clone(), true), "{first} {second}");
            }
        }
        assert_eq!(parsed(1000, sample.chunks(1)), (whole, true));
    }

    #[test]
    fn what_is_not_utf_8_or_too_large_is_an_error_after_the_frames_before_it() {
        let large = format!("data: {}\n\n", "x".repeat(20));
        let lines = "data: 12345678\n".repeat(3) + "\n";
        let comment = format!(":{}", "x".repeat(21));
        for wrong in
            [b"data: \xff\n\n".as_slice(), b"\xc3\n", large.as_bytes(), lines.as_bytes(), comment.as_bytes()]
        {
            let stream = [b"data: a\n\n", wrong].concat();
            let (frames, parsed_all) = parsed(20, [stream.as_slice()]);
            assert_eq!((frames.len(), parsed_all), (1, false), "{stream:?}");
            assert_eq!(parsed(20, stream.chunks(1)), (frames, false), "{stream:?}");
        }
        let exactly = format!("data: {}\n\n", "x".repeat(14)).repeat(100);
        assert_eq!(parsed(20, [exactly.as_bytes()]).0.len(), 100);
    }

    #[test]
    fn fuzz_frames_are_the_same_however_they_come() {
        let line = "(data|event|id|retry|)( ?:{0,2} ?)[a-z{}\u{e9}\u{1f600}]{0,4}|\\{\"[a-z]\":1\\}|";
        let stream = vec((line, select(&["\n", "\r", "\r\n"])), 0..12)
            .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect::<String>());
        fuzz("frames", (mutated(stream), vec(1..9usize, 1..20)), |(bytes, sizes)| {
            let mut chunks = Vec::new();
            let (mut rest, mut sizes) = (bytes.as_slice(), sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let whole = parsed(40, [bytes.as_slice()]);
            assert_eq!(parsed(40, chunks), whole);
            assert!(whole.0.iter().all(|frame| !frame.data.is_empty() && frame.data.len() <= 40));
        });
    }
}
