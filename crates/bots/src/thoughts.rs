//! Leaves out what a model thinks aloud in its answer: `<think>…</think>`, as DeepSeek, Qwen and others write it where their
//! server does not take it out, and the documented marks of other models.

use serde_json::from_str;
use wicara_model::{Answer, Json, Object};

use crate::shown::shows;

/// What opens and closes thoughts: tags, of which case and white space before the end do not matter, and the marks of Seed-OSS,
/// Magistral, Kimi and gpt-oss.
const TAGS: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
];
/// Levels of an answer object in which thoughts are looked for: each reads again what is below it.
const MAX_DEPTH: usize = 16;
/// The first characters of these.
const FIRST: [char; 3] = ['<', '[', '◁'];

/// Takes thoughts out of a text that comes in pieces, whose tags may be cut anywhere.
///
/// Some chat templates begin the thoughts themselves, so that only the closing tag is in the answer. What stood before it
/// may have gone to a reader by then; of a whole text [`visible`] leaves it out.
#[derive(Debug, Default)]
pub struct ThoughtFilter {
    /// What may be the beginning of a tag.
    held: String,
    in_thoughts: bool,
    /// White space is left out, up to the first other character behind thoughts that the text begins with.
    trims: bool,
    has_text: bool,
}

enum Tag {
    Opens(usize),
    Closes(usize),
    /// It may become one with what follows.
    Begins,
    No,
}

impl ThoughtFilter {
    /// The visible text of the next piece.
    pub fn next(&mut self, piece: &str) -> String {
        let text = std::mem::take(&mut self.held) + piece;
        let mut visible = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(FIRST) {
            self.show(&rest[..at], &mut visible);
            rest = &rest[at..];
            match tag(rest) {
                Tag::Opens(length) if !self.in_thoughts => {
                    self.in_thoughts = true;
                    rest = &rest[length..];
                }
                Tag::Closes(length) => {
                    if !std::mem::take(&mut self.in_thoughts) {
                        visible.clear();
                        self.has_text = false;
                    }
                    self.trims = !self.has_text;
                    rest = &rest[length..];
                }
                Tag::Begins => {
                    rest.clone_into(&mut self.held);
                    return visible;
                }
                Tag::Opens(_) | Tag::No => {
                    let first = rest.chars().next().map_or(0, char::len_utf8);
                    self.show(&rest[..first], &mut visible);
                    rest = &rest[first..];
                }
            }
        }
        self.show(rest, &mut visible);
        visible
    }

    /// The visible text behind the last piece.
    pub fn end(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let mut visible = String::new();
        self.show(&held, &mut visible);
        visible
    }

    fn show(&mut self, text: &str, visible: &mut String) {
        if self.in_thoughts {
            return;
        }
        let text = if self.trims { text.trim_start() } else { text };
        if !text.trim().is_empty() {
            self.has_text = true;
            self.trims = false;
        }
        visible.push_str(text);
    }
}

/// The tag that a text begins with.
fn tag(text: &str) -> Tag {
    let mut begins = false;
    for (opening, closing) in TAGS {
        for (tag, is_opening) in [(opening, true), (closing, false)] {
            match length(text, tag) {
                Some(Some(length)) if is_opening => return Tag::Opens(length),
                Some(Some(length)) => return Tag::Closes(length),
                Some(None) => begins = true,
                None => {}
            }
        }
    }
    if begins { Tag::Begins } else { Tag::No }
}

/// The length of this tag at the start of a text; `Some(None)` where the text ends within it, `None` where it is another.
fn length(text: &str, tag: &str) -> Option<Option<usize>> {
    let is_markup = tag.starts_with('<');
    let mut rest = text;
    for sign in tag.chars() {
        if is_markup && sign == '>' {
            rest = rest.trim_start();
        }
        let Some(found) = rest.chars().next() else { return Some(None) };
        if found != sign && !(is_markup && found.eq_ignore_ascii_case(&sign)) {
            return None;
        }
        rest = &rest[found.len_utf8()..];
    }
    Some(Some(text.len() - rest.len()))
}

/// A whole text without its thoughts, of which there are none in most texts. What stands before a closing tag without an
/// opening one is thought too.
pub fn visible(text: &str) -> String {
    let mut filter = ThoughtFilter::default();
    let visible = filter.next(text);
    visible + &filter.end()
}

