//! The layers of the configuration: defaults, file, environment. Remembers where a value came from, for errors.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Invalid;

const DEFAULTS: &str = include_str!("../../wicara.default.toml");

/// Variables with this prefix and `__` in their name are settings, except those with the prefix of the tests.
const PREFIX: &str = "WICARA_";
const TEST_PREFIX: &str = "WICARA_TEST_";
/// Variables that the program takes besides settings.
const OTHER_VARIABLES: [&str; 5] =
    ["WICARA_CONFIG", "WICARA_KEY", "WICARA_LOG", "WICARA_PASSWORD", "WICARA_WEB_DIST"];

/// Settings of bots that are texts for a model or a server, in which line breaks and spaces mean something.
const TEXTS: [&str; 2] = ["system", "body"];

/// The environment's variables; `None` for a value that is not Unicode.
pub(super) struct Environment(BTreeMap<String, Option<String>>);

impl Environment {
    pub(super) fn of_process() -> Self {
        let known =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()));
        Self(std::env::vars_os().filter_map(known).collect())
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Invalid> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Some(value)) => clean(value)
                .map(Some)
                .map_err(|fault| Invalid(format!("the environment variable {name} {fault}"))),
            Some(None) => Err(Invalid(format!("the environment variable {name} is no Unicode text"))),
        }
    }

    /// Like [`Environment::get`], for a value in which characters that nobody sees would do harm.
    pub(super) fn get_visible(&self, name: &str) -> Result<Option<&str>, Invalid> {
        let value = self.get(name)?;
        let fault = value.and_then(|value| check_visible(value).err());
        match fault {
            Some(fault) => Err(Invalid(format!("the environment variable {name} {fault}"))),
            None => Ok(value),
        }
    }

    /// The variables that look like settings of this program and are none. Kubernetes' variables for a service of the name
    /// `wicara…` are left out.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &str> {
        let is_unknown = |(name, value): &(&String, &Option<String>)| {
            let is_of_service = name.ends_with("_SERVICE_HOST")
                || name.contains("_SERVICE_PORT")
                || name.contains("_PORT_")
                || value.as_ref().is_some_and(|value| value.contains("://"));
            name.starts_with(PREFIX)
                && !name.starts_with(TEST_PREFIX)
                && !name.contains("__")
                && !OTHER_VARIABLES.contains(&name.as_str())
                && !is_of_service
        };
        self.0.iter().filter(is_unknown).map(|(name, _)| name.as_str())
    }
}

/// The value of a variable without the line break that files and `echo` put at its end. Quotes around it are refused: as
/// part of a password or a path nobody would see them.
fn clean(value: &str) -> Result<&str, &'static str> {
    let value = value.strip_suffix('\n').unwrap_or(value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    let is_quoted = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    if is_quoted('"') || is_quoted('\'') {
        return Err("stands in quotes, which would be part of its value: remove them");
    }
    Ok(value)
}

/// Refuses a text of the environment with characters that nobody sees.
fn check_visible(value: &str) -> Result<(), &'static str> {
    if value.chars().any(char::is_control) {
        Err("has a line break or another control character in it: remove it")
    } else if value.trim() != value {
        Err("has a space at an end: remove it")
    } else {
        Ok(())
    }
}

/// A string of the file with `${NAME}` in it.
struct Expansion {
    /// The string as written.
    template: String,
    /// The string with the variables' values.
    value: String,
}

pub(super) struct Layers {
    /// The merged layers.
    pub(super) table: Table,
    /// The same without values of `${NAME}`, to be shown.
    pub(super) unexpanded: Table,
    file: Option<PathBuf>,
    /// The variable that set a setting, by `section.key`.
    variables: BTreeMap<String, String>,
    expansions: Vec<Expansion>,
    /// The ids of the file's bots, as they are written there.
    bot_ids: Vec<Option<String>>,
    /// See [`Layers::read`].
    sections: Option<Vec<String>>,
}

impl Layers {
    /// `sections`: those that are read and whose `${NAME}` are replaced; the others keep their defaults, so that a
    /// command does not need the secrets of settings that it does not use. `None` for all.
    pub(super) fn read(
        file: Option<(&Path, &str)>,
        environment: &Environment,
        sections: Option<&[&str]>,
    ) -> Result<Self, Invalid> {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are TOML");
        let mut layers = Self {
            table: defaults.clone(),
            unexpanded: defaults.clone(),
            file: file.map(|(path, _)| path.to_owned()),
            variables: BTreeMap::new(),
            expansions: Vec::new(),
            bot_ids: Vec::new(),
            sections: sections.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        };
        if let Some((path, text)) = file {
            layers.add_file(path, text, environment)?;
        }
        layers.add_environment(&defaults, environment)?;
        Ok(layers)
    }

