//! The configuration: the defaults, over them a file, over both the environment.
//!
//! The default of a setting stands in `wicara.default.toml`; what every `[[bot]]` may set and its defaults in
//! `crates/bots/src/settings.rs`.

mod layers;
mod parse;
mod show;

#[cfg(test)]
mod environment_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};
use wicara_bots as bots;
use wicara_model::Network;

use layers::{Environment, Layers};

/// Why the configuration is refused: sentences that name the setting, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// A secret that a command takes from the environment: without the line break at its end, and refused in quotes, with
/// spaces at an end or with characters that nobody sees. A blank one is left to the secret's own rules.
pub fn secret(variable: &str) -> Result<Option<String>, Invalid> {
    let environment = Environment::of_process();
    let value = match environment.get(variable)? {
        Some(value) if !value.trim().is_empty() => environment.get_visible(variable)?,
        blank => blank,
    };
    Ok(value.map(str::to_owned))
}

/// Replaces each `${NAME}` in an argument of the command line by the environment variable's value, as in the file.
pub fn expand(text: &str) -> Result<String, Invalid> {
    layers::expand(text, &Environment::of_process(), false).map_err(Invalid)
}

/// The settings in force. Their `Debug` shows no secret.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub auth: Auth,
    pub limits: Limits,
    pub events: Events,
    pub handover: Handover,
    pub bots: Vec<bots::Settings>,
    file: Option<PathBuf>,
    /// All settings with secrets masked.
    masked: Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    #[serde(deserialize_with = "parse::listen")]
    pub listen: SocketAddr,
    /// An origin as browsers send it, `https://chat.example.org`.
    #[serde(deserialize_with = "parse::public_url")]
    pub public_url: Option<String>,
    /// Origins as browsers send them.
    #[serde(deserialize_with = "parse::origins")]
    pub allowed_origins: Vec<String>,
    #[serde(deserialize_with = "parse::networks")]
    pub trusted_proxies: Vec<Network>,
    #[serde(rename = "drain_seconds", deserialize_with = "parse::seconds")]
    pub drain: Duration,
    /// The address that shows `/metrics` without a key; `None` for no such listener.
    #[serde(deserialize_with = "parse::optional_listen")]
    pub metrics_listen: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite:FILE` or `postgres://…`; it may hold a password.
    #[serde(deserialize_with = "parse::store_url")]
    pub url: String,
    #[serde(rename = "wait_seconds", deserialize_with = "parse::seconds")]
    pub wait: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub anonymous: Anonymous,
    pub anonymous_anywhere: bool,
    pub cookie_same_site: SameSite,
    #[serde(rename = "session_hours", deserialize_with = "parse::session_hours")]
    pub session: Duration,
    #[serde(deserialize_with = "parse::email")]
    pub admin_email: String,
    /// Empty: one is generated.
    #[serde(deserialize_with = "parse::admin_password")]
    pub admin_password: String,
}

/// The API that callers without credentials may use besides asking questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    None,
    ChatbotApi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    Lax,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// For one conversation. 0 is no limit, here and for the other fields; a size of 0 becomes `usize::MAX`.
    #[serde(deserialize_with = "parse::per_minute")]
    pub questions_per_minute: u32,
    #[serde(deserialize_with = "parse::per_minute")]
    pub questions_per_minute_per_address: u32,
    #[serde(deserialize_with = "parse::per_minute")]
    pub logins_per_minute_per_address: u32,
    #[serde(deserialize_with = "parse::body_bytes")]
    pub body_bytes: usize,
    /// In one conversation, by its visitor.
    #[serde(deserialize_with = "parse::per_minute")]
    pub signals_per_minute: u32,
    /// The memory for all bodies that are being received. Callers without credentials may use half of it.
    #[serde(deserialize_with = "parse::body_budget_bytes")]
    pub body_budget_bytes: usize,
    /// Streams of the feed that are open at once. 0 becomes `usize::MAX`, here and for the next field.
    #[serde(deserialize_with = "parse::streams")]
    pub streams: usize,
    /// Of one person or key; of visitors, of one address.
    #[serde(deserialize_with = "parse::streams")]
    pub streams_per_caller: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// How long the feed can be gone on from a position, at least.
    #[serde(rename = "keep_hours", deserialize_with = "parse::keep_hours")]
    pub keep: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Whether visitors are told the names of those who answer.
    pub show_names: bool,
    /// After how long an unclaimed conversation goes back to its bot; `None`: never.
    #[serde(rename = "return_minutes", deserialize_with = "parse::return_minutes")]
    pub return_after: Option<Duration>,
    /// What its visitor is told then; empty: nothing.
    #[serde(deserialize_with = "parse::return_text")]
    pub return_text: String,
}

