//! `wicara bot`: lists the configured bots, and asks one without a server.

use std::fmt::Write;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::Instant;
use wicara_bots::{ConfiguredBot, Error, Settings, tokens};
use wicara_metrics::Metrics;
use wicara_model::terminal::visible_line;
use wicara_model::{Answer, Json, MessageId, Question};
use wicara_platform::Random;

use super::Failure;
use super::output::{print, print_json, say, table};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara bot list
  wicara bot try majadigi \"Halo\"
  wicara --config /etc/wicara.toml bot try flow \"What can you do?\" --json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the bots of the configuration
    #[command(after_help = "Examples:\n  wicara bot list\n  wicara bot list --json")]
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Ask a bot of the configuration directly: no server has to run, and nothing is stored
    #[command(after_help = "Example:\n  wicara bot try majadigi \"Halo\"")]
    Try {
        /// The bot's id
        #[arg(value_name = "ID")]
        id: String,
        /// What to ask
        #[arg(value_name = "QUESTION")]
        question: String,
        /// Print the whole answers as JSON, when they are there
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: Command, config: Config) -> Result<(), Failure> {
    match command {
        Command::List { json } => list(&config.bots, json),
        Command::Try { id, question, json } => ask(&config, &id, question, json).await,
    }
}

fn list(bots: &[Settings], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let bots: Vec<Value> = bots
            .iter()
            .map(|bot| {
                let mut shown = json!({"id": bot.id, "kind": bot.kind.name(), "default": bot.default,
                                       "public": bot.public, "place": bot.kind.endpoint()});
                match bot.kind.left_out() {
                    Ok(files) => {
                        let files =
                            files.iter().map(|file| json!({"path": file.path, "reason": file.reason}));
                        shown["leftOut"] = files.collect();
                    }
                    Err(fault) => shown["fault"] = fault.into(),
                }
                shown
            })
            .collect();
        return print_json(&bots);
    }
    let rows: Vec<[String; 4]> = bots
        .iter()
        .map(|bot| {
            let visitors = match (bot.default, bot.public) {
                (true, _) => "by default",
                (false, true) => "by its id",
                (false, false) => "never",
            };
            [bot.id.clone(), bot.kind.name().to_owned(), visitors.to_owned(), bot.kind.endpoint()]
        })
        .collect();
    let mut text = table(["ID", "KIND", "VISITORS REACH IT", "ANSWERS FROM"], &rows);
    for bot in bots {
        match bot.kind.left_out() {
            Ok(files) => {
                for file in files {
                    let line = format!("{} leaves out {}: it {}", bot.id, file.path, file.reason);
                    let _ = writeln!(text, "{}", visible_line(&line));
                }
            }
            Err(fault) => {
                let _ = writeln!(text, "{}", visible_line(&format!("{} cannot answer: {fault}", bot.id)));
            }
        }
    }
    print(&text)
}

async fn ask(config: &Config, id: &str, question: String, as_json: bool) -> Result<(), Failure> {
    let source = config.source();
    let settings = config.bots.iter().find(|bot| bot.id == id).ok_or_else(|| {
        let known: Vec<_> = config.bots.iter().map(|bot| bot.id.as_str()).collect();
        Failure::usage(format!("{source} has no bot {id:?}, only {}", known.join(", ")))
    })?;
    let bot = ConfiguredBot::new(settings, "/guide", &Random::System, &Metrics::default())
        .map_err(|error| Failure::failed(format!("{source}: the bot {id:?}: {error}")))?;

    let session_id = Random::System.uuid();
    let question = Question { id: MessageId(1), session_id, text: question, history: Vec::new() };
    let start = Instant::now();
    let mut first_token = None;
    let (sender, mut tokens) = tokens::channel::<()>();
    let call = async {
        let answers = bot.ask(question, &sender).await;
        drop(sender);
        Ok(answers)
    };
    let display = async {
        while let Some(tokens::Event::Text(text)) = tokens.next().await {
            first_token.get_or_insert_with(|| start.elapsed());
            if !as_json {
                print(&text)?;
            }
        }
        Ok(())
    };
    // If stdout fails, the call to the bot is cancelled.
    let (answers, ()) = tokio::try_join!(call, display)?;
    if first_token.is_some() && !as_json {
        print("\n")?;
    }
    let answers = answers.map_err(|error| refusal(id, &error))?;
    if as_json {
        print_json(&answers.iter().map(answer_object).collect::<Vec<_>>())?;
    }
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    say(&format!(
        "{} after {}, all of it after {}. Session {session_id}.",
        if answers.len() == 1 {
            "The first piece".to_owned()
        } else {
            format!("{} answers, the first", answers.len())
        },
        seconds(first_token.unwrap_or_default()),
        seconds(start.elapsed()),
    ));
    Ok(())
}

fn answer_object(answer: &Answer) -> Json {
    answer.payload.clone().unwrap_or_else(|| Json::of(&json!({"text": answer.text})))
}

/// Why the bot gave no answer, and what to change.
fn refusal(id: &str, error: &Error) -> Failure {
    const UNREADABLE: &str = "compare with what it really sends, and check the settings of its kind";
    let (advice, bot_error) = match error {
        Error::Timeout(_) => ("see whether it works on its own, or raise timeout_seconds", None),
        Error::Unreachable(_) => ("see whether it runs, and whether url is right", None),
        Error::Rejected { status, body, .. } => {
            let advice = match status {
                300..=399 => "it leads elsewhere, which is not followed: set url to where it leads",
                401 | 403 => "it does not accept the key: check api_key or headers",
                404 | 405 => "there is nothing at this address: check url, and the flow or model",
                400 | 413 | 415 | 422 => {
                    "it does not understand what is sent: check body, and the flow or model"
                }
                429 => "it is asked too often: wait, or lower concurrency",
                _ => "its own log says more",
            };
            (advice, Some(body))
        }
        Error::Failed(body) => ("its own log says more", Some(body)),
        Error::Unreadable(_) => (UNREADABLE, None),
        Error::NotJson { body, .. } => (UNREADABLE, Some(body)),
        Error::Busy | Error::Unconfigured | Error::Interrupted | Error::Suspended { .. } => {
            ("try again", None)
        }
    };
    let bot_error = bot_error.map(|text| text.reveal()).filter(|text| !text.is_empty());
    let bot_error = bot_error.map(|text| format!(". It said: {text}")).unwrap_or_default();
    Failure::failed(format!("{id}: {error}: {advice}{bot_error}"))
}

#[cfg(test)]
mod tests {
    use wicara_outbound::ErrorText;

    use super::*;

    #[test]
    fn a_refusal_says_what_to_change() {
        let rejected =
            |status, body| Error::Rejected { status, retry_after: None, body: ErrorText::new(body) };
        for (error, expected) in [
            (
                rejected(401, "no key"),
                "a: the bot answered with status 401: it does not accept the key: check api_key or headers. It \
                 said: no key",
            ),
            (
                rejected(302, ""),
                "a: the bot answered with status 302: it leads elsewhere, which is not followed: set url to where \
                 it leads",
            ),
            (
                Error::Failed(ErrorText::new("out of memory")),
                "a: the bot said that it failed: its own log says more. It said: out of memory",
            ),
            (
                Error::Timeout(Duration::from_secs(30)),
                "a: the bot did not answer within 30 s: see whether it works on its own, or raise timeout_seconds",
            ),
        ] {
            assert_eq!(refusal("a", &error).to_string(), expected);
        }
    }
}