    fn add_file(&mut self, path: &Path, text: &str, environment: &Environment) -> Result<(), Invalid> {
        let file: Table = text.parse().map_err(|error| syntax_error(path, text, &error))?;
        for (section, value) in file {
            if !self.is_read(&section) {
                merge_section(&mut self.unexpanded, &section, value);
                continue;
            }
            check_brackets(&self.table, &section, &value).map_err(|error| self.invalid("", error))?;
            let expanded = self.expand_strings(value.clone(), &section, environment)?;
            merge_section(&mut self.table, &section, expanded);
            merge_section(&mut self.unexpanded, &section, value);
        }
        Ok(())
    }

    fn is_read(&self, section: &str) -> bool {
        self.sections.as_ref().is_none_or(|sections| sections.iter().any(|name| name == section))
    }

    /// Expands `${NAME}` in all strings of a value.
    fn expand_strings(
        &mut self,
        value: Value,
        path: &str,
        environment: &Environment,
    ) -> Result<Value, Invalid> {
        Ok(match value {
            Value::String(template) if template.contains("${") => {
                let is_text = path.rsplit_once("].").is_some_and(|(_, key)| TEXTS.contains(&key));
                let value =
                    expand(&template, environment, is_text).map_err(|error| self.invalid(path, error))?;
                self.expansions.push(Expansion { template, value: value.clone() });
                Value::String(value)
            }
            Value::String(text) => match unbraced_variable(&text) {
                Some(name) => Err(self.invalid(path, format!("${name} is not replaced: write ${{{name}}}")))?,
                None => Value::String(text),
            },
            Value::Array(values) => {
                if path == "bot" {
                    let id = |bot: &Value| Some(bot.get("id")?.as_str()?.to_owned());
                    self.bot_ids = values.iter().map(id).collect();
                }
                let values = values.into_iter().enumerate();
                let expanded = values.map(|(index, value)| {
                    self.expand_strings(value, &format!("{path}[{index}]"), environment)
                });
                Value::Array(expanded.collect::<Result<_, _>>()?)
            }
            Value::Table(table) => {
                let expanded = table.into_iter().map(|(key, value)| {
                    let value = self.expand_strings(value, &format!("{path}.{key}"), environment)?;
                    Ok((key, value))
                });
                Value::Table(expanded.collect::<Result<_, _>>()?)
            }
            other => other,
        })
    }

    fn add_environment(&mut self, defaults: &Table, environment: &Environment) -> Result<(), Invalid> {
        for variable in environment.0.keys().filter(|name| !name.starts_with(TEST_PREFIX)) {
            let Some((section, key)) =
                variable.strip_prefix(PREFIX).and_then(|setting| setting.split_once("__"))
            else {
                check_underscores(variable, defaults)?;
                continue;
            };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            if defaults.contains_key(&section) && !self.is_read(&section) {
                continue;
            }
            let known = match defaults.get(&section) {
                Some(Value::Table(known)) => known,
                Some(_) => {
                    return Err(Invalid(format!("{variable}: a [[{section}]] is set in the file only")));
                }
                None => {
                    let sections =
                        defaults.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name);
                    return Err(Invalid(format!(
                        "{variable}: there is no section {section}; known are {}",
                        names(sections, PREFIX, "__…")
                    )));
                }
            };
            let Some(default) = known.get(&key) else {
                let prefix = format!("{PREFIX}{}__", section.to_uppercase());
                return Err(Invalid(format!(
                    "{variable}: there is no such setting; known are {}",
                    names(known.keys(), &prefix, "")
                )));
            };
            let path = format!("{section}.{key}");
            let text = environment.get(variable)?.unwrap_or_default();
            self.variables.insert(path.clone(), variable.clone());
            if default.is_str() {
                check_visible(text).map_err(|fault| self.invalid(&path, fault))?;
            }
            let value = parse_like(text, default)
                .map_err(|expected| self.invalid(&path, format!("found {text:?}, expected {expected}")))?;
            let keys = Value::Table(Table::from_iter([(key, value)]));
            merge_section(&mut self.table, &section, keys.clone());
            merge_section(&mut self.unexpanded, &section, keys);
        }
        Ok(())
    }

    /// An error about the setting at `path`: it names where the setting was made, and shows `${NAME}` instead of values of the
    /// environment, which may be secrets.
    pub(super) fn invalid(&self, path: &str, message: impl Into<String>) -> Invalid {
        let message = self.expansions.iter().filter(|expansion| !expansion.value.is_empty()).fold(
            message.into(),
            |message, Expansion { template, value }| {
                message.replace(&format!("{value:?}"), &format!("{template:?}"))
            },
        );
        let setting = path.split('[').next().unwrap_or_default();
        let mut segments = Vec::new();
        match (self.variables.get(setting), &self.file) {
            (Some(variable), _) => segments.push(variable.clone()),
            (None, Some(file)) => segments.push(file.display().to_string()),
            (None, None) => {}
        }
        if !path.is_empty() {
            segments.push(self.display_path(path));
        }
        segments.push(message);
        Invalid(segments.join(": "))
    }

    /// The path `bot[1].url` for people: `[[bot]] number 2 ("flow"): url`.
    fn display_path(&self, path: &str) -> String {
        let bot = path.strip_prefix("bot[").and_then(|rest| rest.split_once(']'));
        let Some((index, key)) = bot.and_then(|(index, key)| Some((index.parse::<usize>().ok()?, key)))
        else {
            return path.to_owned();
        };
        let id = self.bot_ids.get(index).and_then(Option::as_ref);
        let id = id.map(|id| format!(" ({id:?})")).unwrap_or_default();
        match key.trim_start_matches('.') {
            "" => format!("[[bot]] number {}{id}", index + 1),
            key => format!("[[bot]] number {}{id}: {key}", index + 1),
        }
    }
}