/// The settings as serde reads them. Each bot is read by itself, so that its errors can name the bot.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsTable {
    server: Server,
    store: Store,
    auth: Auth,
    limits: Limits,
    events: Events,
    handover: Handover,
    bot: Vec<Table>,
}

/// The settings that commands on the store need. The rest of the file is not read: who manages people has not the secrets
/// of all bots.
#[derive(Debug)]
pub struct StoreConfig {
    pub store: Store,
    /// The ids of the bots in the file, as they are written there.
    pub bot_ids: Vec<String>,
    source: String,
}

/// The file that is read: `path`, else the one that `WICARA_CONFIG` names, else `wicara.toml` in the working directory if
/// it exists. With its text.
fn find_file(path: Option<&Path>, environment: &Environment) -> Result<Option<(PathBuf, String)>, Invalid> {
    let file = match (path, environment.get("WICARA_CONFIG")?) {
        (Some(file), _) => file.to_owned(),
        (None, Some(file)) if !file.is_empty() => PathBuf::from(file),
        _ if Path::new("wicara.toml").exists() => PathBuf::from("wicara.toml"),
        _ => return Ok(None),
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some((file, text))),
        Err(error) => {
            Err(Invalid(format!("the configuration file {} cannot be read: {error}", file.display())))
        }
    }
}

fn warn_of_unknown(environment: &Environment) {
    for variable in environment.unknown() {
        tracing::warn!(variable, "ignored: this variable of the environment is no setting");
    }
}

fn source(file: Option<&Path>) -> String {
    file.map_or_else(|| "the built-in defaults".to_owned(), |file| file.display().to_string())
}

impl StoreConfig {
    /// Reads the environment and the file of [`Config::load`].
    pub fn load(path: Option<&Path>) -> Result<Self, Invalid> {
        let environment = Environment::of_process();
        warn_of_unknown(&environment);
        let file = find_file(path, &environment)?;
        Self::from_layers(file.as_ref().map(|(path, text)| (&**path, &**text)), &environment)
    }

