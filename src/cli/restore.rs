//! `wicara restore`

use std::path::PathBuf;

use wicara_store::{Unfinished, restore};

use super::Failure;
use super::output::print_done;
use super::progress::{ProgressLine, print_sums};
use crate::config::StoreConfig;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara restore wicara-2027-01-31.backup
  WICARA_STORE__URL=sqlite:restored/wicara.db wicara restore wicara-2027-01-31.backup

Into the database of store.url, SQLite or PostgreSQL, whichever the backup is of. It must be empty: a file that is not
there yet, or a new database. The whole file is checked before anything is written. Interrupted, run it again: it
goes on where it was; --start-over begins anew.";

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// The file that `wicara backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// If the database is an unfinished copy, empty it and begin anew
    #[arg(long)]
    start_over: bool,
}

/// What `--start-over` asks for.
pub(super) fn unfinished(start_over: bool) -> Unfinished {
    if start_over { Unfinished::StartOver } else { Unfinished::GoesOn }
}

pub(super) async fn run(args: Args, config: &StoreConfig) -> Result<(), Failure> {
    let mut line = ProgressLine::new();
    let unfinished = unfinished(args.start_over);
    let restored =
        restore(&args.file, &config.store.url, unfinished, &mut |progress| line.show(progress)).await;
    line.end();
    let sums = restored.map_err(Failure::failed)?;
    print_sums(&sums)?;
    print_done("Restored: the database holds what the file has. The server can be started.")
}
