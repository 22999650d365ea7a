//! Logs, on stderr: for people on a terminal, as JSON otherwise.

mod lines;

use std::env::{self, VarError};
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;
use wicara_model::terminal::{visible_json, visible_line};

use lines::Lines;

const VARIABLE: &str = "WICARA_LOG";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The log of the process. Dropping it, at the end, waits a second at most for lines that are still to be written.
#[must_use]
pub struct Log(Lines);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.drain();
    }
}

/// Starts logging at the level of `WICARA_LOG`, else at this one. The error is for the operator.
///
/// # Panics
///
/// On a second call.
pub fn start(level: &str) -> Result<Log, String> {
    let written = match env::var(VARIABLE) {
        Ok(written) if !written.trim().is_empty() => written,
        Ok(_) | Err(VarError::NotPresent) => level.to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(format!("{VARIABLE} is no Unicode text")),
    };
    let filter = filter(&written).ok_or_else(|| {
        format!(
            "{VARIABLE}: found {written:?}, allowed are {}, or a list such as \"warn,wicara=debug\"",
            LEVELS.join(", ")
        )
    })?;
    let failed = |error| format!("cannot log: {error}");
    let lines = if io::stderr().is_terminal() {
        // The escapes that colour the line have to stay; what the fields hold is escaped by `on_terminal`.
        let lines = Lines::start(io::stderr(), |line| line.into(), tell_of_lost).map_err(failed)?;
        on_terminal(lines.clone(), filter).init();
        lines
    } else {
        let lines = Lines::start(io::stderr(), visible_json, tell_of_lost).map_err(failed)?;
        in_json(lines.clone(), filter).init();
        lines
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, said = said(panic), "panicked");
    }));
    Ok(Log(lines))
}

fn tell_of_lost(lines: u64) {
    tracing::warn!(lines, "log lines were dropped: stderr was not read fast enough, or could not be written");
}

/// For people: in colours, and without anything in a field that steers the terminal or breaks the line.
fn on_terminal<W>(to: W, filter: EnvFilter) -> impl Subscriber + Send + Sync
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
    // What fails to be formatted would be printed to stderr, with a panic where that is closed.
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_target(false)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(to)
        .finish()
}

/// For programs.
fn in_json<W>(to: W, filter: EnvFilter) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(to)
        .finish()
}

/// A panic's text where it stands in the code as it is. One that was put together may hold what people wrote: of a
/// text that was cut within a character, for one.
fn said<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    panic.payload().downcast_ref::<&str>().copied().unwrap_or("(left out)")
}

/// A word alone has to be a level: the filter would take any other for the name of a module, and log nothing else.
fn filter(written: &str) -> Option<EnvFilter> {
    let directives: Vec<&str> = written.split(',').map(str::trim).collect();
    let level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let known = directives.iter().all(|directive| directive.contains('=') || level(directive));
    known.then(|| EnvFilter::builder().parse(directives.join(",")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use wicara_fuzz::fuzz;
    use wicara_model::terminal::steers;

    use super::*;

    /// What is logged with this text from outside, as people and as programs see it.
    fn logged(text: &str) -> [String; 2] {
        let filter = || EnvFilter::new("trace");
        let written = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
        let log = || {
            let _span = tracing::info_span!("request", shown = %text).entered();
            tracing::info!(shown = %text, debug = ?text, text, "said {text}");
        };
        let [people, programs] = written.each_ref().map(|to| {
            let to = Arc::clone(to);
            move || Shared(Arc::clone(&to))
        });
        tracing::subscriber::with_default(on_terminal(people, filter()), log);
        let dressed = move || Dressed(programs());
        tracing::subscriber::with_default(in_json(dressed, filter()), log);
        written.map(|written| String::from_utf8(written.lock().unwrap().clone()).unwrap())
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// As [`Lines`] does.
    struct Dressed(Shared);

    impl io::Write for Dressed {
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
    fn a_panic_tells_nothing_that_it_was_given() {
        let (sender, told) = std::sync::mpsc::channel();
        let standing = std::panic::take_hook();
        let here = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                sender.send(said(panic).to_owned()).unwrap();
            } else {
                standing(panic);
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
            assert!(filter(written).is_some(), "{written:?}");
        }
        for written in ["warning", "blah", "wicara", "3", "info,blah", "info,", "wicara=loud", "=", "a=b=c"] {
            assert!(filter(written).is_none(), "{written:?}");
        }
    }
}
