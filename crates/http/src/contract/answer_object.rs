//! The answer object of the Chatbot API: a bot's answer.

use serde_json::from_str;
use utoipa::ToSchema;
use uuid::Uuid;
use wicara_model::{Json, Message, Object, flow_id};

/// Namespace of the UUIDs that are made of a message's id, for answers whose bot sent no `id`.
const ANSWER_IDS: Uuid = Uuid::from_u128(0xb7a5_3c0e_55d1_4f0a_9d0c_3a6d_5a8e_41f2);

/// A stored answer as `POST /api/questions` returns it: the fields that the bot sent, and defaults for the missing
/// ones.
#[must_use]
pub fn answer_object(answer: &Message, bot_id: &str) -> Object {
    let id = Uuid::new_v5(&ANSWER_IDS, answer.id.to_string().as_bytes());
    answer_object_of(answer.payload.as_ref(), &answer.text, id, bot_id)
}

/// The same of an answer that may not be stored. `id`: for one whose bot sent none.
#[must_use]
pub fn answer_object_of(payload: Option<&Json>, text: &str, id: Uuid, bot_id: &str) -> Object {
    let sent = payload.and_then(|payload| from_str(payload.as_str()).ok());
    let mut object: Object = sent.unwrap_or_default();
    object.or_insert("text", || Json::of(text));
    complete(&mut object, "properties", |properties| {
        complete(properties, "source", |source| {
            for name in ["id", "display_name", "source"] {
                source.or_insert(name, || Json::of(bot_id));
            }
        });
        properties.or_insert("icon", || Json::of(""));
        properties.or_insert("allow_markdown", || Json::of(&false));
        properties.or_insert("state", || Json::of("complete"));
        properties.or_insert("text_color", || Json::of(""));
        properties.or_insert("background_color", || Json::of(""));
    });
    object.or_insert("category", || Json::of("message"));
    object.or_insert("id", || Json::of(&id));
    object.or_insert("flow_id", || Json::of(&flow_id(bot_id)));
    object.or_insert("suggest_links", || Json::of(&[(); 0]));
    object
}

/// Lets `add` complete the object in a field. A value that is no object, or is complete, keeps the bot's exact text.
fn complete(object: &mut Object, field: &str, add: impl FnOnce(&mut Object)) {
    let inner = object.get(field).map_or(Ok(Object::default()), |sent| from_str(sent.as_str()));
    if let Ok(sent) = inner {
        let mut completed = sent.clone();
        add(&mut completed);
        if completed != sent {
            object.set(field, Json::of(&completed));
        }
    }
}

/// One answer of a bot. What a bot sends beyond these fields passes through.
#[derive(ToSchema)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct AnswerObject {
    #[schema(example = "halo")]
    text: String,
    properties: Properties,
    #[schema(example = "message")]
    category: String,
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    /// Stays the same for a bot.
    #[schema(value_type = String, format = "uuid")]
    flow_id: Uuid,
    suggest_links: Vec<SuggestLink>,
}

#[derive(ToSchema)]
#[schema(as = AnswerProperties)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
struct Properties {
    source: Source,
    #[schema(example = "OpenAI")]
    icon: String,
    #[schema(example = false)]
    allow_markdown: bool,
    #[schema(example = "complete")]
    state: String,
    #[schema(example = "")]
    text_color: String,
    #[schema(example = "")]
    background_color: String,
}

/// What gave the answer.
#[derive(ToSchema)]
#[schema(as = AnswerSource)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
struct Source {
    #[schema(example = "OpenAIModel-b1JlZ")]
    id: String,
    #[schema(example = "OpenAI")]
    display_name: String,
    #[schema(example = "gpt-4o-mini")]
    source: String,
}

/// Where to read on.
#[derive(ToSchema)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
struct SuggestLink {
    title: String,
    url: String,
}
