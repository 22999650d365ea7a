//! Log lines on their way to stderr: gathered, and written by a thread of their own, many at once where there are many,
//! so that no request waits for a system call of its own. Lines that nobody takes are dropped and counted.
//!
//! The writer of tracing-appender is not used: it bounds the number of lines but not their bytes, does not count lines
//! that could not be written, and prints to stdout where the log stands still at the end of the process, which spoils a
//! command's result and panics where stdout is closed.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use wicara_metrics as metrics;

/// Bytes of lines that may wait. A line that finds no room is dropped. As many again may be on their way to stderr.
const WAITING_BYTES: usize = 1024 * 1024;

/// How long the end of the process waits for them.
const PATIENCE: Duration = Duration::from_millis(200);

thread_local! {
    /// In the thread that writes. Its own lines say how many were dropped, and always find room: there is at most one
    /// for each time that it empties what waits.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
    dress: fn(&str) -> Cow<'_, str>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Some are being written.
    writing: bool,
    /// Lines that were lost, and nobody was told.
    untold: u64,
}

impl Lines {
    /// `dress` is done to each line before it waits. `tell` is called by the thread that writes, once lines can be
    /// written again: it logs how many were lost.
    pub(super) fn start(
        to: impl Write + Send + 'static,
        dress: fn(&str) -> Cow<'_, str>,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = Self { shared: Arc::default(), dress };
        let shared = Arc::clone(&lines.shared);
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_on(to, &tell))?;
        Ok(lines)
    }

    /// Waits until everything is written, or for a second.
    pub(super) fn drain(&self) {
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.shared.changed.wait_timeout_while(self.shared.state(), PATIENCE, is_busy));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, again and again.
    fn write_on(&self, mut to: impl Write, tell: &impl Fn(u64)) {
        IS_WRITER.set(true);
        let mut taken = Vec::new();
        // Lines that the first line of `waiting` says were lost.
        let mut told = 0;
        let mut works = true;
        loop {
            let waiting = self.changed.wait_while(self.state(), |state| state.waiting.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut taken, &mut state.waiting);
            state.writing = true;
            let told_in_taken = std::mem::take(&mut told);
            // Not while writing fails: a line that says so would be lost as well, and call for the next.
            if works {
                told = std::mem::take(&mut state.untold);
            }
            drop(state);
            if told > 0 {
                // Waits where the lost lines would have been: after those taken and before all others.
                tell(told);
            }
            let unwritten = write(&mut to, &taken);
            works = unwritten.is_empty();
            let lost = count_lines(unwritten);
            let untold = if unwritten.len() == taken.len() { lost + told_in_taken } else { lost };
            taken.clear();
            metrics::log_lines_dropped(lost);
            let mut state = self.state();
            state.untold += untold;
            state.writing = false;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Writes the bytes and returns those that could not be.
fn write<'a>(to: &mut impl Write, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(written) => bytes = &bytes[written..],
        }
    }
    bytes
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

