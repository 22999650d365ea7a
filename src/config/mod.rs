//! The configuration: the defaults of `wicara.default.toml`, then a file, then the environment.

mod layers;
mod parse;
mod show;

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

/// Why there is no configuration: one or more sentences that name where, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// What is in force. Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub auth: Auth,
    pub limits: Limits,
    pub bots: Vec<bots::Settings>,
    file: Option<PathBuf>,
    shown: Table,
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
    /// Where `/metrics` is shown without a key.
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
    /// Empty: to be generated.
    #[serde(deserialize_with = "parse::admin_password")]
    pub admin_password: String,
}

/// What callers without credentials may use besides asking questions.
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
    /// In one conversation. 0 is no limit, here and below.
    #[serde(deserialize_with = "parse::per_minute")]
    pub questions_per_minute: u32,
    #[serde(deserialize_with = "parse::per_minute")]
    pub questions_per_minute_per_address: u32,
    #[serde(deserialize_with = "parse::per_minute")]
    pub logins_per_minute_per_address: u32,
    #[serde(deserialize_with = "parse::body_bytes")]
    pub body_bytes: usize,
    /// Of all bodies that are being received, half of it for callers without credentials.
    #[serde(deserialize_with = "parse::body_budget_bytes")]
    pub body_budget_bytes: usize,
}

/// The settings as serde reads them; each bot is read on its own, so that its errors can name it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    server: Server,
    store: Store,
    auth: Auth,
    limits: Limits,
    bot: Vec<Table>,
}

impl Config {
    /// Reads the file named here, else by `WICARA_CONFIG`, else `wicara.toml` in the working directory if there is
    /// one, and the environment.
    pub fn load(named: Option<&Path>) -> Result<Self, Invalid> {
        let environment = Environment::of_process();
        let file = match (named, environment.get("WICARA_CONFIG")?) {
            (Some(file), _) => Some(file.to_owned()),
            (None, Some(file)) if !file.is_empty() => Some(PathBuf::from(file)),
            _ => Some(PathBuf::from("wicara.toml")).filter(|file| file.exists()),
        };
        let text = match &file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                Invalid(format!("the configuration file {} cannot be read: {error}", file.display()))
            })?),
            None => None,
        };
        Self::from_layers(file.as_deref().zip(text.as_deref()), &environment)
    }

    fn from_layers(file: Option<(&Path, &str)>, environment: &Environment) -> Result<Self, Invalid> {
        let layers = Layers::read(file, environment)?;
        let written: Written = bots::read(layers.table.clone())
            .map_err(|error| layers.invalid(&error.path, error.fault.to_string()))?;

        let mut bots = Vec::new();
        for (table, place) in written.bot.into_iter().zip(1..) {
            let name = table.get("id").and_then(Value::as_str).map(|id| format!(" ({id:?})"));
            let settings = bots::Settings::from_table(table).map_err(|error| {
                let name = name.unwrap_or_default();
                layers.invalid("", format!("[[bot]] number {place}{name}: {error}"))
            })?;
            bots.push(settings);
        }
        bots::check(&bots).map_err(|error| layers.invalid("", error))?;
        let config = Self {
            server: written.server,
            store: written.store,
            auth: written.auth,
            limits: written.limits,
            shown: show::masked(layers.written.clone(), &bots),
            bots,
            file: file.map(|(path, _)| path.to_owned()),
        };
        config.check().map_err(|(path, message)| layers.invalid(path, message))?;
        Ok(config)
    }

    /// What settings demand of each other. The error comes with the setting to blame.
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
        let place = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let listen = self.server.listen;
        if let Some(metrics) = self.server.metrics_listen
            && metrics.port() != 0
            && place(metrics) == place(listen)
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
        // A body without a limit of its own is limited by the budget.
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

    /// The file that was read, as errors and people name it.
    #[must_use]
    pub fn source(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "the built-in defaults".to_owned(),
        }
    }

    /// The settings in force with secrets masked; what came from `${NAME}` is shown as that.
    #[must_use]
    pub fn shown(&self) -> &Table {
        &self.shown
    }

    /// The same as TOML.
    #[must_use]
    pub fn show(&self) -> String {
        show::toml(&self.shown)
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
