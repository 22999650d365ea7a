//! Writes log lines to stderr from a thread of its own, many lines with one system call, so that no request waits for
//! stderr. Lines that do not fit into the bounded buffer are dropped and counted.
//!
//! The writer of tracing-appender is not used: it bounds the number of lines but not their bytes, does not count lines
//! that could not be written, and prints to stdout where stderr blocks at the end of the process, which spoils a command's
//! result and panics where stdout is closed.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use wicara_metrics as metrics;

/// Bytes of the lines in the buffer. As many again may be in the hands of the writer thread.
const MAX_BUFFERED_BYTES: usize = 1024 * 1024;

/// How long the end of the process waits for the writer thread.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

thread_local! {
    /// Whether this is the writer thread. Its own lines, which report dropped lines, are never dropped: it logs at most one
    /// for each time that it empties the buffer.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The sending end: a writer that puts lines into the buffer. Clones share the buffer.
#[derive(Clone)]
pub(super) struct LineBuffer {
    shared: Arc<Shared>,
    escape: fn(&str) -> Cow<'_, str>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    buffered: Vec<u8>,
    /// The writer thread is writing lines that it took out of the buffer.
    is_writing: bool,
    /// Lines that were lost and not reported yet.
    unreported: u64,
}

impl LineBuffer {
    /// Starts the writer thread.
    ///
    /// `escape` is applied to each line before it is buffered. `report_lost` is called on the writer thread with a number of
    /// lost lines, and logs it; it is called only while writing succeeds.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        escape: fn(&str) -> Cow<'_, str>,
        report_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = Self { shared: Arc::default(), escape };
        let shared = Arc::clone(&lines.shared);
        std::thread::Builder::new().name("log".into()).spawn(move || shared.run(output, &report_lost))?;
        Ok(lines)
    }

    /// Waits until all lines are written, at most [`DRAIN_TIMEOUT`].
    pub(super) fn drain(&self) {
        let is_busy = |state: &mut State| state.is_writing || !state.buffered.is_empty();
        drop(self.shared.changed.wait_timeout_while(self.shared.state(), DRAIN_TIMEOUT, is_busy));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned state is valid: no code that holds the lock panics between two changes of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of the writer thread: takes all buffered lines and writes them with the lock released.
    fn run(&self, mut output: impl Write, report_lost: &impl Fn(u64)) {
        IS_WRITER.set(true);
        let mut taken = Vec::new();
        // The number in the report that is the first line of the buffer, if there is one.
        let mut reported = 0;
        let mut last_write_succeeded = true;
        loop {
            let waiting = self.changed.wait_while(self.state(), |state| state.buffered.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut taken, &mut state.buffered);
            state.is_writing = true;
            let reported_in_taken = std::mem::take(&mut reported);
            // Not while writing fails: the report would be lost as well, and its loss would call for the next report.
            if last_write_succeeded {
                reported = std::mem::take(&mut state.unreported);
            }
            drop(state);
            if reported > 0 {
                // The report takes the position of the lost lines: behind those taken and before all others.
                report_lost(reported);
            }
            let unwritten = write(&mut output, &taken);
            last_write_succeeded = unwritten.is_empty();
            let lost = count_lines(unwritten);
            // If nothing was written, a report at the beginning was lost too, and its number is reported again.
            let unreported = if unwritten.len() == taken.len() { lost + reported_in_taken } else { lost };
            taken.clear();
            metrics::log_lines_dropped(lost);
            let mut state = self.state();
            state.unreported += unreported;
            state.is_writing = false;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Writes the bytes, and returns those that could not be written.
fn write<'a>(output: &mut impl Write, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        match output.write(bytes) {
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

impl Write for LineBuffer {
    /// Takes whole lines. Neither waits nor fails: a line that does not fit into the buffer is counted as dropped.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let escaped = (self.escape)(&text);
        let mut state = self.shared.state();
        if state.buffered.len() + escaped.len() > MAX_BUFFERED_BYTES && !IS_WRITER.get() {
            let lost = count_lines(escaped.as_bytes());
            state.unreported += lost;
            drop(state);
            metrics::log_lines_dropped(lost);
            return Ok(bytes.len());
        }
        let wakes_writer = state.buffered.is_empty() && !state.is_writing;
        state.buffered.extend_from_slice(escaped.as_bytes());
        drop(state);
        if wakes_writer {
            self.shared.changed.notify_all();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineBuffer {
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

    /// An output that announces each write, and then succeeds or fails as the test decides.
    struct ControlledOutput {
        begun: mpsc::Sender<()>,
        outcomes: mpsc::Receiver<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for ControlledOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            self.outcomes.recv().unwrap()?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A buffer and its writer thread on a controlled output. A report is the line `lost <number>`.
    struct Fixture {
        lines: LineBuffer,
        begun_writes: mpsc::Receiver<()>,
        outcomes: mpsc::Sender<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Fixture {
        fn new() -> Self {
            let (begun, begun_writes) = mpsc::channel();
            let (outcomes, received_outcomes) = mpsc::channel();
            let written = Arc::default();
            let output =
                ControlledOutput { begun, outcomes: received_outcomes, written: Arc::clone(&written) };
            let buffer = Arc::new(OnceLock::<LineBuffer>::new());
            let report_lost = {
                let buffer = Arc::clone(&buffer);
                move |lost| buffer.wait().clone().write_all(format!("lost {lost}\n").as_bytes()).unwrap()
            };
            let lines = LineBuffer::start(output, |line| line.into(), report_lost).unwrap();
            assert!(buffer.set(lines.clone()).is_ok());
            Self { lines, begun_writes, outcomes, written }
        }

        fn log(&self, line: &str) {
            self.lines.clone().write_all(line.as_bytes()).unwrap();
        }

        /// Waits for a write to begin.
        fn wait_for_write(&self) {
            self.begun_writes.recv_timeout(Duration::from_secs(60)).expect("a write begins");
        }

        /// Waits for a write and gives it this outcome.
        fn finish_write(&self, outcome: io::Result<()>) {
            self.wait_for_write();
            self.outcomes.send(outcome).unwrap();
        }

        fn written(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn lines_that_arrive_during_a_write_are_written_together_and_a_drain_waits_for_them() {
        let fixture = Fixture::new();
        fixture.log("one\n");
        fixture.wait_for_write();
        fixture.log("two\n");
        fixture.log("three\n");
        let drained = std::thread::spawn({
            let lines = fixture.lines.clone();
            move || lines.drain()
        });
        fixture.outcomes.send(Ok(())).unwrap();
        fixture.wait_for_write();
        assert_eq!(fixture.written(), "one\n");
        assert!(!drained.is_finished());
        fixture.outcomes.send(Ok(())).unwrap();
        drained.join().unwrap();
        assert_eq!(fixture.written(), "one\ntwo\nthree\n");
        assert!(fixture.begun_writes.try_recv().is_err(), "two and three went together");
    }

    #[test]
    fn lines_that_do_not_fit_are_lost_and_reported_at_their_position() {
        let fixture = Fixture::new();
        fixture.log("first\n");
        fixture.wait_for_write();
        let line = format!("{}\n", "x".repeat(1023));
        let fit = MAX_BUFFERED_BYTES / line.len();
        for _ in 0..fit + 7 {
            fixture.log(&line);
        }
        let too_long = format!("{}\n", "y".repeat(MAX_BUFFERED_BYTES));
        fixture.log(&too_long);
        assert_eq!(fixture.lines.shared.state().buffered.len(), MAX_BUFFERED_BYTES);
        fixture.outcomes.send(Ok(())).unwrap();
        fixture.wait_for_write();
        // The buffer was emptied for this write, so the next line fits, behind the report.
        fixture.log("next\n");
        fixture.outcomes.send(Ok(())).unwrap();
        fixture.finish_write(Ok(()));
        fixture.lines.drain();
        let expected = format!("first\n{}lost 8\nnext\n", line.repeat(fit));
        assert!(fixture.written() == expected, "{}", &fixture.written()[fixture.written().len() - 100..]);
    }

    #[test]
    fn lines_that_cannot_be_written_are_reported_once_others_can() {
        let fixture = Fixture::new();
        for _ in 0..3 {
            fixture.log("lost\nlost\n");
            fixture.finish_write(Err(ErrorKind::StorageFull.into()));
            fixture.lines.drain();
        }
        assert!(fixture.begun_writes.try_recv().is_err(), "no report while writing fails");
        fixture.log("written\n");
        fixture.finish_write(Ok(()));
        fixture.lines.drain();
        fixture.log("next\n");
        // The report is lost, and reported again.
        fixture.finish_write(Ok(()));
        fixture.finish_write(Err(ErrorKind::StorageFull.into()));
        fixture.lines.drain();
        fixture.log("better\n");
        fixture.finish_write(Ok(()));
        fixture.lines.drain();
        fixture.log("last\n");
        fixture.finish_write(Ok(()));
        fixture.finish_write(Ok(()));
        fixture.lines.drain();
        assert_eq!(fixture.written(), "written\nnext\nbetter\nlast\nlost 7\n");
    }
}
