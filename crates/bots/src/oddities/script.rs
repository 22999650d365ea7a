//! A recorded answer taken apart, so that each part can be changed, and put together again.

use std::fmt;

use serde_json::{Map, Value, json};

use super::style::{HALVES, Style};
use crate::replay::{Recorded, cassette};

const PAIR: char = '\u{1f600}';
/// Stands for a byte that is no UTF-8.
pub const WRONG_BYTE: char = '\u{e002}';

/// What the documents of the answer are sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One document alone.
    Document,
    /// Each behind `data:`.
    Events,
    /// Each by itself, as Langflow sends them.
    Bare,
}

#[derive(Debug)]
pub enum Part {
    Json(Value),
    /// Data that is sent as it is.
    Data(String),
    /// Lines of an event stream.
    Lines(String),
}

#[derive(Debug)]
pub struct Script {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: &'static str,
    pub start: String,
    /// Stands before each line of data.
    pub field: &'static str,
    /// Stands behind each document alone.
    pub behind: &'static str,
    pub form: Form,
    pub parts: Vec<Part>,
    pub style: Style,
    pub line_end: &'static str,
    pub line_ends_between: usize,
    pub line_ends_at_end: usize,
    pub is_utf16: bool,
    pub chunk_bytes: usize,
    pub hangs: bool,
    pub closes: bool,
    /// Of the body's bytes, how many are sent.
    sent_percent: usize,
    /// The names on the way to the answer, for the kind `http`.
    way: Option<Vec<&'static str>>,
    is_langflow: bool,
}

