//! `wicara copy`

use wicara_store::{DatabaseUrl, copy};

use super::Failure;
use super::output::print_done;
use super::progress::{ProgressLine, print_sums};
use super::restore::unfinished;
use crate::config::{self, StoreConfig};

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara copy --to postgres://wicara@127.0.0.1/wicara
  wicara copy --to 'postgres://wicara:${DB_PASSWORD}@db.example.org/wicara?sslmode=require'
  wicara --config /etc/wicara.toml copy --to sqlite:/var/lib/wicara/wicara.db

All that store.url holds goes into an empty database: conversations, people, keys, logins. The server must be stopped.
Interrupted, run the same command again: it goes on where it was; --start-over begins anew. Afterwards set store.url to the new address.
${NAME} in the address takes an environment variable, so that no password is seen in a list of processes.";

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// The empty database: sqlite:PATH or postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    to: String,
    /// If the database is an unfinished copy, empty it and begin anew
    #[arg(long)]
    start_over: bool,
}

pub(super) async fn run(args: Args, config: &StoreConfig) -> Result<(), Failure> {
    let to = config::expand(&args.to).map_err(|error| Failure::usage(format!("--to: {error}")))?;
    DatabaseUrl::parse(&to).map_err(|error| Failure::usage(format!("--to: {error}")))?;
    let mut line = ProgressLine::new();
    let copied =
        copy(&config.store.url, &to, unfinished(args.start_over), &mut |progress| line.show(progress)).await;
    line.end();
    let sums = copied.map_err(Failure::failed)?;
    print_sums(&sums)?;
    print_done("Copied: the source and the target hold the same. Set store.url to the target to use it.")
}
