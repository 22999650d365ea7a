//! `wicara backup`

use std::path::PathBuf;

use wicara_store::{Progress, backup};

use super::Failure;
use super::output::print_done;
use super::progress::{ProgressLine, print_sums};
use crate::config::StoreConfig;
use crate::signals::Signals;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara backup wicara-2027-01-31.backup
  wicara --config /etc/wicara.toml backup /var/backups/wicara-$(date +%F).backup

Also while the server runs: the file holds what was stored when the command began. It is the same for SQLite and
PostgreSQL. Only its owner may read it; it holds what people wrote.";

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn run(args: Args, config: &StoreConfig) -> Result<(), Failure> {
    if args.file.as_os_str() == "-" {
        return Err(Failure::usage(
            "a backup is written to a file and not to stdout: name one (./- for one of this name)",
        ));
    }
    let mut line = ProgressLine::new();
    let mut signals = Signals::install().map_err(Failure::Failed)?;
    let mut show = |progress: Progress<'_>| line.show(progress);
    let saved = tokio::select! {
        saved = backup(&config.store.url, &args.file, &mut show) => Some(saved),
        () = signals.wait() => None,
    };
    line.end();
    let saved = saved.ok_or_else(|| Failure::failed("interrupted: nothing was saved"))?;
    let sums = saved.map_err(Failure::failed)?;
    print_sums(&sums)?;
    print_done(&format!("Saved to {}.", args.file.display()))
}
