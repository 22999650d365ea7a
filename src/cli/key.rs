//! `wicara key`

use std::io;

use clap::Subcommand;
use serde_json::json;
use wicara_model::{Api, Key};
use wicara_service::People;

use super::Failure;
use super::output::{self, print, print_done, print_json, say, table};
use super::people::{Grant, api, bots_text, failure, open};
use crate::config::StoreConfig;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara key add website --role agent
  wicara key add reports --bots guide --api conversation
  wicara key list --json
  wicara key remove website";

#[derive(Debug, PartialEq, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it, once, alone on the last line of stdout
    #[command(after_help = "\
Examples:
  wicara key add website --role agent
  wicara key add reports --bots guide,majadigi --api conversation
  KEY=$(wicara key add website)

A program sends it as `Authorization: Bearer KEY`, `X-API-Key: KEY` or `API_KEY: KEY`.")]
    Add {
        /// What the key is for
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        grant: Grant,
        /// Which API answers the key under /api/conversation, where two share the path
        #[arg(long, default_value = "chatbot", value_parser = api())]
        api: Api,
    },
    /// List the keys, without the keys themselves
    #[command(after_help = "Examples:\n  wicara key list\n  wicara key list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key: whoever has it is locked out
    #[command(after_help = "Example:\n  wicara key remove website")]
    Remove {
        /// The name it was made with
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(super) async fn run(command: Command, config: &StoreConfig) -> Result<(), Failure> {
    if let Command::Add { grant, .. } = &command {
        grant.warn_of_unknown_bots(config);
    }
    let (people, store) = open(config).await?;
    let result = execute(command, &people).await;
    store.close().await;
    result
}

async fn execute(command: Command, people: &People) -> Result<(), Failure> {
    match command {
        Command::Add { name, grant, api } => {
            let (key, secret) = people
                .key_create(&name, grant.role, grant.bots(), api)
                .await
                .map_err(|error| failure(error, &name))?;
            let program = key.program;
            say(&format!(
                "The key {}, role {}, bots {}, api {}. It is shown only now:",
                program.name,
                program.role,
                bots_text(&program.bots),
                program.api
            ));
            output::write(&format!("{secret}\n")).map_err(|error| not_shown(&name, &error))
        }
        Command::List { json } => {
            let keys = people.key_list().await.map_err(|error| failure(error, ""))?;
            if json {
                print_json(&keys.iter().map(to_json).collect::<Vec<_>>())
            } else {
                print(&to_table(&keys))
            }
        }
        Command::Remove { name } => {
            people.key_delete(&name).await.map_err(|error| failure(error, &name))?;
            print_done(&format!("Removed the key {name}."))
        }
    }
}

/// The key could not be written and cannot be shown again, because only its hash is stored.
fn not_shown(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "the key cannot be written to stdout: {error}. It exists, and nobody has seen it: remove it with `wicara key \
         remove {name:?}`, and add it again"
    ))
}

/// `bots` is null for access to all bots.
fn to_json(key: &Key) -> serde_json::Value {
    let program = &key.program;
    json!({
        "id": program.id,
        "name": program.name,
        "role": program.role,
        "bots": program.bots.list(),
        "api": program.api,
        "createdAt": key.created_at.to_string(),
    })
}

fn to_table(keys: &[Key]) -> String {
    let rows: Vec<_> = keys
        .iter()
        .map(|Key { program, created_at }| {
            [
                program.id.to_string(),
                program.name.clone(),
                program.role.to_string(),
                bots_text(&program.bots),
                program.api.to_string(),
                created_at.to_string(),
            ]
        })
        .collect();
    table(["ID", "NAME", "ROLE", "BOTS", "API", "CREATED"], &rows)
}
