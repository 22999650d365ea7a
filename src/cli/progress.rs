//! Shows how far a long command has come, and at its end what it moved.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use wicara_store::{Progress, TableSum};

use super::Failure;
use super::output::{print, rewrite_line, say, table};

/// How often the line on a terminal changes.
const REWRITTEN_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where stderr is no terminal.
const WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// On a terminal one line that is rewritten; elsewhere a line now and then, none for a command that ends before.
pub(super) struct ProgressLine {
    is_terminal: bool,
    shown: Instant,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), shown: Instant::now() }
    }

    pub(super) fn show(&mut self, Progress { step, table, rows }: Progress<'_>) {
        let every = if self.is_terminal { REWRITTEN_EVERY } else { WRITTEN_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let text = format!("{step} {table}: {rows} rows");
        if self.is_terminal { rewrite_line(&text) } else { say(&text) }
    }

    /// Takes the line away.
    pub(super) fn end(self) {
        if self.is_terminal {
            rewrite_line("");
        }
    }
}

/// Prints the tables with their rows and checksums.
pub(super) fn print_sums(sums: &[TableSum]) -> Result<(), Failure> {
    let rows: Vec<_> =
        sums.iter().map(|sum| [sum.table.clone(), sum.rows.to_string(), sum.checksum()]).collect();
    print(&table(["TABLE", "ROWS", "CHECKSUM"], &rows))
}
