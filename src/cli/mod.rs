//! The command line: a file for each command.
//!
//! Results go to stdout, all other text to stderr, both through `output`. The exit code is 0 for done, 1 for failed, 2 for
//! wrong usage.

mod ask;
mod backup;
mod bot;
mod config;
mod copy;
mod failure;
mod key;
mod openapi;
mod output;
mod password;
mod people;
mod progress;
mod remote;
mod restore;
mod search;
mod serve;
mod user;
mod watch;
mod welcome;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{Config, StoreConfig};
use crate::telemetry;

use failure::Failure;
use output::{print, say, say_within};

/// Keeps the conversations between an organisation's bots and its public.
#[derive(Debug, Parser)]
#[command(name = "wicara", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: $WICARA_CONFIG, else ./wicara.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  wicara                                       start the server
  wicara ask \"How do I add a bot?\"             ask the running server
  WICARA_KEY=wicara_… wicara watch                 follow what changes on it
  WICARA_KEY=wicara_… wicara search \"lost card\"    find what was said
  wicara user add ada@example.org --role agent
  wicara key add website --role agent
  wicara bot try guide \"How do I add a bot?\"    ask a bot of the configuration, without a server
  wicara backup wicara-2027-01-31.backup
  wicara --config /etc/wicara.toml config check

Without a command the server starts. WICARA_LOG sets the log's level: error, warn, info, debug, trace.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(after_help = serve::EXAMPLES)]
    Serve,
    /// Ask a running server a question
    #[command(after_help = ask::EXAMPLES)]
    Ask(ask::Args),
    /// Follow what changes on a running server
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Args),
    /// Search the messages of a running server
    #[command(after_help = search::EXAMPLES)]
    Search(search::Args),
    /// Manage the people who may sign in
    #[command(subcommand, after_help = user::EXAMPLES)]
    User(user::Command),
    /// Manage the keys of programs
    #[command(subcommand, after_help = key::EXAMPLES)]
    Key(key::Command),
    /// List the bots, or try one out
    #[command(subcommand, after_help = bot::EXAMPLES)]
    Bot(bot::Command),
    /// Check or show the configuration
    #[command(subcommand, after_help = config::EXAMPLES)]
    Config(config::Command),
    /// Write all that is stored to a file, also while the server runs
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Args),
    /// Restore a backup into an empty database
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::Args),
    /// Copy all that is stored to another database, from SQLite to PostgreSQL or back
    #[command(after_help = copy::EXAMPLES)]
    Copy(copy::Args),
    /// Print the OpenAPI document of the API
    #[command(after_help = openapi::EXAMPLES)]
    Openapi,
}

/// How long a server that failed tries to write the reason to stderr: a stderr that nobody reads must not keep the process
/// alive.
const FAILURE_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// Parses the command line and runs the command. The runtime is started here and not by the executable, so that all
/// async code is compiled with this library and the executable only links it.
#[must_use]
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads for a runtime");
    let code = runtime.block_on(run_command());
    // Does not wait for blocking threads: the look-up of a host name may take half a minute.
    runtime.shutdown_background();
    code
}

async fn run_command() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_usage(&error),
    };
    let is_server = matches!(cli.command, None | Some(Command::Serve));
    let Err(failure) = execute(cli).await else { return ExitCode::SUCCESS };
    match failure {
        Failure::OutputClosed => {}
        _ if is_server => say_within(format!("wicara: {failure}"), FAILURE_WRITE_TIMEOUT),
        _ => say(&format!("wicara: {failure}")),
    }
    failure.exit_code()
}

/// Prints the help or the version, which clap returns as errors too, or what is wrong with the command line.
fn print_usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        say(text.trim_end());
        return ExitCode::from(2);
    }
    match print(&text) {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("wicara: {failure}"));
            failure.exit_code()
        }
    }
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let command = cli.command.unwrap_or(Command::Serve);
    // A short command prints its result; at level info the log would only repeat it.
    let level = if matches!(command, Command::Serve) { "info" } else { "warn" };
    let _log = telemetry::start(level).map_err(Failure::usage)?;
    let config = || Config::load(cli.config.as_deref()).map_err(Failure::failed);
    let store_config = || StoreConfig::load(cli.config.as_deref()).map_err(Failure::failed);
    match command {
        Command::Serve => serve::run(config()?).await,
        Command::Ask(args) => ask::run(args, config).await,
        Command::Watch(args) => watch::run(args, config).await,
        Command::Search(args) => search::run(args, config).await,
        Command::User(command) => user::run(command, &store_config()?).await,
        Command::Key(command) => key::run(command, &store_config()?).await,
        Command::Bot(command) => bot::run(command, config()?).await,
        Command::Config(command) => config::run(command, config()?).await,
        Command::Backup(args) => backup::run(args, &store_config()?).await,
        Command::Restore(args) => restore::run(args, &store_config()?).await,
        Command::Copy(args) => copy::run(args, &store_config()?).await,
        Command::Openapi => openapi::run(),
    }
}
