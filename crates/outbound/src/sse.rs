//! Parses streams of frames as bots send them: server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>), and JSON objects one behind
//! the other without `data:`, which Langflow declares as server-sent events; a whole JSON document is one such object.
//!
//! It takes more than the standard: an object is a frame as soon as its last bracket is there, whatever line end follows,
//! and what is behind it begins the next frame; so does each object of a list. Data that is no object ends with a blank line,
//! with the body, or where an object follows. A string may hold a line end where the next line begins nothing of its own.

#[cfg(test)]
mod tests;

use std::mem;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use crate::encoding::text_of;
use crate::nesting::Nesting;
use crate::{Error, ErrorText};

/// The data that ends the streams of OpenAI and of all servers like it.
const DONE: &[u8] = b"[DONE]";
/// The bytes that are looked at for it, white space included.
const MAX_DONE_BYTES: usize = 32;
const DATA: &[u8] = b"data:";
/// The bytes that are kept of a line other than data: enough for the name of an event.
const MAX_FIELD_BYTES: usize = 1024;
/// What may stand before data and means nothing: a byte order mark, NUL, and the field's name once more.
const NOISE: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\0", DATA];
/// The other fields that a line may begin with.
const FIELDS: [&[u8]; 3] = [b"event:", b"id:", b"retry:"];

/// One event with data. Events without data are skipped, unless their name stands behind their data; ids and reconnection
/// times are ignored, because the client never reconnects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event's name; empty where it has none, as in bare JSON.
    pub event: String,
    /// Empty where the data was a frame of its own before the event's name came.
    pub data: String,
    /// It came without `data:`.
    pub is_bare: bool,
}

/// The frames of a body, each when it is complete. At the end of the body a frame needs no blank line. One frame has a limit
/// and all of them together have none: the caller has a deadline and bounds what it keeps.
///
/// A body that begins with `<` is [`Error::WebPage`], one of other text without a frame [`Error::NoFrames`].
pub fn frames(
    chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static,
    max_frame_bytes: usize,
) -> impl Stream<Item = Result<Frame, Error>> + Unpin + Send + 'static {
    let mut parser = Parser::new(max_frame_bytes);
    // Kept until the first frame.
    let mut beginning = Some(Vec::new());
    let end = stream::iter([None]);
    chunks
        .map(Some)
        .chain(end)
        .map(move |chunk| {
            let mut frames = Vec::new();
            let is_end = chunk.is_none();
            let mut parsed = match chunk {
                Some(chunk) => chunk.and_then(|chunk| {
                    if let Some(beginning) = &mut beginning {
                        let room = ErrorText::BYTES - beginning.len();
                        beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                    parser.push(&chunk, &mut frames)
                }),
                None => parser.finish(&mut frames),
            };
            if !frames.is_empty() {
                beginning = None;
            }
            if let (true, Ok(()), Some(beginning)) = (is_end, &parsed, &beginning) {
                parsed = check_events(beginning);
            }
            if parser.is_web_page() {
                frames.clear();
                parsed = Err(Error::WebPage);
            }
            stream::iter(frames.into_iter().map(Ok).chain(parsed.err().map(Err)))
        })
        .flatten()
}

/// Whether a body without a frame that begins so may be a stream of events: one without any event, or an empty one.
fn check_events(beginning: &[u8]) -> Result<(), Error> {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches(|first: char| first == '\u{feff}' || first.is_whitespace());
    let field = text.split([':', '\n', '\r']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_field = ["", "data", "event", "id", "retry"].contains(&field.as_str());
    if is_field { Ok(()) } else { Err(Error::NoFrames { body: ErrorText::new(text) }) }
}

/// An incremental parser: chunks of any size give the same frames.
pub struct Parser {
    max_bytes: usize,
    place: Place,
    /// The last byte was a CR that ended a line: a LF that follows belongs to the same line end.
    after_return: bool,
    /// No byte was read but of what means nothing.
    at_start: bool,
    is_web_page: bool,
    /// What the current line holds beside an object.
    line: Vec<u8>,
    /// The current line has no byte yet.
    is_blank: bool,
    event: String,
    /// The object that is being read; empty where none is.
    object: Vec<u8>,
    nesting: Nesting,
    /// The lines of the object have no field names.
    is_bare: bool,
    /// The line before the current one was blank, within a bare object.
    after_blank: bool,
    /// The lines of data that is no object, each with a LF.
    text: Vec<u8>,
    /// A frame of the current event was there already.
    had_data: bool,
    /// The event's name stands behind its data.
    named_late: bool,
}

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its first bytes do not say yet what the line is.
    Start,
    /// In a field other than `data`, or in a comment.
    Field,
    /// In data, before any byte but white space.
    Data,
    /// In data that is no object.
    Text,
    Object,
    /// Behind the end of an object.
    Behind,
}

