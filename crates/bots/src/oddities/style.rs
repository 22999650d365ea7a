//! How the JSON of a script is written.

use serde_json::Value;

/// Stand for the halves of a surrogate pair until the text is written.
pub const HALVES: [(char, &str); 2] = [('\u{e000}', "\\ud83d"), ('\u{e001}', "\\ude00")];

#[derive(Debug, Default)]
pub struct Style {
    pub repeats_names: bool,
    pub reverses: bool,
    pub escapes: bool,
    pub spaces: bool,
    /// Numbers that JSON has not, characters and escapes that it forbids in strings, commas before closing brackets.
    pub is_nearly_json: bool,
    /// Line ends in strings.
    pub has_line_ends: bool,
}

impl Style {
    pub fn written(&self, value: &Value) -> String {
        let mut text = String::new();
        self.write(value, true, &mut text);
        for (stand_in, half) in HALVES {
            for written in [stand_in.to_string(), format!("\\u{:04x}", u32::from(stand_in))] {
                if text.contains(&written) {
                    text = text.replace(&written, half);
                }
            }
        }
        text
    }

    /// `is_outer`: further fields are added, where they are no part of an error.
    fn write(&self, value: &Value, is_outer: bool, text: &mut String) {
        let space = if self.spaces { " \n\n " } else { "" };
        let comma = if self.is_nearly_json { "," } else { "" };
        let mut more: Vec<_> = [
            (self.is_nearly_json, "\"logprobs\":[NaN,-Infinity]"),
            (self.is_nearly_json, "\"note\":\"a\tb\u{1}\\x\\'\\u12\""),
            (self.has_line_ends, "\"lines\":\"a\n b\""),
        ]
        .into_iter()
        .filter(|(is_there, _)| *is_there && is_outer)
        .map(|(_, field)| field.to_owned())
        .collect();
        match value {
            Value::Object(object) => {
                let mut fields: Vec<_> = object.iter().collect();
                if self.reverses {
                    fields.reverse();
                }
                let mut written = Vec::new();
                for (name, value) in fields {
                    let mut field = String::new();
                    self.write_text(name, &mut field);
                    if self.repeats_names {
                        written.push(format!("{field}:[\"x\"]"));
                    }
                    field.push_str(&format!("{space}:{space}"));
                    self.write(value, false, &mut field);
                    written.push(field);
                }
                written.append(&mut more);
                let comma = if written.is_empty() { "" } else { comma };
                text.push_str(&format!("{{{space}{}{comma}{space}}}", written.join(&format!(",{space}"))));
            }
            Value::Array(list) => {
                let mut items = Vec::new();
                for value in list {
                    let mut item = String::new();
                    self.write(value, is_outer, &mut item);
                    items.push(item);
                }
                let comma = if items.is_empty() { "" } else { comma };
                text.push_str(&format!("[{space}{}{comma}{space}]", items.join(&format!(",{space}"))));
            }
            Value::String(string) => self.write_text(string, text),
            other => text.push_str(&other.to_string()),
        }
    }

    fn write_text(&self, string: &str, text: &mut String) {
        if !self.escapes {
            text.push_str(&Value::from(string).to_string());
            return;
        }
        let units = string.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        text.push_str(&format!("\"{}\"", units.collect::<String>()));
    }
}
