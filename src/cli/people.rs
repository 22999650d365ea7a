//! Shared by `wicara user` and `wicara key`: arguments, access to the store, and errors as sentences.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use wicara_metrics::Metrics;
use wicara_model::account::{MAX_EMAIL_CHARS, MAX_KEY_NAME_CHARS, PASSWORD_CHARS};
use wicara_model::{Api, Bots, Role, Rule, Violation};
use wicara_platform::{Clock, Random};
use wicara_service::{Error, Missing, People};
use wicara_store::{DatabaseUrl, Store};

use super::Failure;
use super::output::say;
use crate::config::StoreConfig;
use crate::open_store::open_store;

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(super) struct Grant {
    /// What they may do, each more than the one before
    #[arg(long, default_value = "viewer", value_parser = role())]
    pub(super) role: Role,
    /// Only these bots' conversations [default: all bots']
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = bot_id)]
    bots: Vec<String>,
}

impl Grant {
    pub(super) fn bots(&self) -> Bots {
        if self.bots.is_empty() { Bots::All } else { Bots::Only(self.bots.clone()) }
    }

    /// Warns of ids without a bot in the configuration. No error, because the bot may be configured later.
    pub(super) fn warn_of_unknown_bots(&self, config: &StoreConfig) {
        for id in self.bots.iter().filter(|id| !config.bot_ids.contains(id)) {
            say(&format!("wicara: note that no bot {id:?} is in the configuration"));
        }
    }
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse())
}

pub(super) fn api() -> impl TypedValueParser<Value = Api> {
    PossibleValuesParser::new(Api::WORDS).try_map(|word| word.parse())
}

fn bot_id(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a bot's id is missing: write --bots a,b, or leave --bots away for all bots"),
        id => Ok(id.to_owned()),
    }
}

/// `all`, or the ids separated by commas.
pub(super) fn bots_text(bots: &Bots) -> String {
    bots.list().map_or("all".to_owned(), |ids| ids.join(","))
}

/// Opens the configured store, which the caller has to close. A SQLite file that does not exist is an error and is not
/// created: run in another directory than the server, the command would manage people in a database of its own.
pub(super) async fn open(config: &StoreConfig) -> Result<(People, Store), Failure> {
    let url = DatabaseUrl::parse(&config.store.url).map_err(Failure::failed)?;
    if let DatabaseUrl::Sqlite(path) = &url
        && matches!(path.try_exists(), Ok(false))
    {
        return Err(Failure::failed(format!(
            "no database at {url} (store.url): start the server there first, or name the configuration with --config"
        )));
    }
    let store = open_store(&config.store, config.source(), &Random::System, &Metrics::default())
        .await
        .map_err(Failure::Failed)?;
    Ok((People::new(store.clone(), Clock::System, Random::System), store))
}

/// The service's error in a sentence. `name`: the e-mail or the key's name.
pub(super) fn failure(error: Error, name: &str) -> Failure {
    match error {
        Error::Invalid(violations) => {
            let sentences: Vec<String> = violations.iter().map(|found| sentence(found, name)).collect();
            Failure::usage(sentences.join("; "))
        }
        Error::Exists => {
            Failure::failed(format!("{name:?} exists already: choose another, or remove that one first"))
        }
        Error::NotFound(Missing::User) => {
            Failure::failed(format!("nobody has the e-mail {name:?}: `wicara user list` shows who there is"))
        }
        Error::NotFound(Missing::Key) => {
            Failure::failed(format!("no key has the name {name:?}: `wicara key list` shows which there are"))
        }
        Error::LastAdministrator => Failure::failed(format!(
            "{name} is the last administrator of all bots: add another first (`wicara user add EMAIL --role admin`), or \
             remove the last one with --force"
        )),
        Error::Unavailable => Failure::failed("the database does not answer: try again when it does"),
        Error::OutcomeUnknown => Failure::failed(
            "the database went away in the middle of it: see with `wicara user list` or `wicara key list` whether it \
             was done before you do it again",
        ),
        other => Failure::failed(other),
    }
}

fn sentence(violation: &Violation, name: &str) -> String {
    match (violation.field, violation.rule) {
        ("email", Rule::Email) => format!("{name:?} is no e-mail address such as ada@example.org"),
        (field, Rule::Required) => format!("the {field} is missing or blank"),
        (field, Rule::MinLength | Rule::MaxLength) => {
            let allowed = match field {
                "password" => format!("{} to {}", PASSWORD_CHARS.start(), PASSWORD_CHARS.end()),
                "email" => format!("at most {MAX_EMAIL_CHARS}"),
                _ => format!("at most {MAX_KEY_NAME_CHARS}"),
            };
            let short = violation.rule == Rule::MinLength;
            let extent = if short { "short" } else { "long" };
            format!("the {field} is too {extent}: choose one of {allowed} characters")
        }
        (field, rule) => format!("the {field} breaks the rule {rule}"),
    }
}
