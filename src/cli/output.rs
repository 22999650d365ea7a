//! Results on stdout.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::Failure;

/// Prints a result. A reader that went away, as `head` does, is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the result cannot be written to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&format!("{text}\n"))
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
