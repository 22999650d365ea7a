//! Many readers of streams on one thread: an epoll loop with one buffer for all of them, so that what is measured is the
//! server and not its readers.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::lines::{Lines, Told};
use crate::times::{milliseconds, now};

/// Readers that are on their way at once, so that the listener's queue is never full.
const ON_THEIR_WAY: usize = 128;
/// Until a reader of [`Return::AtOnce`] that was refused tries again.
const RETRY: Duration = Duration::from_millis(200);
/// Between two looks at what else a caller of [`Crowd::run`] waits for.
const LOOK: Duration = Duration::from_millis(20);
const BUFFER: usize = 16 * 1024;

/// An event that came to a reader.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub reader: usize,
    pub number: u32,
    /// Since its request was sent.
    pub milliseconds: f64,
}

/// The request of a reader, by its place and its position, which is empty at first.
pub type Request = Box<dyn Fn(usize, &str) -> String>;

/// When readers come back whose stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// At once and all together, and each that finds no server or no place 200 ms later again, whatever it is told.
    AtOnce,
    /// As browsers do: after the time that the stream's `retry` said.
    WhenTold,
}

/// What readers ask for.
pub struct Streams {
    pub port: u16,
    pub request: Request,
    /// How the line begins that says that a stream is open.
    pub open: &'static str,
}

#[derive(Debug, Default)]
struct Reader {
    socket: Option<TcpStream>,
    has_asked: bool,
    is_open: bool,
    lines: Lines,
    seen: Vec<u32>,
}

pub struct Crowd {
    streams: Streams,
    poll: Poll,
    readers: Vec<Reader>,
    at_once: VecDeque<usize>,
    later: BTreeSet<(Duration, usize)>,
    on_their_way: usize,
    /// `None`: readers whose stream ends are errors.
    comes_back: Option<Return>,
    open: usize,
    buffer: Vec<u8>,
    told: Vec<Told>,
    pub arrivals: Vec<Arrival>,
    /// Streams that ended or were refused and did not come back, positions that could not be gone on from, and events
    /// that came twice.
    pub errors: u64,
    /// How often a reader found no server, or no place.
    pub refused: u64,
}

impl Crowd {
    /// So many readers, all of whose streams are open.
    pub fn open(streams: Streams, count: usize, patience: Duration) -> Result<Self> {
        let mut crowd = Self::new(streams, count)?;
        let all = crowd.run(now() + patience, |crowd| crowd.errors > 0 || crowd.is_complete())?;
        anyhow::ensure!(all && crowd.errors == 0, "{} of {count} streams could be opened", crowd.open);
        Ok(crowd)
    }

