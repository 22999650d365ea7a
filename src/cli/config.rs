//! `wicara config`

use clap::Subcommand;
use wicara_bots::Registry;
use wicara_metrics::Metrics;
use wicara_platform::Random;

use super::Failure;
use super::output::{print, print_json};
use crate::config::Config;
use crate::open_store::probe_store;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara config check
  wicara config check --connect
  wicara config show
  wicara config show --json
  wicara --config /etc/wicara.toml config check";

#[derive(Debug, PartialEq, Subcommand)]
pub(super) enum Command {
    /// Check the configuration as a start of the server would
    #[command(
        after_help = "Examples:\n  wicara --config /etc/wicara.toml config check\n  wicara config check --connect"
    )]
    Check {
        /// Connect to the database too; nothing is changed in it
        #[arg(long)]
        connect: bool,
    },
    /// Show the settings in force, with secrets masked
    #[command(after_help = "Examples:\n  wicara config show\n  wicara config show --json")]
    Show {
        /// Print JSON instead of TOML
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: Command, config: Config) -> Result<(), Failure> {
    match command {
        Command::Show { json: true } => print_json(config.masked()),
        Command::Show { json: false } => print(&config.masked_toml()),
        Command::Check { connect } => {
            let source = config.source();
            let url = config.store.url.clone();
            // The base of the guide's links does not matter for a check.
            Registry::new(config.bots, "/guide", &Random::System, &Metrics::default())
                .map_err(|error| Failure::failed(format!("{source}: {error}")))?;
            print(&format!("The configuration is valid ({source} and the environment).\n"))?;
            if connect {
                let found = probe_store(&url, &source).await.map_err(Failure::Failed)?;
                print(&format!("The database can be used: {found}.\n"))?;
            }
            Ok(())
        }
    }
}