/// An answer without its thoughts, in its text and in any other text of its object; `None` where it holds nothing else.
pub fn without_thoughts(answer: Answer) -> Option<Answer> {
    let visible = visible(&answer.text);
    let thinks = visible != answer.text;
    let payload = answer.payload.as_ref().filter(|payload| thinks || may_think(payload.as_str()));
    let mut object = payload.and_then(|payload| from_str::<Object>(payload.as_str()).ok());
    let has_thoughts = object.as_mut().is_some_and(|object| take_from_fields(object, MAX_DEPTH));
    if !thinks {
        let payload = object.filter(|_| has_thoughts).map(|object| Json::of(&object)).or(answer.payload);
        return Some(Answer { payload, ..answer });
    }
    let text = if visible.trim().is_empty() { String::new() } else { visible };
    if text.is_empty() && !object.as_ref().is_some_and(shows) {
        return None;
    }
    if let Some(object) = &mut object {
        object.set("text", Json::of(text.as_str()));
    }
    let payload = object.map_or(answer.payload, |object| Some(Json::of(&object)));
    Some(Answer { text, payload, ..answer })
}

/// Whether a mark of thoughts may be in JSON, where any sign may be escaped.
fn may_think(json: &str) -> bool {
    let json = json.to_ascii_lowercase();
    ["think", "thought", "reasoning", "analysis", "final", r"\u"].iter().any(|word| json.contains(word))
}

/// Takes thoughts out of the texts of an object; whether there were any. `depth`: of the values that are looked at.
fn take_from_fields(object: &mut Object, depth: usize) -> bool {
    let changed =
        object.iter().filter_map(|(name, value)| Some((name.to_owned(), visible_json(value, depth)?)));
    let changed: Vec<_> = changed.collect();
    let has_thoughts = !changed.is_empty();
    changed.into_iter().for_each(|(name, value)| object.set(&name, value));
    has_thoughts
}

