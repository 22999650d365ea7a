//! Logs, on stderr: for people on a terminal, as JSON otherwise.

mod lines;

use std::env::{self, VarError};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing_subscriber::filter::EnvFilter;

pub use lines::Lines;

const VARIABLE: &str = "WICARA_LOG";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Starts logging at the level of `WICARA_LOG`, else at this one. Whoever ends the process drains the lines before. The
/// error is for the operator.
///
/// # Panics
///
/// On a second call.
pub fn start(level: &str) -> Result<Lines, String> {
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
    let terminal = io::stderr().is_terminal();
    let lines = Lines::start(io::stderr()).map_err(|error| format!("cannot log: {error}"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone());
    if terminal {
        logs.with_target(false).init();
    } else {
        logs.json().flatten_event(true).with_span_list(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, said = said(panic), "panicked");
    }));
    Ok(lines)
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
    use super::*;

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
