//! All output to stdout and stderr: it escapes untrusted text that would control the terminal, and turns a failed write into
//! an error, where `println!` would panic.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use wicara_model::terminal::{visible, visible_json, visible_line};

use super::Failure;

/// Writes to stdout. For text that must not be lost, such as a new key: unlike with [`print`], a closed stdout is an error.
pub(super) fn write(text: &str) -> io::Result<()> {
    Unbuffered(io::stdout()).write_all(visible(text).as_bytes())
}

/// Writes a result to stdout. Where its reader closed it, as `head` does, the command ends quietly with
/// [`Failure::OutputClosed`].
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write(text).map_err(|error| write_failure(&error, "the result cannot be written to stdout"))
}

/// A piece of a line.
pub(super) struct Piece {
    pub text: String,
    /// To stand out, where stdout is a terminal.
    pub is_bold: bool,
}

/// Writes a line to stdout, made of pieces that are escaped each by itself, so that none can break it.
pub(super) fn print_pieces(pieces: &[Piece]) -> Result<(), Failure> {
    let line = line_of(pieces, io::stdout().is_terminal());
    let written = Unbuffered(io::stdout()).write_all(line.as_bytes());
    written.map_err(|error| write_failure(&error, "the result cannot be written to stdout"))
}

fn line_of(pieces: &[Piece], is_terminal: bool) -> String {
    let mut line = String::new();
    for Piece { text, is_bold } in pieces {
        let text = visible_line(text);
        // "Select graphic rendition": bold, and normal again.
        match is_terminal && *is_bold {
            true => line.push_str(&format!("\x1b[1m{text}\x1b[0m")),
            false => line.push_str(&text),
        }
    }
    line.push('\n');
    line
}

/// Writes a value as JSON to stdout.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&format!("{}\n", visible_json(&text)))
}

/// Writes the confirmation of a change to stdout. Where that fails, the error repeats the confirmation, so that nobody runs
/// the command again.
pub(super) fn print_done(sentence: &str) -> Result<(), Failure> {
    write(&format!("{sentence}\n")).map_err(|error| {
        write_failure(&error, &format!("{sentence} This was done, but cannot be written to stdout"))
    })
}

fn write_failure(error: &io::Error, message: &str) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::failed(format!("{message}: {error}")),
    }
}

/// Writes a line to stderr.
pub(super) fn try_say(text: &str) -> io::Result<()> {
    Unbuffered(io::stderr()).write_all(format!("{}\n", visible(text)).as_bytes())
}

/// Writes a line to stderr and ignores an error: without stderr there is no way to report it.
pub(super) fn say(text: &str) {
    let _ = try_say(text);
}

/// Writes over the line of the terminal that stderr is at; an empty text takes it away.
pub(super) fn rewrite_line(text: &str) {
    // Carriage return, and "erase to the end of the line".
    let _ = Unbuffered(io::stderr()).write_all(format!("\r{}\x1b[K", visible_line(text)).as_bytes());
}

/// Like [`say`], but returns after `limit` even if stderr blocks.
pub(super) fn say_within(text: String, limit: Duration) {
    let (done, written) = mpsc::channel();
    let thread = std::thread::Builder::new().name("last words".into()).spawn(move || {
        say(&text);
        let _ = done.send(());
    });
    if thread.is_ok() {
        let _ = written.recv_timeout(limit);
    }
}

/// Writes to the descriptor directly. The standard library's stdout would keep unwritten text in its buffer for the next
/// write, and treats a descriptor that is not open for writing (EBADF) as one that took everything.
struct Unbuffered<Stream>(Stream);

impl<Stream: AsFd> Write for Unbuffered<Stream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A table with aligned columns. Cells are escaped, so that none can break its line.
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
    fn a_bold_piece_is_bold_on_a_terminal_and_neither_leaves_its_line_nor_steers_it() {
        let piece = |text: &str, is_bold| Piece { text: text.to_owned(), is_bold };
        let pieces = [piece("lost\n", false), piece("ca\u{1b}[0mrd", true), piece(".", false)];
        assert_eq!(line_of(&pieces, true), "lost\\u{a}\x1b[1mca\\u{1b}[0mrd\x1b[0m.\n");
        assert_eq!(line_of(&pieces, false), "lost\\u{a}ca\\u{1b}[0mrd.\n");
    }

    #[test]
    fn a_cell_can_neither_make_a_row_nor_move_the_next_cell() {
        let rows = [["a\u{202e}\n9\t".to_owned(), "b".to_owned()]];
        let cell = r"a\u{202e}\u{a}9\u{9}";
        assert_eq!(table(["ID", "NAME"], &rows), format!("{:<20}  NAME\n{cell}  b\n", "ID"));
    }
}