/// The name in a string that is `$NAME`, or a scheme and `$NAME` as in `Bearer $TOKEN`: somebody took it for `${NAME}`. In a
/// longer text it may be meant as it stands.
fn unbraced_variable(text: &str) -> Option<&str> {
    let name = text.rsplit(' ').next()?.strip_prefix('$')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    (is_name && text.matches(' ').count() <= 1).then_some(name)
}

/// Refuses `[bot]` for `[[bot]]`, and the other way round for sections of settings.
fn check_brackets(lower: &Table, section: &str, value: &Value) -> Result<(), String> {
    let (found, expected) = match (lower.get(section), value) {
        (Some(Value::Array(_)), Value::Table(_)) => (format!("[{section}]"), format!("[[{section}]]")),
        (Some(Value::Table(_)), Value::Array(_)) => (format!("[[{section}]]"), format!("[{section}]")),
        _ => return Ok(()),
    };
    Err(format!("found {found}, expected {expected}"))
}

/// Refuses the name of a setting with other underscores than the variable has, such as `WICARA_SERVER_LISTEN`: it would be
/// ignored. Other variables with the prefix are let alone: Kubernetes makes some for a service of the name `wicara`.
fn check_underscores(variable: &str, defaults: &Table) -> Result<(), Invalid> {
    let letters = |name: &str| name.replace('_', "").to_uppercase();
    let sections = defaults.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    let mut names = sections.flat_map(|(section, keys)| {
        keys.keys().map(move |key| format!("{PREFIX}{section}__{key}").to_uppercase())
    });
    match names.find(|name| letters(name) == letters(variable)) {
        Some(name) => Err(Invalid(format!("{variable}: the setting's variable is written {name}"))),
        None => Ok(()),
    }
}

/// Puts a section over the one of the lower layer: key by key for a table; anything else, such as the list of bots, as a
/// whole.
fn merge_section(lower: &mut Table, section: &str, upper: Value) {
    match (lower.get_mut(section), upper) {
        (Some(Value::Table(keys)), Value::Table(upper)) => keys.extend(upper),
        (_, upper) => {
            lower.insert(section.to_owned(), upper);
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>, prefix: &str, suffix: &str) -> String {
    names.map(|name| format!("{prefix}{}{suffix}", name.to_uppercase())).collect::<Vec<_>>().join(", ")
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> Invalid {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    let message = error.message().replace('\n', " ");
    Invalid(format!("{}, line {line}, column {column}: no TOML: {message}", path.display()))
}

/// Replaces each `${NAME}` by the variable's value. `is_text`: line breaks and spaces at an end of it are meant.
pub(super) fn expand(template: &str, environment: &Environment, is_text: bool) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a ${ has no } after it")?;
        let found = if is_text { environment.get(name) } else { environment.get_visible(name) };
        let variable = match found {
            Ok(Some(variable)) => variable,
            Ok(None) => return Err(format!("${{{name}}} takes an environment variable that is not set")),
            Err(Invalid(error)) => return Err(error),
        };
        value.push_str(before);
        value.push_str(variable);
        rest = after;
    }
    value.push_str(rest);
    Ok(value)
}

/// Parses the text as a value of the default's type. The error names what was expected.
fn parse_like(text: &str, default: &Value) -> Result<Value, &'static str> {
    match default {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            let table: Table =
                format!("list = {text}").parse().map_err(|_| "a list such as a,b or [\"a\", \"b\"]")?;
            Ok(table["list"].clone())
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}
