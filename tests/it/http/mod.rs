mod answers;
mod ask_again;
mod bodies;
mod bots;
mod budgets;
mod chatbot_api;
mod chats;
mod conversation_api;
mod events;
mod feed;
mod feed_inputs;
mod feed_limits;
mod feed_outage;
mod feed_visitors;
mod feedback;
mod guide;
mod handover;
mod histories;
mod idempotency;
mod inputs;
mod limits;
mod message_api;
mod metrics;
mod openapi;
mod origins;
mod pages;
mod paging;
mod parameters;
mod question_ids;
pub mod questions;
pub mod raw;
mod refusals;
mod scopes;
mod search;
mod security;
mod sessions;
mod slow;
mod sockets;
mod stops;
mod stops_across;
mod takeover;
mod texts;
mod typing;
mod undo;
mod walks;
pub mod wire;

use crate::support::TestApp;

/// The unknown id of these tests: no database gets that far.
pub const UNKNOWN: i64 = 999_999_999;

/// A conversation with one question of a visitor, arranged behind the API.
pub struct Chat {
    pub id: i64,
    pub message: i64,
    pub session: String,
}

impl Chat {
    async fn on(app: &TestApp, bot_id: &str) -> Self {
        let appended = crate::store::create(app.store(), bot_id, &["halo"]).await;
        Self {
            id: appended.conversation.id.0,
            message: appended.messages[0].id.0,
            session: appended.conversation.session_id.to_string(),
        }
    }
}

pub const UNAUTHENTICATED: &str = r#"{"status":401,"message":"unauthenticated","error":"Unathorized"}"#;
pub const FORBIDDEN: &str = r#"{"status":403,"message":"forbidden","error":"Forbidden"}"#;
/// The same for a page of another origin, where no public URL is set.
pub const FOREIGN_PAGE: &str = r#"{"status":403,"message":"forbidden","error":"Forbidden","hint":"The page's origin is not the server's own. Behind a proxy, set server.public_url to the address that browsers use; a page of another site has to be in server.allowed_origins."}"#;
pub const CONVERSATION_ID_INVALID: &str = r#"{"status":400,"error":"ConversationId is Invalid"}"#;
pub const MESSAGE_ID_INVALID: &str = r#"{"status":400,"error":"MessageId is Invalid"}"#;
/// The Chatbot API's answer to an id that is no number.
const ID_INVALID: &str = r#"{"status":400,"message":"Validation failure","error":"invalid id"}"#;
/// The Chatbot API's answer to an id that it does not know.
pub const NOT_FOUND: &str = r#"{"status":404,"message":"not found","error":"data not found"}"#;
pub const SESSION_NOT_FOUND: &str =
    r#"{"status":404,"message":"Not found","error":"Conversation with your session_id is not found"}"#;

/// What a rule allows of a field, as clients are told; `None` for a rule without bounds.
fn allowed(rule: &str, field: &str) -> Option<String> {
    match rule {
        "range" => {
            let (start, stop) = match field {
                "page" => (1, i64::MAX),
                "limit" => (1, 100),
                _ => (0, i64::MAX),
            };
            Some(format!(r#"{{"start":{start},"stop":{stop}}}"#))
        }
        "maxLength" => {
            let most = match field {
                "message" => 65_536,
                "room" | "Idempotency-Key" => 255,
                "email" => 254,
                "password" => 1024,
                _ => 64,
            };
            Some(format!(r#"{{"maxLength":{most}}}"#))
        }
        "minLength" => Some(r#"{"minLength":16}"#.into()),
        "enum" if field == "order" => Some(r#"{"choices":["asc","desc"]}"#.into()),
        "enum" => Some(r#"{"choices":["bot","human"]}"#.into()),
        _ => None,
    }
}

/// In whose shape broken rules are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The Conversation API's and the Message API's.
    Rooms,
    /// The Chatbot API's, and that of what stands beyond the documents.
    Chatbot,
}

impl Shape {
    /// The body that names these broken rules, each with its field.
    pub fn broken(self, rules: &[(&str, &str)]) -> String {
        let errors: Vec<String> = rules
            .iter()
            .map(|(rule, field)| {
                let args = allowed(rule, field).map(|args| format!(r#","args":{args}"#)).unwrap_or_default();
                format!(r#"{{"rule":"{rule}","field":"{field}","message":"{rule} validation failed"{args}}}"#)
            })
            .collect();
        let failure = match self {
            Shape::Rooms => r#""error":"Validation Error""#,
            Shape::Chatbot => r#""message":"Validation failure""#,
        };
        format!(r#"{{"status":400,{failure},"errors":[{}]}}"#, errors.join(","))
    }
}
