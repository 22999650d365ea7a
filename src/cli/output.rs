//! What is written to stdout and stderr. Everything goes through here, so that no text from outside steers the terminal
//! and a stream that takes nothing is an error instead of a panic.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use wicara_model::terminal::{visible, visible_json, visible_line};

use super::Failure;

/// Writes to stdout, or says why it cannot be. Text that has to reach its reader is written with this; a result for
/// anybody who still reads, with [`print`].
pub(super) fn write(text: &str) -> io::Result<()> {
    Unbuffered(io::stdout()).write_all(visible(text).as_bytes())
}

/// Prints a result. That its reader went away, as `head` does, ends the command quietly: [`Failure::Unread`].
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write(text).map_err(|error| unwritten(&error, "the result cannot be written to stdout"))
}

/// Prints a value.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&format!("{}\n", visible_json(&text)))
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
    Unbuffered(io::stderr()).write_all(format!("{}\n", visible(text)).as_bytes())
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

/// Columns as wide as their widest cell, the headings first. No cell breaks its line.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows = rows.iter().map(|row| row.each_ref().map(|cell| visible_line(cell)));
    let lines: Vec<_> = std::iter::once(headings.map(Into::into)).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &lines {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
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
    fn a_cell_can_neither_make_a_row_nor_move_the_next_cell() {
        let rows = [["a\u{202e}\n9\t".to_owned(), "b".to_owned()]];
        let cell = r"a\u{202e}\u{a}9\u{9}";
        assert_eq!(table(["ID", "NAME"], &rows), format!("{:<20}  NAME\n{cell}  b\n", "ID"));
    }
}
