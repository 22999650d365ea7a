//! Defaults, file and environment, one over the other, and where each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Invalid;

const DEFAULTS: &str = include_str!("../../wicara.default.toml");

/// Variables that begin with this and have `__` in them are settings, except those of the tests.
const PREFIX: &str = "WICARA_";
const TESTS: &str = "WICARA_TEST_";

/// The environment's variables; `None` for a value that is no Unicode.
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
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(Invalid(format!("the environment variable {name} is no Unicode text"))),
        }
    }
}

/// A string of the file that has `${NAME}` in it.
struct Filled {
    written: String,
    value: String,
}

pub(super) struct Layers {
    /// All layers together.
    pub(super) table: Table,
    /// The same with `${NAME}` where it was written.
    pub(super) written: Table,
    file: Option<PathBuf>,
    /// By `section.key`, the variable that set it.
    variables: BTreeMap<String, String>,
    filled: Vec<Filled>,
}

impl Layers {
    pub(super) fn read(file: Option<(&Path, &str)>, environment: &Environment) -> Result<Self, Invalid> {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are TOML");
        let mut layers = Self {
            table: defaults.clone(),
            written: defaults.clone(),
            file: file.map(|(path, _)| path.to_owned()),
            variables: BTreeMap::new(),
            filled: Vec::new(),
        };
        if let Some((path, text)) = file {
            layers.add_file(path, text, environment)?;
        }
        layers.add_environment(&defaults, environment)?;
        Ok(layers)
    }

    fn add_file(&mut self, path: &Path, text: &str, environment: &Environment) -> Result<(), Invalid> {
        let file: Table = text.parse().map_err(|error| syntax_error(path, text, &error))?;
        for (section, written) in file {
            let filled = self.fill_in(written.clone(), &section, environment)?;
            lay_over(&mut self.table, &section, filled);
            lay_over(&mut self.written, &section, written);
        }
        Ok(())
    }

    /// Puts environment variables into the `${NAME}` of every string in there.
    fn fill_in(&mut self, value: Value, path: &str, environment: &Environment) -> Result<Value, Invalid> {
        Ok(match value {
            Value::String(written) if written.contains("${") => {
                let value = expand(&written, environment).map_err(|error| self.invalid(path, error))?;
                self.filled.push(Filled { written, value: value.clone() });
                Value::String(value)
            }
            Value::Array(values) => {
                let values = values.into_iter().enumerate();
                let filled =
                    values.map(|(at, value)| self.fill_in(value, &format!("{path}[{at}]"), environment));
                Value::Array(filled.collect::<Result<_, _>>()?)
            }
            Value::Table(table) => {
                let filled = table.into_iter().map(|(key, value)| {
                    let value = self.fill_in(value, &format!("{path}.{key}"), environment)?;
                    Ok((key, value))
                });
                Value::Table(filled.collect::<Result<_, _>>()?)
            }
            other => other,
        })
    }

    fn add_environment(&mut self, defaults: &Table, environment: &Environment) -> Result<(), Invalid> {
        for variable in environment.0.keys().filter(|name| !name.starts_with(TESTS)) {
            let Some((section, key)) =
                variable.strip_prefix(PREFIX).and_then(|setting| setting.split_once("__"))
            else {
                continue;
            };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
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
            let value = typed(text, default)
                .map_err(|expected| self.invalid(&path, format!("found {text:?}, expected {expected}")))?;
            let keys = Value::Table(Table::from_iter([(key, value)]));
            lay_over(&mut self.table, &section, keys.clone());
            lay_over(&mut self.written, &section, keys);
        }
        Ok(())
    }

    /// An error about the setting at this path, with where it was set and without what `${NAME}` filled in.
    pub(super) fn invalid(&self, path: &str, message: impl Into<String>) -> Invalid {
        let message = self.filled.iter().filter(|filled| !filled.value.is_empty()).fold(
            message.into(),
            |message, Filled { written, value }| {
                message.replace(&format!("{value:?}"), &format!("{written:?}"))
            },
        );
        let setting = path.split('[').next().unwrap_or_default();
        let mut places = Vec::new();
        match (self.variables.get(setting), &self.file) {
            (Some(variable), _) => places.push(variable.clone()),
            (None, Some(file)) => places.push(file.display().to_string()),
            (None, None) => {}
        }
        if !path.is_empty() {
            places.push(in_words(path));
        }
        places.push(message);
        Invalid(places.join(": "))
    }
}

/// A section's keys replace those of the layer below; anything else, the bots too, replaces it whole.
fn lay_over(below: &mut Table, section: &str, above: Value) {
    match (below.get_mut(section), above) {
        (Some(Value::Table(keys)), Value::Table(above)) => keys.extend(above),
        (_, above) => {
            below.insert(section.to_owned(), above);
        }
    }
}

/// `bot[1].url` as people count and write it.
fn in_words(path: &str) -> String {
    let bot = path.strip_prefix("bot[").and_then(|rest| rest.split_once(']'));
    match bot.and_then(|(at, key)| Some((at.parse::<usize>().ok()?, key))) {
        Some((at, "")) => format!("[[bot]] number {}", at + 1),
        Some((at, key)) => format!("[[bot]] number {}: {}", at + 1, key.trim_start_matches('.')),
        None => path.to_owned(),
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

/// `"a ${NAME} b"` with the variable's value in its place.
fn expand(written: &str, environment: &Environment) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a ${ has no } after it")?;
        let variable = match environment.get(name) {
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

/// The text as a value of the default's type; else what was expected.
fn typed(text: &str, default: &Value) -> Result<Value, &'static str> {
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
