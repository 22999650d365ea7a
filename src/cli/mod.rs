//! The command line: one file a command.
//!
//! Results go to stdout, everything else to stderr, both through `output`. The exit code is 0 for done, 1 for failed, 2
//! for wrong usage.

mod ask;
mod bot;
mod config;
mod failure;
mod key;
mod output;
mod password;
mod people;
mod serve;
mod user;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::Config;
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
  wicara user add ada@example.org --role agent
  wicara key add website --role agent
  wicara bot try guide \"How do I add a bot?\"    ask a bot of the configuration, without a server
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
}

/// How long a server that failed waits for a reader of stderr, so that its end does not depend on one.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Does what the command line says.
pub async fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return instead(&told),
    };
    let serves = matches!(cli.command, None | Some(Command::Serve));
    let Err(failure) = execute(cli).await else { return ExitCode::SUCCESS };
    match failure {
        Failure::Unread => {}
        _ if serves => say_within(format!("wicara: {failure}"), LAST_WORDS),
        _ => say(&format!("wicara: {failure}")),
    }
    failure.exit_code()
}

/// What is said instead of doing anything: the help or the version, or what is wrong with the command line.
fn instead(told: &clap::Error) -> ExitCode {
    let text = told.render().to_string();
    if told.use_stderr() {
        say(text.trim_end());
        return ExitCode::from(2);
    }
    match print(&text) {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("wicara: {failure}"));
            failure.exit_code()
        }
    }
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let command = cli.command.unwrap_or(Command::Serve);
    // A command that is over in a moment says by itself what it did.
    let level = if matches!(command, Command::Serve) { "info" } else { "warn" };
    let _log = telemetry::start(level).map_err(Failure::usage)?;
    let config = || Config::load(cli.config.as_deref()).map_err(Failure::failed);
    match command {
        Command::Serve => serve::run(config()?).await,
        Command::Ask(args) => ask::run(args, config).await,
        Command::User(command) => user::run(command, &config()?).await,
        Command::Key(command) => key::run(command, &config()?).await,
        Command::Bot(command) => bot::run(command, config()?).await,
        Command::Config(command) => config::run(command, config()?),
    }
}
