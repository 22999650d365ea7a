//! Log lines on their way to stderr: gathered, and written by a thread of their own, many at once where there are many,
//! so that no request waits for a system call of its own.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait. Beyond them whoever logs waits as well: no line is lost.
const WAITING: usize = 1024 * 1024;

/// How long the end of the process waits for them.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

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
}

impl Lines {
    pub fn start(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self::default();
        let shared = Arc::clone(&lines.0);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            let mut taken = Vec::new();
            loop {
                let mut state = shared.wait(|state| state.waiting.is_empty());
                std::mem::swap(&mut taken, &mut state.waiting);
                state.writing = true;
                drop(state);
                // Nobody can be told of a log that cannot be written.
                let _ = to.write_all(&taken).and_then(|()| to.flush());
                taken.clear();
                shared.state.lock().unwrap_or_else(PoisonError::into_inner).writing = false;
                shared.changed.notify_all();
            }
        })?;
        Ok(lines)
    }

    /// Waits until everything is written, or whoever should take it does not.
    pub fn drain(&self) {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(state, PATIENCE, is_busy));
    }
}

impl Shared {
    /// Waits while the condition holds.
    fn wait(&self, condition: impl Fn(&State) -> bool) -> std::sync::MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.wait_while(state, |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.wait(|state| state.waiting.len() > WAITING);
        let first = state.waiting.is_empty() && !state.writing;
        state.waiting.extend_from_slice(bytes);
        drop(state);
        if first {
            self.0.changed.notify_all();
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
    use std::sync::mpsc;

    use super::*;

    /// Says that it was asked to write, and writes once it is told to.
    struct Slow {
        begun: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            self.go.recv().unwrap();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_come_meanwhile_are_written_together_and_the_end_waits_for_them() {
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        let written = Arc::default();
        let slow = Slow { begun, go: may_go, written: Arc::clone(&written) };
        let lines = Lines::start(slow).unwrap();
        lines.clone().write_all(b"one\n").unwrap();
        has_begun.recv().unwrap();
        for line in ["two\n", "three\n"] {
            lines.clone().write_all(line.as_bytes()).unwrap();
        }
        let flushed = std::thread::spawn({
            let lines = lines.clone();
            move || lines.drain()
        });
        go.send(()).unwrap();
        has_begun.recv().unwrap();
        assert_eq!(*written.lock().unwrap(), b"one\n");
        assert!(!flushed.is_finished());
        go.send(()).unwrap();
        flushed.join().unwrap();
        assert_eq!(*written.lock().unwrap(), b"one\ntwo\nthree\n");
        assert!(has_begun.try_recv().is_err(), "two and three went together");
    }
}
