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
}

impl Style {
    pub fn written(&self, value: &Value) -> String {
        let mut text = String::new();
        self.write(value, &mut text);
        for (stand_in, half) in HALVES {
            for written in [stand_in.to_string(), format!("\\u{:04x}", u32::from(stand_in))] {
                if text.contains(&written) {
                    text = text.replace(&written, half);
                }
            }
        }
        text
    }

    fn write(&self, value: &Value, text: &mut String) {
        let space = if self.spaces { " \n\n " } else { "" };
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
                    self.write(value, &mut field);
                    written.push(field);
                }
                text.push_str(&format!("{{{space}{}{space}}}", written.join(&format!(",{space}"))));
            }
            Value::Array(list) => {
                let mut items = Vec::new();
                for value in list {
                    let mut item = String::new();
                    self.write(value, &mut item);
                    items.push(item);
                }
                text.push_str(&format!("[{space}{}{space}]", items.join(&format!(",{space}"))));
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
