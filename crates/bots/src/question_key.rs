//! The header by which a bot recognises a question that it is asked again.

use reqwest::header::{HeaderName, HeaderValue};
use wicara_model::Question;

/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header's value: [`Question::key`].
pub fn question_key(question: &Question) -> HeaderValue {
    HeaderValue::try_from(question.key().to_string()).expect("a UUID is ASCII")
}
