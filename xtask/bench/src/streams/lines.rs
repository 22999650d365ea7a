//! What a reader of a stream takes from it: whether it is open, its position, and the marked events.

use std::mem;
use std::time::Duration;

/// The name of the events that carry marks.
const EVENT: &[u8] = b"event: message.created";

/// What stands in the text of an event, so that a reader knows which one it is and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// From 1 on, in the order of sending.
    pub number: u32,
    /// When its request was sent, as [`crate::times::now`] has it.
    pub sent: Duration,
}

impl Mark {
    #[must_use]
    pub fn text(self) -> String {
        format!("@{}:{}@", self.number, self.sent.as_nanos())
    }

    /// The first in a line; other signs `@` may stand before it.
    fn find(line: &[u8]) -> Option<Self> {
        line.split(|&byte| byte == b'@').skip(1).find_map(|part| {
            let (number, nanos) = str::from_utf8(part).ok()?.split_once(':')?;
            let sent = Duration::from_nanos(nanos.parse().ok()?);
            Some(Self { number: number.parse().ok()?, sent })
        })
    }
}

/// Something that a stream told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is open, and events that come from now on are shown.
    Open,
    Event(Mark),
    /// Its position could not be gone on from.
    Resync,
    /// A status that is not 200.
    Refused,
}

/// The lines of one stream, whatever pieces they come in. The sizes of HTTP's chunks are lines too, which say nothing.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line.
    rest: Vec<u8>,
    /// Where to come back: the id of the last whole event.
    pub position: String,
    /// How long to wait before.
    pub retry: Duration,
    /// Of the event that is coming.
    id: String,
    is_marked: bool,
    mark: Option<Mark>,
    /// Bytes of the data of the last event with a mark.
    pub size: usize,
}

impl Lines {
    /// `open`: how the line begins that says that the stream is open.
    pub fn take(&mut self, mut bytes: &[u8], open: &[u8], told: &mut Vec<Told>) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            if self.rest.is_empty() {
                self.line(line, open, told);
            } else {
                let mut whole = mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, open, told);
            }
            bytes = after;
        }
        self.rest.extend_from_slice(bytes);
    }

    /// The stream has ended; an event that came in part is not seen.
    pub fn end(&mut self) {
        *self = Self { position: mem::take(&mut self.position), retry: self.retry, ..Self::default() };
    }

    fn line(&mut self, line: &[u8], open: &[u8], told: &mut Vec<Told>) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if !self.id.is_empty() {
                mem::swap(&mut self.id, &mut self.position);
                self.id.clear();
            }
            told.extend(self.mark.take().map(Told::Event));
        } else if line.starts_with(b"HTTP/1.1 ") && !line.starts_with(b"HTTP/1.1 200 ") {
            told.push(Told::Refused);
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            self.id.clear();
            self.id.push_str(&String::from_utf8_lossy(id));
        } else if let Some(retry) = line.strip_prefix(b"retry: ") {
            let millis = str::from_utf8(retry).ok().and_then(|retry| retry.parse().ok());
            self.retry = Duration::from_millis(millis.unwrap_or(0));
        } else if line.starts_with(b"event: ") {
            self.is_marked = line == EVENT;
            if line == b"event: resync" {
                told.push(Told::Resync);
            }
        } else if self.is_marked
            && let Some(data) = line.strip_prefix(b"data: ")
        {
            self.is_marked = false;
            self.mark = Mark::find(data);
            self.size = data.len();
        }
        if line.starts_with(open) {
            told.push(Told::Open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        20\r\nevent: hello\nid: a.1\ndata: {}\n\n\r\n\
        d\r\nretry: 1234\n\n\r\n\
        7\r\nid: a.2\n\n\r\n\
        30\r\nevent: message.created\nid: a.3\ndata: {\"by\":\"a@b:c\",\"text\":\"@7:12@\",\"again\":\"@7:12@\"}\n\n\r\n\
        30\r\nevent: conversation.updated\nid: a.4\ndata: {\"text\":\"@7:12@\"}\n\n\r\n";

    fn told(pieces: usize) -> (Vec<Told>, String, Duration) {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        STREAM.as_bytes().chunks(pieces).for_each(|piece| lines.take(piece, b"event: hello", &mut told));
        (told, lines.position, lines.retry)
    }

    #[test]
    fn events_are_found_in_whatever_pieces_they_come() {
        let mark = Mark { number: 7, sent: Duration::from_nanos(12) };
        let retry = Duration::from_millis(1234);
        let expected = (vec![Told::Open, Told::Event(mark)], "a.4".to_owned(), retry);
        for pieces in [1, 2, 7, 50, STREAM.len()] {
            assert_eq!(told(pieces), expected, "{pieces}");
        }
        assert_eq!(mark.text(), "@7:12@");
    }

    #[test]
    fn an_event_that_came_in_part_is_asked_for_again() {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        let (whole, part) = ("id: a.1\n\n", "event: message.created\nid: a.2\ndata: \"@1:1@\"\n");
        lines.take(format!("{whole}{part}").as_bytes(), b"-", &mut told);
        lines.end();
        lines.take(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"-", &mut told);
        assert_eq!((told, lines.position.as_str()), (vec![Told::Refused], "a.1"));
    }
}
