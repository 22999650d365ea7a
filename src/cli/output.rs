//! What is written to stdout and stderr. Everything goes through here, so that a stream that takes
//! nothing is an error instead of a panic.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::Failure;

/// Writes to stdout, or says why it cannot be. Text that has to reach its reader is written with this; a result for
/// anybody who still reads, with [`print`].
pub(super) fn write(text: &str) -> io::Result<()> {
    Unbuffered(io::stdout()).write_all(text.as_bytes())
}

/// Prints a result. That its reader went away, as `head` does, ends the command quietly: [`Failure::Unread`].
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write(text).map_err(|error| unwritten(&error, "the result cannot be written to stdout"))
}

/// Prints a value.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&format!("{text}\n"))
}

/// Prints the sentence that says what was done. Where stdout does not take it, the error holds it, so that nobody does
/// the same again.
pub(super) fn print_done(sentence: &str) -> Result<(), Failure> {
    write(&format!("{sentence}\n")).map_err(|error| {
        unwritten(&error, &format!("{sentence} This was done, but cannot be written to stdout"))
    })
}

fn unwritten(error: &io::Error, what: &str) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::failed(format!("{what}: {error}")),
    }
}

/// Writes a line to stderr.
pub(super) fn try_say(text: &str) -> io::Result<()> {
    Unbuffered(io::stderr()).write_all(format!("{text}\n").as_bytes())
}

/// Says something beside the result. Where stderr takes nothing, there is nobody to tell, and the command goes on.
pub(super) fn say(text: &str) {
    let _ = try_say(text);
}

/// The same, but waits no longer for whoever should read stderr.
pub(super) fn say_within(text: String, time: Duration) {
    let (said, is_said) = mpsc::channel();
    let saying = std::thread::Builder::new().name("last words".into()).spawn(move || {
        say(&text);
        let _ = said.send(());
    });
    if saying.is_ok() {
        let _ = is_said.recv_timeout(time);
    }
}

/// A stream without the standard library's buffer, which keeps what could not be written for a later try, and without
/// its leniency, which takes a descriptor that is not open for writing for one that took everything.
struct Unbuffered<Stream>(Stream);

impl<Stream: AsFd> Write for Unbuffered<Stream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Columns as wide as their widest cell, the headings first.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let lines = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in lines() {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Text from elsewhere as it may stand on a terminal: control characters could write over what stands there.
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_its_columns_up() {
        let rows = [["1".to_owned(), "añb".to_owned()], ["100".to_owned(), String::new()]];
        assert_eq!(table(["ID", "NAME"], &rows), "ID   NAME\n1    añb\n100\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\n\tb\u{1b}[2J\r\u{9b}é😀"), "a\n\tb\u{fffd}[2J\u{fffd}\u{fffd}é😀");
    }
}