    fn new(streams: Streams, count: usize) -> Result<Self> {
        let mut crowd = Self {
            streams,
            poll: Poll::new()?,
            readers: Vec::new(),
            at_once: (0..count).collect(),
            later: BTreeSet::new(),
            on_their_way: 0,
            comes_back: None,
            open: 0,
            buffer: vec![0; BUFFER],
            told: Vec::new(),
            arrivals: Vec::new(),
            errors: 0,
            refused: 0,
        };
        crowd.readers.resize_with(count, Reader::default);
        Ok(crowd)
    }

    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.open == self.readers.len()
    }

    /// Bytes of the data of an event.
    #[must_use]
    pub fn event_size(&self) -> usize {
        self.readers.iter().map(|reader| reader.lines.size).max().unwrap_or(0)
    }

    /// From now on readers whose stream ends come back with their positions.
    pub fn come_back(&mut self, when: Return) {
        self.comes_back = Some(when);
    }

    /// Reads until this holds, or until the deadline: then it is false.
    pub fn run(&mut self, deadline: Duration, mut until: impl FnMut(&Self) -> bool) -> Result<bool> {
        let mut events = Events::with_capacity(1024);
        loop {
            if until(self) {
                return Ok(true);
            }
            let time = now();
            if time >= deadline {
                return Ok(false);
            }
            self.connect(time)?;
            match self.poll.poll(&mut events, Some(LOOK.min(deadline - time))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                self.handle(event)?;
            }
        }
    }

    fn connect(&mut self, time: Duration) -> Result<()> {
        while self.later.first().is_some_and(|(due, _)| *due <= time) {
            self.at_once.extend(self.later.pop_first().map(|(_, reader)| reader));
        }
        let most = if self.comes_back.is_some() { usize::MAX } else { ON_THEIR_WAY };
        while self.on_their_way < most
            && let Some(place) = self.at_once.pop_front()
        {
            self.on_their_way += 1;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.streams.port));
            let Ok(mut socket) = TcpStream::connect(address) else {
                self.end(place)?;
                continue;
            };
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(place), interest)?;
            self.readers[place].socket = Some(socket);
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event) -> Result<()> {
        let place = event.token().0;
        if event.is_writable() && !self.readers[place].has_asked && self.ask(place).is_err() {
            return self.end(place);
        }
        if !event.is_readable() && !event.is_read_closed() && !event.is_error() {
            return Ok(());
        }
        loop {
            let Some(socket) = &mut self.readers[place].socket else { return Ok(()) };
            match socket.read(&mut self.buffer) {
                Ok(0) => return self.end(place),
                Ok(length) => {
                    if !self.take(place, length) {
                        return self.end(place);
                    }
                    // Less than there is room for was all: what comes later is an event of its own.
                    if length < self.buffer.len() && !event.is_read_closed() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(place),
            }
        }
    }

    fn ask(&mut self, place: usize) -> io::Result<()> {
        let reader = &mut self.readers[place];
        let Some(socket) = &mut reader.socket else { return Ok(()) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        // An empty buffer of a new connection holds it whole.
        let request = (self.streams.request)(place, &reader.lines.position);
        socket.write_all(request.as_bytes())?;
        reader.has_asked = true;
        Ok(())
    }

    /// What was read of a stream; false where it is of no use.
    fn take(&mut self, place: usize, length: usize) -> bool {
        let time = now();
        let reader = &mut self.readers[place];
        let mut told = mem::take(&mut self.told);
        reader.lines.take(&self.buffer[..length], self.streams.open.as_bytes(), &mut told);
        let is_refused = told.contains(&Told::Refused);
        for told in told.drain(..) {
            match told {
                Told::Open if !reader.is_open => {
                    reader.is_open = true;
                    self.open += 1;
                    self.on_their_way -= 1;
                }
                Told::Event(mark) if !reader.seen.contains(&mark.number) => {
                    reader.seen.push(mark.number);
                    let milliseconds = milliseconds(time.saturating_sub(mark.sent));
                    self.arrivals.push(Arrival { reader: place, number: mark.number, milliseconds });
                }
                Told::Event(_) | Told::Resync => self.errors += 1,
                Told::Open | Told::Refused => {}
            }
        }
        self.told = told;
        !is_refused
    }

    fn end(&mut self, place: usize) -> Result<()> {
        let reader = &mut self.readers[place];
        if let Some(mut socket) = reader.socket.take() {
            self.poll.registry().deregister(&mut socket).context("a socket of a stream")?;
        }
        let retry = reader.lines.retry;
        reader.lines.end();
        reader.has_asked = false;
        let was_open = mem::take(&mut reader.is_open);
        if was_open {
            self.open -= 1;
        } else {
            self.on_their_way -= 1;
        }
        self.refused += u64::from(!was_open);
        match self.comes_back {
            Some(Return::AtOnce) if was_open => self.at_once.push_back(place),
            Some(Return::AtOnce) => drop(self.later.insert((now() + RETRY, place))),
            Some(Return::WhenTold) => drop(self.later.insert((now() + retry, place))),
            None => self.errors += 1,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::super::lines::Mark;
    use super::*;

    const READERS: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(20);

    fn event(number: u32) -> String {
        let mark = Mark { number, sent: now() }.text();
        format!("event: message.created\nid: a.{number}\ndata: {{\"text\":\"{mark}\"}}\n\n")
    }

    /// Answers so many streams with these events, and ends them; says what was asked.
    fn answer(listener: &TcpListener, count: usize, events: &[u32]) -> Vec<String> {
        let events: String = events.iter().map(|&number| event(number)).collect();
        let mut asked = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            write!(stream, "HTTP/1.1 200 OK\r\n\r\nevent: hello\n\n{events}").unwrap();
        }
        asked
    }

    #[test]
    fn readers_come_back_where_they_were_and_see_what_comes_twice() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let request = |place: usize, position: &str| format!("{place} from {position};");
        let streams = Streams { port, request: Box::new(request), open: "event: hello" };
        let server = thread::spawn(move || {
            [(&[1][..], READERS), (&[1, 2], READERS)].map(|(events, count)| answer(&listener, count, events))
        });
        let mut crowd = Crowd::new(streams, READERS).unwrap();
        crowd.come_back(Return::AtOnce);
        let all = crowd.run(now() + PATIENCE, |crowd| crowd.arrivals.len() == 2 * READERS).unwrap();
        assert!(all, "{:?}", crowd.arrivals);
        let mut seen: Vec<_> =
            crowd.arrivals.iter().map(|arrival| (arrival.reader, arrival.number)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
        assert_eq!(crowd.errors, READERS as u64);
        let asked = server.join().unwrap().map(|mut asked| {
            asked.sort_unstable();
            asked
        });
        assert_eq!(asked[0], ["0 from ;", "1 from ;", "2 from ;"]);
        assert_eq!(asked[1], ["0 from a.1;", "1 from a.1;", "2 from a.1;"]);
    }
}