    fn from_layers(file: Option<(&Path, &str)>, environment: &Environment) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct StoreTable {
            store: Store,
        }
        let layers = Layers::read(file, environment, Some(&["store"]))?;
        let StoreTable { store } = bots::read(layers.table.clone())
            .map_err(|error| layers.invalid(&error.path, error.fault.to_string()))?;
        let bots = layers.unexpanded.get("bot").and_then(Value::as_array);
        let id = |bot: &Value| bot.get("id").and_then(Value::as_str).map(str::to_owned);
        let bot_ids = bots.into_iter().flatten().filter_map(id).collect();
        Ok(Self { store, bot_ids, source: source(file.map(|(path, _)| path)) })
    }

    /// The file that was read, for messages.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Config {
    /// Reads the environment and a file: `path`, else the one that `WICARA_CONFIG` names, else `wicara.toml` in the working
    /// directory if it exists.
    pub fn load(path: Option<&Path>) -> Result<Self, Invalid> {
        let environment = Environment::of_process();
        warn_of_unknown(&environment);
        let file = find_file(path, &environment)?;
        Self::from_layers(file.as_ref().map(|(path, text)| (&**path, &**text)), &environment)
    }

    fn from_layers(file: Option<(&Path, &str)>, environment: &Environment) -> Result<Self, Invalid> {
        let layers = Layers::read(file, environment, None)?;
        let settings: SettingsTable = bots::read(layers.table.clone())
            .map_err(|error| layers.invalid(&error.path, error.fault.to_string()))?;
        let mut bots = Vec::new();
        for (table, number) in settings.bot.into_iter().zip(1..) {
            let name = table.get("id").and_then(Value::as_str).map(|id| format!(" ({id:?})"));
            let bot = bots::Settings::from_table(table).map_err(|error| {
                let name = name.unwrap_or_default();
                layers.invalid("", format!("[[bot]] number {number}{name}: {error}"))
            })?;
            bots.push(bot);
        }
        bots::check(&bots).map_err(|error| layers.invalid("", error))?;
        let config = Self {
            server: settings.server,
            store: settings.store,
            auth: settings.auth,
            limits: settings.limits,
            events: settings.events,
            handover: settings.handover,
            masked: show::masked(layers.unexpanded.clone(), &bots),
            bots,
            file: file.map(|(path, _)| path.to_owned()),
        };
        config.check().map_err(|(path, message)| layers.invalid(path, message))?;
        Ok(config)
    }

    /// Checks settings that depend on each other. The error comes with the path of the setting to change.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let https = self.server.public_url.as_deref().is_some_and(|url| url.starts_with("https:"));
        if self.auth.cookie_same_site == SameSite::None && !https {
            return Err((
                "auth.cookie_same_site",
                "found \"none\", which browsers take over https only: set server.public_url to an https address, \
                 or allowed is \"lax\""
                    .to_owned(),
            ));
        }
        let endpoint = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let listen = self.server.listen;
        if let Some(metrics) = self.server.metrics_listen
            && metrics.port() != 0
            && endpoint(metrics) == endpoint(listen)
        {
            return Err((
                "server.metrics_listen",
                format!(
                    "found \"{metrics}\", where server.listen is: what is shown there needs no key. Allowed is another \
                     port, or \"\" for none"
                ),
            ));
        }
        let loopback = self.server.listen.ip().to_canonical().is_loopback();
        if self.auth.anonymous == Anonymous::ChatbotApi && !loopback && !self.auth.anonymous_anywhere {
            return Err((
                "auth.anonymous",
                format!(
                    "found \"chatbot-api\" while server.listen is {}: everybody who reaches that address could read \
                     and delete every conversation. Allowed there is \"none\"; or listen on 127.0.0.1, or set \
                     auth.anonymous_anywhere = true",
                    self.server.listen
                ),
            ));
        }
        let Limits { body_bytes, body_budget_bytes, .. } = self.limits;
        // A body without a limit of its own is bounded by the budget.
        if body_bytes != usize::MAX && body_budget_bytes / 2 < body_bytes {
            return Err((
                "limits.body_budget_bytes",
                format!(
                    "found {body_budget_bytes}, of which callers without credentials get half, while a body may have \
                     {body_bytes} bytes (limits.body_bytes): one of them would never be taken. Allowed are whole \
                     numbers from {}, and 0 for no limit; or set a smaller limits.body_bytes",
                    2 * body_bytes
                ),
            ));
        }
        Ok(())
    }

    /// The file that was read, for messages.
    #[must_use]
    pub fn source(&self) -> String {
        source(self.file.as_deref())
    }

    /// The settings in force with secrets masked. A string with `${NAME}` is shown with `${NAME}`, not with the value.
    #[must_use]
    pub fn masked(&self) -> &Table {
        &self.masked
    }

    /// The same as TOML.
    #[must_use]
    pub fn masked_toml(&self) -> String {
        show::toml(&self.masked)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &show::mask_url(&self.url)).field("wait", &self.wait).finish()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("anonymous", &self.anonymous)
            .field("anonymous_anywhere", &self.anonymous_anywhere)
            .field("cookie_same_site", &self.cookie_same_site)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