impl Write for Lines {
    /// Takes whole lines. Never waits and never fails: a line that finds no room is counted as dropped.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let dressed = (self.dress)(&text);
        let mut state = self.shared.state();
        if state.waiting.len() + dressed.len() > WAITING_BYTES && !IS_WRITER.get() {
            let lost = count_lines(dressed.as_bytes());
            state.untold += lost;
            drop(state);
            metrics::log_lines_dropped(lost);
            return Ok(bytes.len());
        }
        let first = state.waiting.is_empty() && !state.writing;
        state.waiting.extend_from_slice(dressed.as_bytes());
        drop(state);
        if first {
            self.shared.changed.notify_all();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::mpsc;

    use super::*;

    /// Says that it was asked to write, and writes or fails once it is told to.
    struct Slow {
        begun: mpsc::Sender<()>,
        go: mpsc::Receiver<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            self.go.recv().unwrap()?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The thread with its writer under control. What is told of lost lines is a line of its own.
    struct Stage {
        lines: Lines,
        has_begun: mpsc::Receiver<()>,
        go: mpsc::Sender<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Stage {
        fn new() -> Self {
            let (begun, has_begun) = mpsc::channel();
            let (go, may_go) = mpsc::channel();
            let written = Arc::default();
            let slow = Slow { begun, go: may_go, written: Arc::clone(&written) };
            let way = Arc::new(OnceLock::<Lines>::new());
            let tell = {
                let way = Arc::clone(&way);
                move |lost| way.wait().clone().write_all(format!("lost {lost}\n").as_bytes()).unwrap()
            };
            let lines = Lines::start(slow, |line| line.into(), tell).unwrap();
            assert!(way.set(lines.clone()).is_ok());
            Self { lines, has_begun, go, written }
        }

        fn log(&self, line: &str) {
            self.lines.clone().write_all(line.as_bytes()).unwrap();
        }

        /// Waits for a write to begin.
        fn begins(&self) {
            self.has_begun.recv_timeout(Duration::from_secs(60)).expect("a write begins");
        }

        /// Lets the write that has begun, or will, end like this.
        fn end(&self, with: io::Result<()>) {
            self.begins();
            self.go.send(with).unwrap();
        }

        fn written(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn lines_that_come_meanwhile_are_written_together_and_the_end_waits_for_them() {
        let stage = Stage::new();
        stage.log("one\n");
        stage.begins();
        stage.log("two\n");
        stage.log("three\n");
        let drained = std::thread::spawn({
            let lines = stage.lines.clone();
            move || lines.drain()
        });
        stage.go.send(Ok(())).unwrap();
        stage.begins();
        assert_eq!(stage.written(), "one\n");
        assert!(!drained.is_finished());
        stage.go.send(Ok(())).unwrap();
        drained.join().unwrap();
        assert_eq!(stage.written(), "one\ntwo\nthree\n");
        assert!(stage.has_begun.try_recv().is_err(), "two and three went together");
    }

    #[test]
    fn lines_without_room_are_lost_in_bounded_memory_and_told_of_in_their_place() {
        let stage = Stage::new();
        stage.log("first\n");
        stage.begins();
        let line = format!("{}\n", "x".repeat(1023));
        let fit = WAITING_BYTES / line.len();
        for _ in 0..fit + 7 {
            stage.log(&line);
        }
        let too_long = format!("{}\n", "y".repeat(WAITING_BYTES));
        stage.log(&too_long);
        assert_eq!(stage.lines.shared.state().waiting.len(), WAITING_BYTES);
        stage.go.send(Ok(())).unwrap();
        stage.begins();
        // While these are written, the next have room, and the line that tells of the lost ones stands before them.
        stage.log("next\n");
        stage.go.send(Ok(())).unwrap();
        stage.end(Ok(()));
        stage.lines.drain();
        let expected = format!("first\n{}lost 8\nnext\n", line.repeat(fit));
        assert!(stage.written() == expected, "{}", &stage.written()[stage.written().len() - 100..]);
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_of_once_others_can() {
        let stage = Stage::new();
        for _ in 0..3 {
            stage.log("lost\nlost\n");
            stage.end(Err(ErrorKind::StorageFull.into()));
            stage.lines.drain();
        }
        assert!(stage.has_begun.try_recv().is_err(), "no line tells of it in vain");
        stage.log("written\n");
        stage.end(Ok(()));
        stage.lines.drain();
        stage.log("next\n");
        // The line that tells of it is lost, and told again.
        stage.end(Ok(()));
        stage.end(Err(ErrorKind::StorageFull.into()));
        stage.lines.drain();
        stage.log("better\n");
        stage.end(Ok(()));
        stage.lines.drain();
        stage.log("last\n");
        stage.end(Ok(()));
        stage.end(Ok(()));
        stage.lines.drain();
        assert_eq!(stage.written(), "written\nnext\nbetter\nlast\nlost 7\n");
    }
}
