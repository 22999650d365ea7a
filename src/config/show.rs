//! Shows the configuration as TOML, without secrets.

use toml::{Table, Value};
use wicara_bots as bots;
use wicara_model::terminal;

const MASK: &str = "***";

/// A query parameter of a URL is masked if its name contains one of these words.
const SECRET_PARAMETERS: [&str; 6] = ["pass", "key", "token", "secret", "auth", "sig"];

/// Masks every secret, and adds the defaults of settings that a bot leaves out.
pub(super) fn masked(mut table: Table, bots: &[bots::Settings]) -> Table {
    if let Some(url) = string_at(&mut table, "store", "url") {
        *url = mask_url(url);
    }
    if let Some(password) = string_at(&mut table, "auth", "admin_password").filter(|text| !text.is_empty()) {
        *password = MASK.to_owned();
    }
    let bot_tables = table.get_mut("bot").and_then(Value::as_array_mut).into_iter().flatten();
    for (bot, settings) in bot_tables.filter_map(Value::as_table_mut).zip(bots) {
        if let Some(Value::String(url)) = bot.get_mut("url") {
            *url = mask_url(url);
        }
        if let Some(Value::String(key)) = bot.get_mut("api_key")
            && !key.is_empty()
        {
            *key = MASK.to_owned();
        }
        if let Some(Value::Table(headers)) = bot.get_mut("headers") {
            headers.iter_mut().for_each(|(_, value)| *value = Value::String(MASK.to_owned()));
        }
        for (key, value) in settings.common() {
            bot.entry(key).or_insert(value);
        }
    }
    table
}

fn string_at<'a>(table: &'a mut Table, section: &str, key: &str) -> Option<&'a mut String> {
    match table.get_mut(section)?.get_mut(key)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Masks the password of a URL and the secrets of its query.
pub(super) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // The last @, because a password without percent encoding may contain one.
    let rest = match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let Some((before_query, query)) = rest.split_once('?') else {
        return format!("{scheme}://{rest}");
    };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if SECRET_PARAMETERS.iter().any(|word| name.to_lowercase().contains(word)) => {
                format!("{name}={MASK}")
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{scheme}://{before_query}?{}", parameters.join("&"))
}

/// Sections in the order of the default file; of a bot first its id and kind.
pub(super) fn toml(table: &Table) -> String {
    let mut text = String::new();
    for section in ["server", "store", "auth", "limits", "events", "handover"] {
        if let Some(Value::Table(keys)) = table.get(section) {
            text.push_str(&format!("[{section}]\n"));
            keys.iter().for_each(|(key, value)| push_line(&mut text, key, value));
            text.push('\n');
        }
    }
    for bot in table.get("bot").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table) {
        text.push_str("[[bot]]\n");
        let (first, rest): (Vec<_>, Vec<_>) =
            bot.iter().partition(|(key, _)| ["id", "kind"].contains(&key.as_str()));
        first.into_iter().chain(rest).for_each(|(key, value)| push_line(&mut text, key, value));
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn push_line(text: &mut String, key: &str, value: &Value) {
    text.push_str(&format!("{} = {}\n", toml_key(key), toml_value(value)));
}

fn toml_key(key: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(toml_value).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let pairs: Vec<_> = table
                .iter()
                .map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// A TOML basic string. TOML has JSON's escapes; DEL is escaped too, as TOML demands, and all characters that steer a
/// terminal.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let code = |character, text: &mut String| text.push_str(&format!("\\U{:08x}", u32::from(character)));
    terminal::escaped(&quoted, terminal::steers, code).into_owned()
}