/// A value without thoughts in its texts; `None` where there are none. Everything else stays as the bot wrote it.
fn visible_json(json: &Json, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    match json.as_str().as_bytes().first()? {
        b'"' => {
            let text: String = from_str(json.as_str()).ok()?;
            let visible = visible(&text);
            (visible != text).then(|| Json::of(visible.as_str()))
        }
        b'{' => {
            let mut object: Object = from_str(json.as_str()).ok()?;
            take_from_fields(&mut object, depth).then(|| Json::of(&object))
        }
        b'[' => {
            let mut values: Vec<Json> = from_str(json.as_str()).ok()?;
            let mut has_thoughts = false;
            for value in &mut values {
                if let Some(visible) = visible_json(value, depth) {
                    *value = visible;
                    has_thoughts = true;
                }
            }
            has_thoughts.then(|| Json::of(&values))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::Strategy;
    use proptest::sample::select;
    use wicara_fuzz::fuzz;

    use super::*;

    /// The visible text of these pieces, as it is streamed.
    fn streamed<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let mut filter = ThoughtFilter::default();
        let shown: String = pieces.into_iter().map(|piece| filter.next(piece)).collect();
        shown + &filter.end()
    }

    #[test]
    fn thoughts_are_left_out_wherever_their_tags_are_cut() {
        for (text, expected) in [
            ("<think>RAHASIA</think>Jam buka", "Jam buka"),
            ("<think>\nRAHASIA\n</think>\n\n Jam buka\n", "Jam buka\n"),
            (" <THINK></Think> Jam", " Jam"),
            ("Jam <thinking>RAHASIA < x <b></thinking>buka <think>RAHASIA", "Jam buka "),
            ("<think>RAHASIA<think>x</think>Jam", "Jam"),
            ("<think>RAHASIA", ""),
            (" Jam <b>buka</b> < 5 <thin <thinks>", " Jam <b>buka</b> < 5 <thin <thinks>"),
            ("Jam <", "Jam <"),
            ("<think", "<think"),
            ("<é<think>RAHASIA</think>é", "<éé"),
        ] {
            assert_eq!(visible(text), expected, "{text}");
            let cuts: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            for (index, first) in cuts.iter().enumerate() {
                for second in &cuts[index..] {
                    let pieces = [&text[..*first], &text[*first..*second], &text[*second..]];
                    assert_eq!(streamed(pieces), expected, "{pieces:?}");
                }
            }
        }
    }

    #[test]
    fn without_an_opening_tag_all_before_the_closing_one_is_thought() {
        assert_eq!(visible("RAHASIA\n</think>\n\nJam"), "Jam");
        assert_eq!(visible("RAHASIA</think>Jam<think>RAHASIA</think> buka"), "Jam buka");
        assert_eq!(visible("RAHASIA</think>"), "");
        assert_eq!(streamed(["RAHA", "SIA</thi", "nk>Jam"]), "RAHASIAJam");
    }

    #[test]
    fn the_marks_of_other_models_are_known() {
        for (text, expected) in [
            ("<think >x</think\n>Jam", "Jam"),
            ("<think\n>x</think >Jam", "Jam"),
            ("[THINK]x[/THINK]Jam [1]", "Jam [1]"),
            ("◁think▷x◁/think▷Jam ◁", "Jam ◁"),
            ("<seed:think>x</seed:think>Jam", "Jam"),
            ("<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>Jam", "Jam"),
            ("[think] <thin k> [THINKING] [/b] ◁b", "[think] <thin k> [THINKING] [/b] ◁b"),
        ] {
            assert_eq!(visible(text), expected);
            let pieces: Vec<_> = text.chars().map(String::from).collect();
            assert_eq!(streamed(pieces.iter().map(String::as_str)), expected);
        }
    }

    #[test]
    fn the_answer_object_has_no_thoughts_either() {
        let answer = |json: &str| Answer::object(Json::parse(json.to_owned()).unwrap()).unwrap();
        let found = without_thoughts(answer(r#"{"a":1.0,"text":"<think>x</think>Jam","id":"5"}"#)).unwrap();
        assert_eq!(found.text, "Jam");
        assert_eq!(found.payload.unwrap().as_str(), r#"{"a":1.0,"text":"Jam","id":"5"}"#);
        assert_eq!(without_thoughts(answer(r#"{"text":"<think>x</think> \n"}"#)), None);
        let found = without_thoughts(answer(r#"{"text":"<think>x</think>\n","image":"i"}"#)).unwrap();
        assert_eq!(
            (found.text.as_str(), found.payload.unwrap().as_str()),
            ("", r#"{"text":"","image":"i"}"#)
        );
        let links = |links| format!(r#"{{"text":"x</think>","id":"5","suggest_links":{links}}}"#);
        assert_eq!(without_thoughts(answer(&links("[]"))), None);
        assert!(without_thoughts(answer(&links(r#"[{"title":"a"}]"#))).is_some());
        let found = without_thoughts(answer(
            r#"{"text":"Jam","n":1.0,"parts":[{"b":2e3,"content":"\u003cthink>x</think>Jam"},"[THINK]x"],"thoughts":[]}"#,
        ));
        assert_eq!(
            found.unwrap().payload.unwrap().as_str(),
            r#"{"text":"Jam","n":1.0,"parts":[{"b":2e3,"content":"Jam"},""],"thoughts":[]}"#
        );
        let closing = answer(r#"{"text":"x<|channel|>final<|message|>Jam"}"#);
        assert_eq!(without_thoughts(closing).unwrap().payload.unwrap().as_str(), r#"{"text":"Jam"}"#);
        let escaped = answer(r#"{"\u0074ext":"a","b":"\u003c\u0074hink>x</\u0074hin\u006b>Jam"}"#);
        assert_eq!(without_thoughts(escaped).unwrap().payload.unwrap().as_str(), r#"{"text":"a","b":"Jam"}"#);
        let deep = answer(&format!(r#"{{"text":"think","x":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000)));
        assert_eq!(without_thoughts(deep.clone()), Some(deep));
        let picture = answer(r#"{"text" : "","image":"i"}"#);
        assert_eq!(without_thoughts(picture.clone()), Some(picture));
    }

    #[test]
    fn fuzz_no_piece_of_a_thought_is_seen() {
        let parts: &[&str] = &["<think>", "</think>", "<", "a ", "<b>", "</thinking>", "<Thinking>", "é"];
        let text = vec(select(parts), 0..12).prop_map(|parts| parts.concat());
        fuzz("thoughts", (text, vec(1..5usize, 1..12)), |(text, sizes)| {
            let chars: Vec<char> = text.chars().collect();
            let mut pieces: Vec<String> = Vec::new();
            let (mut at, mut sizes) = (0, sizes.into_iter().cycle());
            while at < chars.len() {
                let end = (at + sizes.next().unwrap_or(1)).min(chars.len());
                pieces.push(chars[at..end].iter().collect());
                at = end;
            }
            let shown = streamed(pieces.iter().map(String::as_str));
            let whole = visible(&text);
            assert!(shown.ends_with(&whole), "{shown:?} {whole:?}");
            assert!(!whole.to_lowercase().contains("</think"), "{whole:?}");
        });
    }
}
