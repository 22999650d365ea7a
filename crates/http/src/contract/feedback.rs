//! What visitors think of answers. The three documents do not have it.

use serde::Serialize;
use utoipa::ToSchema;
use wicara_model as model;

use super::visitor_thread::ThreadMessage;
use super::wording;
use crate::input::{FEEDBACK_TEXT, Input};

/// `PUT /api/questions/:session_id/messages/:id/feedback`: the request.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "value": 1, "text": "Clear, thank you" }))]
pub struct AnswerFeedback {
    /// 1: it helped; -1: it did not; 0 takes back what was said.
    #[schema(minimum = -1, maximum = 1)]
    pub value: i64,
    /// Why. Not kept beside 0.
    #[schema(max_length = 1000)]
    pub text: Option<String>,
}

impl AnswerFeedback {
    pub fn read(input: &mut Input) -> Self {
        Self { value: input.number("value", -1, 1), text: input.optional(FEEDBACK_TEXT) }
    }

    /// `None`: it is taken back.
    pub fn said(self) -> Option<(i64, Option<String>)> {
        (self.value != 0).then_some((self.value, self.text))
    }
}

/// `PUT /api/questions/:session_id/messages/:id/feedback`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackKept<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: ThreadMessage<'a>,
}

impl<'a> FeedbackKept<'a> {
    /// `shows_names`: whether visitors are told the names of those who answer.
    #[must_use]
    pub fn new(message: &'a model::Message, shows_names: bool) -> Self {
        let data = ThreadMessage::new(message, shows_names);
        Self { status: 200, message: wording::SUCCESS, data }
    }
}
