//! The log on stderr: readable lines on a terminal, JSON otherwise. `WICARA_LOG` sets its level.

mod line_buffer;

use std::env::{self, VarError};
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wicara_model::terminal::{visible_json, visible_line};

use line_buffer::LineBuffer;

const VARIABLE: &str = "WICARA_LOG";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The log of the process. Dropping it waits, for a limited time, until buffered lines are written.
#[must_use]
pub struct Log(LineBuffer);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.drain();
    }
}

/// Starts logging at the level of `WICARA_LOG`, else at `default_level`. The error is a sentence for the operator.
///
/// # Panics
///
/// On a second call.
pub fn start(default_level: &str) -> Result<Log, String> {
    let directives = match env::var(VARIABLE) {
        Ok(directives) if !directives.trim().is_empty() => directives,
        Ok(_) | Err(VarError::NotPresent) => default_level.to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(format!("{VARIABLE} is no Unicode text")),
    };
    let filter = parse_filter(&directives).ok_or_else(|| {
        format!(
            "{VARIABLE}: found {directives:?}, allowed are {}, or a list such as \"warn,wicara=debug\"",
            LEVELS.join(", ")
        )
    })?;
    let failed = |error| format!("cannot log: {error}");
    let lines = if io::stderr().is_terminal() {
        // Lines keep their colour codes; `on_terminal` escapes the values of fields instead.
        let lines = LineBuffer::start(io::stderr(), |line| line.into(), report_lost).map_err(failed)?;
        on_terminal(lines.clone(), filter).init();
        lines
    } else {
        let lines = LineBuffer::start(io::stderr(), visible_json, report_lost).map_err(failed)?;
        in_json(lines.clone(), filter).init();
        lines
    };
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place = location, said = static_message(panic), "panicked");
    }));
    Ok(Log(lines))
}

fn report_lost(lines: u64) {
    tracing::warn!(lines, "log lines were dropped: stderr was not read fast enough, or could not be written");
}

/// The format for people: in colours. Fields are escaped, so that their values neither control the terminal nor break the
/// line.
fn on_terminal<W>(writer: W, filter: Targets) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = format!("{value:?}");
        let value = visible_line(&value);
        match (field.name(), writer.has_ansi_escapes()) {
            ("message", _) => write!(writer, "{value}"),
            (name, true) => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value}"),
            (name, false) => write!(writer, "{name}={value}"),
        }
    };
    // With `log_internal_errors` a formatting error is printed to stderr, which panics where stderr is closed.
    let layer = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_target(false)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(layer)
}

/// The format for programs: one JSON object a line.
fn in_json<W>(writer: W, filter: Targets) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(layer)
}

/// A panic's message if it is a literal in the code. A formatted message is left out, because it may hold text of users: the
/// panic of slicing a string within a character quotes the string.
fn static_message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    panic.payload().downcast_ref::<&str>().copied().unwrap_or("(left out)")
}

/// Parses a level or a list of directives, each a level or `module=level`.
fn parse_filter(directives: &str) -> Option<Targets> {
    let level = |word: &str| -> Option<LevelFilter> {
        let known = LEVELS.iter().find(|level| level.eq_ignore_ascii_case(word))?;
        known.parse().ok()
    };
    directives.split(',').map(str::trim).try_fold(Targets::new(), |filter, directive| {
        match directive.split_once('=') {
            None => Some(filter.with_default(level(directive)?)),
            Some((module, word)) => {
                let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
                let is_module = !module.is_empty() && module.chars().all(is_path);
                is_module.then_some(filter.with_target(module, level(word)?))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use wicara_fuzz::fuzz;
    use wicara_model::terminal::steers;

    use super::*;

    /// The log lines with this text in their fields: for people and for programs.
    fn logged(text: &str) -> [String; 2] {
        let filter = || Targets::new().with_default(tracing::Level::TRACE);
        let written = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
        let log = || {
            let _span = tracing::info_span!("request", shown = %text).entered();
            tracing::info!(shown = %text, debug = ?text, text, "said {text}");
        };
        let [people, programs] = written.each_ref().map(|to| {
            let to = Arc::clone(to);
            move || SharedWriter(Arc::clone(&to))
        });
        tracing::subscriber::with_default(on_terminal(people, filter()), log);
        let escaping = move || EscapingWriter(programs());
        tracing::subscriber::with_default(in_json(escaping, filter()), log);
        written.map(|written| String::from_utf8(written.lock().unwrap().clone()).unwrap())
    }

    struct SharedWriter(Arc<Mutex<Vec<u8>>>);

    impl io::Write for SharedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Escapes like [`LineBuffer`].
    struct EscapingWriter(SharedWriter);

    impl io::Write for EscapingWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write_all(visible_json(str::from_utf8(bytes).unwrap()).as_bytes())?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_on_a_terminal_has_its_colours_and_its_fields() {
        let [people, _] = logged("a");
        for part in [" INFO", "\u{1b}[3mshown\u{1b}[0m\u{1b}[2m=\u{1b}[0ma ", "said a"] {
            assert!(people.contains(part), "{part:?} is not in {people:?}");
        }
    }

    #[test]
    fn fuzz_no_text_from_outside_steers_a_terminal() {
        let text = prop_oneof!["[\\[\n\r\t\u{0}-\u{1f}\u{7f}-\u{9f}\u{202e}a]{0,8}", any::<String>()];
        fuzz("log line", text, |text| {
            let [people, programs] = logged(&text);
            assert_eq!(people.find('\n'), Some(people.len() - 1), "{people:?}");
            // The formatter's own colours.
            let codes =
                ["0", "1", "2", "3", "31", "32", "33", "34", "35"].map(|code| format!("\u{1b}[{code}m"));
            let plain = codes.iter().fold(people.clone(), |line, code| line.replace(code, ""));
            assert!(!plain.contains(steers), "{plain:?}");
            let colours = |line: &str| line.matches('\u{1b}').count();
            assert_eq!(colours(&people), colours(&logged("")[0]), "{people:?}");

            assert!(!programs.contains(steers), "{programs:?}");
            let line: serde_json::Value = serde_json::from_str(&programs).unwrap();
            assert_eq!(line["shown"], text);
            assert_eq!(line["message"], format!("said {text}"));
        });
    }

    #[test]
    fn a_panic_logs_no_text_that_it_was_given() {
        let (sender, told) = std::sync::mpsc::channel();
        let previous_hook = std::panic::take_hook();
        let here = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                sender.send(static_message(panic).to_owned()).unwrap();
            } else {
                previous_hook(panic);
            }
        }));
        let text = String::from("é");
        let _ = std::panic::catch_unwind(|| panic!("a fault"));
        let _ = std::panic::catch_unwind(|| text[1..].len());
        let _ = std::panic::take_hook();
        assert_eq!(told.iter().collect::<Vec<_>>(), ["a fault", "(left out)"]);
    }

    #[test]
    fn a_level_or_a_list_is_taken_and_nothing_else() {
        for written in ["error", "WARN", " info ", "off", "warn,wicara=debug", "warn, tokio::net=trace"] {
            assert!(parse_filter(written).is_some(), "{written:?}");
        }
        for written in ["warning", "blah", "wicara", "3", "info,blah", "info,", "wicara=loud", "=", "a=b=c"] {
            assert!(parse_filter(written).is_none(), "{written:?}");
        }
    }
}
