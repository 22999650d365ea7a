//! `wicara user`

use clap::Subcommand;
use serde_json::json;
use wicara_model::User;
use wicara_service::People;

use super::output::{print, print_done, print_json, table};
use super::people::{Grant, bots_text, failure, open};
use super::{Failure, password};
use crate::config::StoreConfig;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara user add ada@example.org --role agent
  wicara user add budi@example.org --bots guide,majadigi
  WICARA_PASSWORD=… wicara user add cita@example.org --role admin
  wicara user password ada@example.org
  wicara user list --json
  wicara user remove ada@example.org";

#[derive(Debug, PartialEq, Subcommand)]
pub(super) enum Command {
    /// Add a person; the password comes from WICARA_PASSWORD or a prompt
    #[command(after_help = "\
Examples:
  wicara user add ada@example.org
  wicara user add ada@example.org --role agent --bots guide,majadigi
  WICARA_PASSWORD=… wicara user add ada@example.org --role admin")]
    Add {
        /// The address the person signs in with
        #[arg(value_name = "EMAIL")]
        email: String,
        #[command(flatten)]
        grant: Grant,
    },
    /// Set a new password, from WICARA_PASSWORD or a prompt; ends the person's sessions
    #[command(after_help = "Example:\n  wicara user password ada@example.org")]
    Password {
        /// The address the person signs in with
        #[arg(value_name = "EMAIL")]
        email: String,
    },
    /// List the people
    #[command(after_help = "Examples:\n  wicara user list\n  wicara user list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a person; ends the person's sessions
    #[command(
        after_help = "Examples:\n  wicara user remove ada@example.org\n  wicara user remove ada@example.org --force"
    )]
    Remove {
        /// The address the person signs in with
        #[arg(value_name = "EMAIL")]
        email: String,
        /// Remove the last administrator too
        #[arg(long)]
        force: bool,
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
        Command::Add { email, grant } => {
            let password = password::read(&email)?;
            let user = people
                .user_create(&email, password, grant.role, grant.bots())
                .await
                .map_err(|error| failure(error, &email))?;
            let person = user.person;
            let bots = bots_text(&person.bots);
            print_done(&format!("Added {}, role {}, bots {bots}.", person.email, person.role))
        }
        Command::Password { email } => {
            // First, so that nobody types a password twice before an unknown e-mail is refused.
            people.user_get(&email).await.map_err(|error| failure(error, &email))?;
            let password = password::read(&email)?;
            people.user_password(&email, password).await.map_err(|error| failure(error, &email))?;
            print_done(&format!("{email} has a new password and is signed out everywhere."))
        }
        Command::List { json } => {
            let users = people.user_list().await.map_err(|error| failure(error, ""))?;
            if json {
                print_json(&users.iter().map(to_json).collect::<Vec<_>>())
            } else {
                print(&to_table(&users))
            }
        }
        Command::Remove { email, force } => {
            people.user_delete(&email, force).await.map_err(|error| failure(error, &email))?;
            print_done(&format!("Removed {email}."))
        }
    }
}

/// `bots` is null for access to all bots.
fn to_json(user: &User) -> serde_json::Value {
    let person = &user.person;
    json!({
        "id": person.id,
        "email": person.email,
        "role": person.role,
        "bots": person.bots.list(),
        "createdAt": user.created_at.to_string(),
    })
}

fn to_table(users: &[User]) -> String {
    let rows: Vec<_> = users
        .iter()
        .map(|User { person, created_at, .. }| {
            let bots = bots_text(&person.bots);
            [
                person.id.to_string(),
                person.email.clone(),
                person.role.to_string(),
                bots,
                created_at.to_string(),
            ]
        })
        .collect();
    table(["ID", "EMAIL", "ROLE", "BOTS", "CREATED"], &rows)
}