impl Parser {
    /// A frame of more than `max_bytes` is an error.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            place: Place::Start,
            after_return: false,
            at_start: true,
            is_web_page: false,
            line: Vec::new(),
            is_blank: true,
            event: String::new(),
            object: Vec::new(),
            nesting: Nesting::default(),
            is_bare: false,
            after_blank: false,
            text: Vec::new(),
            had_data: false,
            named_late: false,
        }
    }

    /// Appends the frames that the chunk completes, also those before an error. After an error no chunk may follow.
    pub fn push(&mut self, mut chunk: &[u8], frames: &mut Vec<Frame>) -> Result<(), Error> {
        while let [first, after_first @ ..] = chunk {
            if mem::take(&mut self.after_return) && *first == b'\n' {
                chunk = after_first;
                continue;
            }
            if matches!(first, b'\n' | b'\r') {
                self.after_return = *first == b'\r';
                chunk = after_first;
                self.end_line(frames)?;
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (mut line, after_line) = chunk.split_at(end.unwrap_or(chunk.len()));
            while !line.is_empty() {
                let read = self.read(line, frames)?;
                line = &line[read..];
                self.check_size()?;
            }
            chunk = after_line;
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), Error> {
        if self.line.len() + self.object.len() + self.text.len() > self.max_bytes {
            let error = format!("a piece of it is larger than {} bytes", self.max_bytes);
            return Err(Error::Unreadable(error));
        }
        Ok(())
    }

    /// Appends what is complete only because the body ends here. Nothing may follow.
    pub fn finish(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        if !self.is_blank {
            self.end_line(frames)?;
        }
        self.end_event(frames)
    }

    /// Whether the body begins as a web page does.
    pub fn is_web_page(&self) -> bool {
        self.is_web_page
    }

    /// Reads some bytes of a line, at least one; returns how many. May read none where it moves to another place.
    fn read(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<usize, Error> {
        let byte = bytes[0];
        let is_first = mem::take(&mut self.is_blank);
        match self.place {
            Place::Start => {
                self.begin_line(byte, frames)?;
                return Ok(1);
            }
            Place::Object if is_first && self.is_bare && self.after_blank && byte == b'{' => {
                // The object before it was cut off.
                self.end_broken_object(frames)?;
                self.begin_object(true);
                return Ok(0);
            }
            Place::Object => {
                let end = self.nesting.read(bytes);
                let read = end.unwrap_or(bytes.len());
                self.object.extend_from_slice(&bytes[..read]);
                // Before it is gone: an object that comes at once is held to the limit too.
                self.check_size()?;
                if end.is_some() {
                    self.place = Place::Behind;
                    let object = mem::take(&mut self.object);
                    self.end_frame(object, frames)?;
                }
                return Ok(read);
            }
            Place::Data if self.is_cut() && !matches!(byte, b'{' | b'[') => {
                if byte == b' ' && self.line.is_empty() {
                    self.line.push(byte);
                    return Ok(1);
                }
                self.line.clear();
                self.place = Place::Object;
                return Ok(0);
            }
            Place::Data | Place::Behind if byte == b'{' => {
                self.end_cut_object(frames)?;
                self.end_text(frames)?;
                self.begin_object(self.is_bare);
                return Ok(0);
            }
            // Objects may be separated as in a list.
            Place::Behind if byte.is_ascii_whitespace() || matches!(byte, b',' | b']') => return Ok(1),
            Place::Behind => {
                self.place = if self.is_bare { Place::Field } else { Place::Text };
                return Ok(0);
            }
            Place::Data | Place::Text | Place::Field => {}
        }
        if self.place == Place::Data {
            self.end_cut_object(frames)?;
            self.line.push(byte);
            match noise(self.line.trim_ascii()) {
                Noise::Whole => self.line.clear(),
                Noise::Begins => {}
                Noise::No => self.place = Place::Text,
            }
            return Ok(1);
        }
        if self.place == Place::Field {
            let room = MAX_FIELD_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return Ok(bytes.len());
        }
        let bracket = bytes.iter().position(|byte| *byte == b']');
        let read = bracket.map_or(bytes.len(), |bracket| bracket + 1);
        self.line.extend_from_slice(&bytes[..read]);
        let may_be_done = bracket.is_some() && self.text.is_empty() && self.line.len() < MAX_DONE_BYTES;
        if may_be_done && self.line.trim_ascii() == DONE {
            self.place = Place::Behind;
            self.line.clear();
            self.end_frame(DONE.to_vec(), frames)?;
        }
        Ok(read)
    }

    /// Finds out by its first bytes what a line is.
    fn begin_line(&mut self, byte: u8, frames: &mut Vec<Frame>) -> Result<(), Error> {
        if self.line.is_empty() && byte.is_ascii_whitespace() && !self.is_cut() {
            return Ok(());
        }
        self.line.push(byte);
        match noise(&self.line) {
            Noise::Whole if !is_data(&self.line) => {
                self.line.clear();
                return Ok(());
            }
            Noise::Begins if !byte.is_ascii() => return Ok(()),
            _ => {}
        }
        self.is_web_page |= mem::take(&mut self.at_start) && byte == b'<';
        if self.is_cut() && !is_data(&self.line) {
            if matches!(byte, b'{' | b':') {
                self.end_broken_object(frames)?;
            } else {
                let may_be_field =
                    may_be_data(&self.line) || FIELDS.iter().any(|field| begins_with(field, &self.line));
                if !may_be_field {
                    self.resume_object();
                }
                return Ok(());
            }
        }
        let is_list = self.line[0] == b'[';
        if byte == b'{' && (is_list || self.line.len() == 1) && self.object.is_empty() {
            self.end_text(frames)?;
            self.begin_object(true);
            self.object.push(byte);
            self.nesting.read(&[byte]);
        } else if is_data(&self.line) {
            self.line.clear();
            self.named_late = false;
            self.is_bare = false;
            self.place = if self.object.is_empty() || self.is_cut() { Place::Data } else { Place::Object };
        } else if self.line.trim_ascii_end() != b"[" && !may_be_data(&self.line) {
            self.place = Place::Field;
        }
        Ok(())
    }

    /// Whether an object is being read whose last line ended inside a string.
    fn is_cut(&self) -> bool {
        !self.object.is_empty() && self.nesting.is_in_string()
    }

    /// The current line belongs to a string that the line before it did not end. Of the line no more than the beginning has
    /// been read, which ends no object.
    fn resume_object(&mut self) {
        let line = mem::take(&mut self.line);
        self.nesting.read(&line);
        self.object.extend_from_slice(&line);
        self.place = Place::Object;
    }

    fn end_cut_object(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        if self.is_cut() { self.end_broken_object(frames) } else { Ok(()) }
    }

    fn begin_object(&mut self, is_bare: bool) {
        self.place = Place::Object;
        self.nesting = Nesting::default();
        self.line.clear();
        self.is_bare = is_bare;
        self.after_blank = false;
    }

    fn end_line(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        let was_blank = mem::replace(&mut self.is_blank, true);
        if self.place == Place::Start && !self.line.is_empty() && self.is_cut() {
            self.resume_object();
        }
        let line = mem::take(&mut self.line);
        match mem::replace(&mut self.place, Place::Start) {
            Place::Object => {
                self.object.push(b'\n');
                self.after_blank = was_blank;
                // Within a string, the next line says whether it goes on.
                if self.is_bare && !self.nesting.is_in_string() {
                    self.place = Place::Object;
                }
            }
            Place::Data if self.is_cut() => self.object.push(b'\n'),
            Place::Start if line.is_empty() => self.end_event(frames)?,
            Place::Start | Place::Field => self.end_field(&line, frames)?,
            Place::Data | Place::Text => {
                self.text.extend_from_slice(line.strip_prefix(b" ").unwrap_or(&line));
                self.text.push(b'\n');
            }
            Place::Behind => {}
        }
        Ok(())
    }

    fn end_field(&mut self, line: &[u8], frames: &mut Vec<Frame>) -> Result<(), Error> {
        let line = text_of(line);
        if line.trim().as_bytes() == DONE {
            self.end_text(frames)?;
            return self.end_frame(DONE.to_vec(), frames);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.trim_end().to_ascii_lowercase().as_str() {
            "event" => {
                value.strip_prefix(' ').unwrap_or(value).trim_end().clone_into(&mut self.event);
                self.named_late =
                    self.had_data && !self.event.is_empty() && self.object.is_empty() && self.text.is_empty();
            }
            "data" => self.text.push(b'\n'),
            // A comment, or a field that is not needed: id, retry or an unknown one.
            _ => {}
        }
        Ok(())
    }

    /// At a blank line and at the end of the body.
    fn end_event(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        self.end_broken_object(frames)?;
        self.end_text(frames)?;
        if mem::take(&mut self.named_late) {
            self.end_frame(Vec::new(), frames)?;
        }
        self.had_data = false;
        self.event.clear();
        Ok(())
    }

    /// Of an object without end those lines are frames that are whole objects.
    fn end_broken_object(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        let object = mem::take(&mut self.object);
        let text = text_of(&object);
        let text = text.trim();
        let whole: Vec<&str> = text.lines().map(str::trim).filter(|line| Nesting::is_whole(line)).collect();
        let parts = if whole.is_empty() { vec![text] } else { whole };
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .try_for_each(|part| self.end_frame(part.as_bytes().to_vec(), frames))
    }

    fn end_text(&mut self, frames: &mut Vec<Frame>) -> Result<(), Error> {
        let mut text = mem::take(&mut self.text);
        text.pop();
        if text.is_empty() { Ok(()) } else { self.end_frame(text, frames) }
    }

    fn end_frame(&mut self, data: Vec<u8>, frames: &mut Vec<Frame>) -> Result<(), Error> {
        self.had_data = true;
        let data = text_of(&data).into_owned();
        frames.push(Frame { event: self.event.clone(), data, is_bare: self.is_bare });
        Ok(())
    }
}

/// Whether bytes are what may stand before data and means nothing.
enum Noise {
    Whole,
    Begins,
    No,
}

fn noise(bytes: &[u8]) -> Noise {
    if NOISE.iter().any(|noise| noise.eq_ignore_ascii_case(bytes)) {
        return Noise::Whole;
    }
    // A list's objects are frames.
    let begins = matches!(bytes, [] | b"[") || NOISE.iter().any(|noise| begins_with(noise, bytes));
    if begins { Noise::Begins } else { Noise::No }
}

fn begins_with(whole: &[u8], beginning: &[u8]) -> bool {
    whole.get(..beginning.len()).is_some_and(|found| found.eq_ignore_ascii_case(beginning))
}

/// Whether a line's beginning is the field's name with its colon, however it is written.
fn is_data(line: &[u8]) -> bool {
    line.strip_suffix(b":").is_some_and(|name| name.trim_ascii_end().eq_ignore_ascii_case(b"data"))
}

fn may_be_data(line: &[u8]) -> bool {
    begins_with(DATA, line) || line.trim_ascii_end().eq_ignore_ascii_case(b"data")
}
