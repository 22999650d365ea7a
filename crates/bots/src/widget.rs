//! `[bot.widget]`: what the widget on a web page shows before anybody has asked.

use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::{Table, Value};

const TITLE_CHARS: usize = 100;
const GREETING_CHARS: usize = 1000;
const SUGGESTIONS: usize = 10;
const SUGGESTION_CHARS: RangeInclusive<usize> = 1..=200;

/// The languages that the widget speaks.
const LANGUAGES: [&str; 2] = ["id", "en"];

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Widget {
    /// The heading; empty: the widget's own.
    pub title: String,
    /// Shown as the first message; empty: the widget's own.
    pub greeting: String,
    /// Questions to choose from.
    pub suggestions: Vec<String>,
    /// Those that its page may choose from; the first is taken where it names none of them.
    pub languages: Vec<String>,
    /// `#` and six hexadecimal digits; empty: the widget's own.
    pub color: String,
}

impl Default for Widget {
    fn default() -> Self {
        Self {
            title: String::new(),
            greeting: String::new(),
            suggestions: Vec::new(),
            languages: LANGUAGES.map(str::to_owned).into(),
            color: String::new(),
        }
    }
}

impl Widget {
    /// The error begins with the key.
    pub fn check(&self) -> Result<(), String> {
        for (key, text, most) in
            [("title", &self.title, TITLE_CHARS), ("greeting", &self.greeting, GREETING_CHARS)]
        {
            if text.chars().count() > most || text.contains('\0') {
                return Err(format!("widget.{key}: expected at most {most} characters and no NUL"));
            }
        }
        let fits = |text: &String| {
            SUGGESTION_CHARS.contains(&text.chars().count())
                && !text.trim().is_empty()
                && !text.contains('\0')
        };
        if self.suggestions.len() > SUGGESTIONS || !self.suggestions.iter().all(fits) {
            return Err(format!(
                "widget.suggestions: expected at most {SUGGESTIONS} texts of {} to {} characters, none of them blank",
                SUGGESTION_CHARS.start(),
                SUGGESTION_CHARS.end()
            ));
        }
        let unknown = self.languages.iter().find(|language| !LANGUAGES.contains(&language.as_str()));
        if let Some(unknown) = unknown {
            let known = LANGUAGES.map(|language| format!("{language:?}")).join(" and ");
            return Err(format!("widget.languages: found {unknown:?}, allowed are {known}"));
        }
        let twice =
            (1..self.languages.len()).any(|place| self.languages[..place].contains(&self.languages[place]));
        if self.languages.is_empty() || twice {
            return Err("widget.languages: expected at least one, and none twice".to_owned());
        }
        let is_color = self
            .color
            .strip_prefix('#')
            .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if !is_color && !self.color.is_empty() {
            return Err(format!(
                "widget.color: found {:?}, expected \"#\" and six hexadecimal digits, or \"\" for the widget's own",
                self.color
            ));
        }
        Ok(())
    }

    /// As TOML has it.
    #[must_use]
    pub fn to_toml(&self) -> Value {
        let list = |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
        let text = |text: &str| Value::String(text.to_owned());
        Value::Table(Table::from_iter([
            ("title".to_owned(), text(&self.title)),
            ("greeting".to_owned(), text(&self.greeting)),
            ("suggestions".to_owned(), list(&self.suggestions)),
            ("languages".to_owned(), list(&self.languages)),
            ("color".to_owned(), text(&self.color)),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    fn read(more: &str) -> Result<Settings, String> {
        Settings::from_table(format!("id = 'a'\nkind = 'documents'\n{more}").parse().unwrap())
    }

    #[test]
    fn a_widget_without_settings_speaks_all_languages() {
        let widget = read("").unwrap().widget;
        assert_eq!((widget.title.as_str(), widget.languages), ("", vec!["id".to_owned(), "en".to_owned()]));
        let widget =
            read("widget = { title = 'Tanya', languages = ['id'], color = '#0F766e' }").unwrap().widget;
        assert_eq!((widget.title.as_str(), widget.languages), ("Tanya", vec!["id".to_owned()]));
    }

    #[test]
    fn an_error_names_the_key_and_what_is_allowed() {
        for (widget, expected) in [
            (
                "titel = 'x'",
                "widget.titel: there is no such setting; known are title, greeting, suggestions, languages, color",
            ),
            ("title = 5", "widget.title: found a whole number, expected a string"),
            (
                "suggestions = ['a', ' ']",
                "widget.suggestions: expected at most 10 texts of 1 to 200 characters, none of them blank",
            ),
            ("languages = ['jv']", "widget.languages: found \"jv\", allowed are \"id\" and \"en\""),
            ("languages = []", "widget.languages: expected at least one, and none twice"),
            ("languages = ['id', 'id']", "widget.languages: expected at least one, and none twice"),
            (
                "color = 'teal'",
                "widget.color: found \"teal\", expected \"#\" and six hexadecimal digits, or \"\" for the widget's own",
            ),
        ] {
            assert_eq!(read(&format!("widget = {{ {widget} }}")).unwrap_err(), expected, "{widget}");
        }
        let long = "x".repeat(101);
        assert!(
            read(&format!("widget = {{ title = '{long}' }}"))
                .unwrap_err()
                .starts_with("widget.title: expected")
        );
    }
}