/// The pointer of a bot of the kind `http`; `None` of another kind.
pub fn answer(settings: &'static str) -> Option<&'static str> {
    settings.split_once("answer = '")?.1.strip_suffix('\'')
}

impl Script {
    pub fn of(name: &'static str, settings: &'static str) -> Self {
        let text = String::from_utf8(cassette(name)).unwrap();
        let is_stream = name.contains("stream");
        let form = match (is_stream, text.starts_with("data:")) {
            (false, _) => Form::Document,
            (true, true) => Form::Events,
            (true, false) => Form::Bare,
        };
        let lines = text.lines().filter_map(|line| match form {
            Form::Events => line.strip_prefix("data: "),
            Form::Bare => Some(line).filter(|line| !line.is_empty()),
            Form::Document => None,
        });
        let part =
            |text: &str| serde_json::from_str(text).map_or_else(|_| Part::Data(text.to_owned()), Part::Json);
        let parts = if is_stream { lines.map(part).collect() } else { vec![part(&text)] };
        Self {
            status: 200,
            content_type: if is_stream { "text/event-stream" } else { "application/json" },
            headers: "",
            start: String::new(),
            field: "data: ",
            behind: "",
            form,
            parts,
            style: Style::default(),
            line_end: "\n",
            line_ends_between: 2,
            line_ends_at_end: 2,
            is_utf16: false,
            chunk_bytes: 1 << 16,
            hangs: false,
            closes: false,
            sent_percent: 100,
            way: answer(settings).map(|pointer| pointer.split('/').skip(1).collect()),
            is_langflow: settings.contains("'langflow'"),
        }
    }

    pub fn recorded(&self) -> Recorded {
        let text = String::from_utf8(self.body()).unwrap();
        let mut body = if self.is_utf16 {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else {
            text.split(WRONG_BYTE).map(str::as_bytes).collect::<Vec<_>>().join(&0xff)
        };
        body.truncate(body.len() * self.sent_percent / 100);
        let recorded = Recorded {
            content_type: self.content_type,
            headers: self.headers,
            ..Recorded::json(self.status, body)
        };
        Recorded { hangs: self.hangs, closes: self.closes, ..recorded }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.start.clone();
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                body.push_str(&"\n".repeat(self.line_ends_between));
            }
            let data = match part {
                Part::Json(value) => self.style.written(value),
                Part::Data(data) => data.clone(),
                Part::Lines(lines) => {
                    body.push_str(lines);
                    continue;
                }
            };
            match self.form {
                Form::Events => {
                    let field = self.field;
                    // The name stands twice at the start of an event.
                    let next = field.trim_end_matches("data: \u{feff}");
                    body.push_str(&format!("{field}{}", data.replace('\n', &format!("\n{next}"))));
                }
                Form::Document => body.push_str(&format!("{data}{}", self.behind)),
                Form::Bare => body.push_str(&data),
            }
        }
        if self.form != Form::Document {
            body.push_str(&"\n".repeat(self.line_ends_at_end));
        }
        body.replace('\n', self.line_end).into_bytes()
    }

    fn is_http(&self) -> bool {
        self.way.is_some()
    }

    fn documents(&mut self) -> impl Iterator<Item = &mut Value> {
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Json(value) => Some(value),
            _ => None,
        })
    }

    /// Inserts lines of an event stream before each part of a stream.
    pub fn insert_lines(&mut self, lines: &str) {
        if self.form != Form::Document {
            self.insert(|| Part::Lines(lines.to_owned()));
        }
    }

    /// Inserts data before each part of a stream, but not for the kind `http`, which knows no data by its form.
    pub fn insert_data(&mut self, data: &str) {
        if self.form == Form::Events && !self.is_http() {
            self.insert(|| Part::Data(data.to_owned()));
        }
    }

    fn insert(&mut self, part: impl Fn() -> Part) {
        let parts = std::mem::take(&mut self.parts);
        self.parts = parts.into_iter().flat_map(|before| [part(), before]).collect();
    }

    /// Inserts the piece of another choice, and at last its end, before each piece but the first of a completion.
    pub fn add_choice(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let inserted = |part: &Part| match part {
            Part::Json(value) if value.pointer("/choices/0/delta").is_some() => {
                let ends = value.pointer("/choices/0/finish_reason").is_some_and(Value::is_string);
                let end = if ends { "null" } else { "\"stop\"" };
                let delta = r#"{"role":"assistant","content":"RAHASIA"}"#;
                Some(format!(r#"{{"choices":[{{"index":1,"delta":{delta},"finish_reason":{end}}}]}}"#))
            }
            _ => None,
        };
        let mut has_begun = false;
        for part in parts {
            let data = inserted(&part);
            let is_piece = data.is_some();
            self.parts.extend(data.filter(|_| has_begun).map(Part::Data));
            self.parts.push(part);
            has_begun |= is_piece;
        }
    }

    /// Takes the reasons for its end out of a streamed completion and ends it with this mark.
    pub fn end_with_mark(&mut self, mark: &str) {
        if self.form != Form::Events || self.is_http() || self.is_langflow {
            return;
        }
        let is_mark = |part: &Part| matches!(part, Part::Data(data) if data == "[DONE]");
        if !self.parts.last().is_some_and(is_mark) {
            return;
        }
        for document in self.documents() {
            if let Some(reason) = document.pointer_mut("/choices/0/finish_reason") {
                *reason = Value::Null;
            }
        }
        self.parts.pop();
        self.parts.push(Part::Data(mark.to_owned()));
    }

    /// Gives a word for no reason in place of none.
    pub fn name_no_end(&mut self) {
        for document in self.documents() {
            let Some(choice) =
                document.pointer_mut("/choices/0").filter(|choice| choice.get("delta").is_some())
            else {
                continue;
            };
            if !choice["finish_reason"].is_string() {
                choice["finish_reason"] = json!("null");
            }
        }
    }

    /// Inserts a piece of the text that is cut off, where the text comes in pieces that are not repeated; else a failure.
    pub fn insert_broken_piece(&mut self) {
        if self.form != Form::Events || self.parts.len() == 1 || self.is_http() || self.is_langflow {
            self.insert_failure(50);
            return;
        }
        let at = self.end() / 2;
        self.parts.insert(at, Part::Data(r#"{"choices":[{"delta":{"content":"x"#.to_owned()));
    }

    /// Adds a field to each document that is an object, or to the objects of a list.
    pub fn add_field(&mut self, name: &str, value: &str) {
        let value: Value = serde_json::from_str(value).unwrap();
        for document in self.documents() {
            let objects = match document {
                Value::Array(list) => list.iter_mut().collect(),
                object => vec![object],
            };
            for object in objects.into_iter().filter_map(Value::as_object_mut) {
                object.insert(name.to_owned(), value.clone());
            }
        }
    }

    /// Adds a field to an object on the way to the answer, so far behind the document; where there is no way, to the
    /// document.
    pub fn add_on_way(&mut self, percent: usize, name: &str, value: &str) {
        let way = self.way.clone().unwrap_or_default();
        if way.is_empty() {
            self.add_field(name, value);
            return;
        }
        let added: Value = serde_json::from_str(value).unwrap();
        for document in self.documents() {
            let mut pointer = String::new();
            let mut objects = Vec::new();
            for step in &way {
                if document.pointer(&pointer).is_some_and(Value::is_object) {
                    objects.push(pointer.clone());
                }
                pointer = format!("{pointer}/{step}");
            }
            let Some(chosen) = objects.get((objects.len() - 1) * percent / 100) else { continue };
            document.pointer_mut(chosen).unwrap()[name] = added.clone();
        }
    }

    /// Adds a code like a status of failure to the answer objects with a text.
    pub fn add_codes(&mut self) {
        for object in self.answer_objects() {
            if object.get("text").is_some_and(|text| text.as_str() != Some("")) {
                object.insert("code".to_owned(), json!("450"));
            }
        }
    }

    /// The answer objects of the kind `http`; of another kind there are none.
    fn answer_objects(&mut self) -> Vec<&mut Map<String, Value>> {
        let Some(way) = &self.way else { return Vec::new() };
        let pointer: String = way.iter().map(|step| format!("/{step}")).collect();
        let found = self.documents().filter_map(move |document| document.pointer_mut(&pointer));
        let values = found.flat_map(|found| match found {
            Value::Array(list) => list.iter_mut().collect(),
            value => vec![value],
        });
        values.filter_map(Value::as_object_mut).collect()
    }

    /// The messages and deltas of a completion.
    fn completion_messages(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        self.documents().filter_map(|document| {
            let choice = document.get_mut("choices")?.get_mut(0)?.as_object_mut()?;
            let name = if choice.contains_key("delta") { "delta" } else { "message" };
            choice.get_mut(name)?.as_object_mut()
        })
    }

    pub fn put_content_in_parts(&mut self) {
        if self.is_http() {
            return;
        }
        for message in self.completion_messages() {
            if let Some(Value::String(text)) = message.get("content") {
                let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "RAHASIA"}]});
                let parts = json!([thinking, {"type": "text", "text": text}]);
                message.insert("content".to_owned(), parts);
            }
        }
    }

    /// Cuts each piece of a streamed text within its surrogate pair.
    pub fn cut_pairs(&mut self) {
        let mut parts = Vec::new();
        for part in std::mem::take(&mut self.parts) {
            let pointer = if self.is_langflow { "/data/chunk" } else { "/choices/0/delta/content" };
            let text = match &part {
                Part::Json(value) => value.pointer(pointer).and_then(Value::as_str),
                _ => None,
            };
            let Some((before, after)) = text.and_then(|text| text.split_once(PAIR)) else {
                parts.push(part);
                continue;
            };
            let pieces = [format!("{before}{}", HALVES[0].0), format!("{}{after}", HALVES[1].0)];
            let Part::Json(value) = &part else { continue };
            for piece in pieces {
                let mut value = value.clone();
                *value.pointer_mut(pointer).unwrap() = Value::String(piece);
                parts.push(Part::Json(value));
            }
        }
        self.parts = parts;
    }

    /// Sends a document as the only event of a stream.
    pub fn wrap(&mut self) {
        if self.form == Form::Document {
            self.form = Form::Events;
        }
    }

    /// Adds thoughts to the text of a completion, their tags cut in two, and to the texts of answer objects.
    pub fn add_thoughts(&mut self) {
        for object in self.answer_objects() {
            let text = object.get("text").and_then(Value::as_str).unwrap_or_default();
            let text = format!("<think>RAHASIA</think>\n\n{text}");
            object.insert("text".to_owned(), Value::String(text));
        }
        let Some(at) = self
            .parts
            .iter()
            .position(|part| matches!(part, Part::Json(value) if value.get("choices").is_some()))
        else {
            return;
        };
        let Part::Json(first) = &self.parts[at] else { return };
        let is_delta = first.pointer("/choices/0/delta").is_some();
        if !is_delta {
            for message in self.completion_messages() {
                if let Some(Value::String(text)) = message.get_mut("content") {
                    text.insert_str(0, "<think>RAHASIA</think>\n\n");
                }
            }
            return;
        }
        let pieces = ["<thi", "nk>RAHASIA<", "/think>\n"];
        let pieces =
            pieces.map(|piece| Part::Json(json!({"choices": [{"index": 0, "delta": {"content": piece}}]})));
        self.parts.splice(at..at, pieces);
    }

    /// Inserts what such a server says when it fails, behind so much of the parts before the end.
    pub fn insert_failure(&mut self, percent: usize) {
        let failure = match (self.is_http(), self.is_langflow) {
            (true, _) => json!({"error": "away"}),
            (_, true) if self.form == Form::Document => json!({"detail": "away", "error": "away"}),
            (_, true) => json!({"event": "error", "data": {"text": "away", "category": "error"}}),
            _ => json!({"error": {"message": "away", "code": 502}}),
        };
        self.insert_part(percent, failure);
    }

    /// Inserts a document behind so much of the parts before the end; it replaces one that stands alone.
    pub fn insert_part(&mut self, percent: usize, inserted: Value) {
        if self.form == Form::Document || self.parts.len() == 1 {
            match &mut self.parts[0] {
                Part::Json(Value::Array(list)) => list.insert(0, inserted),
                part => *part = Part::Json(inserted),
            }
            return;
        }
        let end = self.end();
        let at = end * percent / 100;
        self.parts.insert(at, Part::Json(inserted));
    }

    /// Names a document that stands alone `error`, or inserts such an event before the end.
    pub fn insert_error_event(&mut self) {
        let is_alone = self.form == Form::Document || self.parts.len() == 1;
        let data = match &self.parts[0] {
            Part::Json(value) if is_alone => self.style.written(value).replace('\n', "\ndata: "),
            _ => r#"{"message":"away"}"#.to_owned(),
        };
        let event = Part::Lines(format!("event: error\ndata: {data}"));
        if is_alone {
            self.parts[0] = event;
            return;
        }
        self.parts.insert(self.end(), event);
    }

    /// The index of the part that ends the answer.
    fn end(&self) -> usize {
        let is_end = |part: &Part| match part {
            Part::Json(value) => {
                value["event"] == "end"
                    || value
                        .pointer("/choices/0/finish_reason")
                        .is_some_and(|reason| reason.is_string() && reason != "null")
            }
            Part::Data(data) => data == "[DONE]",
            Part::Lines(_) => false,
        };
        self.parts.iter().position(is_end).unwrap_or(self.parts.len() - 1)
    }

    /// Puts an error beside the text, where the kind of bot has a place for it.
    pub fn put_error_inside(&mut self) {
        let error = json!({"code": 502, "message": "away"});
        let is_langflow = self.is_langflow;
        let mut messages: Vec<_> = self.completion_messages().collect();
        let middle = messages.len() / 2;
        if let Some(message) = messages.get_mut(middle) {
            message.insert("error".to_owned(), error);
            return;
        }
        if !is_langflow {
            match self.answer_objects().into_iter().last() {
                Some(object) => drop(object.insert("error".to_owned(), error)),
                None => self.insert_failure(0),
            }
            return;
        }
        for document in self.documents() {
            set_in_messages(document);
        }
    }

    /// Puts this reason, or a status of failure, where the answer says how it ended.
    pub fn end_in_failure(&mut self, why: &str) {
        let mut has_changed = false;
        for document in self.documents() {
            if let Some(reason @ Value::String(_)) = document.pointer_mut("/choices/0/finish_reason") {
                *reason = json!(why);
                has_changed = true;
            }
            if document.get("status").is_some_and(Value::is_string) {
                document["status"] = json!("failed");
                has_changed = true;
            }
            if document["event"] == "output" {
                document["data"]["status"] = json!("failed");
                has_changed = true;
            }
        }
        if !has_changed {
            self.put_error_inside();
        }
    }

    pub fn cut_off(&mut self) {
        if self.form == Form::Document || self.parts.len() == 1 {
            self.sent_percent = 70;
            return;
        }
        let end = self.end();
        self.parts.truncate(end.max(1));
    }
}

/// Makes errors of all messages of a Langflow answer.
fn set_in_messages(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("category").is_some_and(Value::is_string) {
                object.insert("category".to_owned(), json!("error"));
            }
            if object.get("status").is_some_and(|status| status == "completed") {
                object.insert("status".to_owned(), json!("failed"));
            }
            object.values_mut().for_each(set_in_messages);
        }
        Value::Array(list) => list.iter_mut().for_each(set_in_messages),
        _ => {}
    }
}

/// The beginning of the body, where a test fails.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body()).chars().take(2000).collect::<String>();
        write!(f, "{body:?}")
    }
}
