//! The template of a request body: JSON with placeholders for the question, its id and the session id.

use std::fmt;

use serde::de::IgnoredAny;
use wicara_model::{Json, Question};

const PLACEHOLDERS: &str = "{{question}}, {{question_id}}, {{session_id}}";

#[derive(Clone)]
enum TemplateSegment {
    Text(String),
    Question,
    QuestionId,
    SessionId,
}

/// A JSON text with `{{question}}`, `{{question_id}}` and `{{session_id}}` where JSON strings belong.
#[derive(Clone)]
pub struct Template(Vec<TemplateSegment>);

impl Template {
    /// The error is a sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(format!("a {{{{ is not closed; the places to fill in are {PLACEHOLDERS}"));
            };
            segments.push(TemplateSegment::Text(before.to_owned()));
            segments.push(match name.trim() {
                "question" => TemplateSegment::Question,
                "question_id" => TemplateSegment::QuestionId,
                "session_id" => TemplateSegment::SessionId,
                name => {
                    return Err(format!(
                        "there is nothing to fill in for {{{{{name}}}}}, only for {PLACEHOLDERS}"
                    ));
                }
            });
            rest = after;
        }
        segments.push(TemplateSegment::Text(rest.to_owned()));
        let template = Self(segments);
        let sample = template.fill(&Question {
            id: wicara_model::MessageId(1),
            session_id: uuid::Uuid::nil(),
            text: "a question".to_owned(),
            history: Vec::new(),
        });
        match serde_json::from_str::<IgnoredAny>(&sample) {
            Ok(_) => Ok(template),
            Err(error) => Err(format!(
                "filled in, it is no JSON ({error}); {PLACEHOLDERS} bring their own quotes and stand alone as a value"
            )),
        }
    }

    /// The body for a question.
    #[must_use]
    pub fn fill(&self, question: &Question) -> String {
        let mut body = String::new();
        for segment in &self.0 {
            match segment {
                TemplateSegment::Text(text) => body.push_str(text),
                TemplateSegment::Question => body.push_str(Json::of(question.text.as_str()).as_str()),
                TemplateSegment::QuestionId => body.push_str(Json::of(&question.key()).as_str()),
                TemplateSegment::SessionId => body.push_str(Json::of(&question.session_id).as_str()),
            }
        }
        body
    }
}

/// The operator's text may hold a secret.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question {
            id: wicara_model::MessageId(1),
            session_id: uuid::Uuid::nil(),
            text: text.to_owned(),
            history: Vec::new(),
        }
    }

    #[test]
    fn what_is_asked_stands_in_the_body_as_a_json_value() {
        let template = Template::parse(r#"{"q": {{question}}, "s":{"id":{{ session_id }}}}"#).unwrap();
        let text = "He said \"{{session_id}}\"\\\n\t\u{1f468}\u{200d}\u{1f469} \u{0} ٣ e\u{301}";
        let body: serde_json::Value = serde_json::from_str(&template.fill(&question(text))).unwrap();
        assert_eq!(body, serde_json::json!({"q": text, "s": {"id": "00000000-0000-0000-0000-000000000000"}}));
    }

    #[test]
    fn the_id_of_the_question_is_its_key() {
        let asked = question("x");
        let template = Template::parse(r#"{"id": {{question_id}}}"#).unwrap();
        assert_eq!(template.fill(&asked), format!(r#"{{"id": "{}"}}"#, asked.key()));
    }

    #[test]
    fn a_template_without_placeholders_is_sent_as_it_is() {
        let template = Template::parse(r#"{"a" : [1.0]}"#).unwrap();
        assert_eq!(template.fill(&question("x")), r#"{"a" : [1.0]}"#);
    }

    #[test]
    fn a_template_that_gives_no_json_is_refused_with_the_reason() {
        for (text, reason) in [
            (r#"{"q": "{{question}}"}"#, "bring their own quotes"),
            (r#"{"q": {{question}}"#, "filled in, it is no JSON"),
            ("", "filled in, it is no JSON"),
            ("question={{question}}", "filled in, it is no JSON"),
            (
                r#"{"q": {{message}}}"#,
                "nothing to fill in for {{message}}, only for {{question}}, {{question_id}}, {{session_id}}",
            ),
            (r#"{"q": {{question"#, "a {{ is not closed"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
