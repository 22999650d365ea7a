//! What an event is about, also where that is gone.

use wicara_model::{Change, ConversationId, MessageId};
use wicara_service::FeedEvent;

pub fn conversation_of(event: &FeedEvent) -> ConversationId {
    event.event.change.conversation().unwrap_or(ConversationId(0))
}

pub fn message_of(event: &FeedEvent) -> (MessageId, ConversationId) {
    match &event.event.change {
        Change::MessageCreated { id, conversation_id, .. }
        | Change::MessageUpdated { id, conversation_id, .. }
        | Change::MessageDeleted { id, conversation_id, .. } => (*id, *conversation_id),
        _ => (MessageId(0), conversation_of(event)),
    }
}

/// The conversation and the newest message that was seen.
pub fn seen_of(event: &FeedEvent) -> (ConversationId, MessageId) {
    match &event.event.change {
        Change::Seen { conversation_id, up_to, .. } => (*conversation_id, *up_to),
        _ => (conversation_of(event), MessageId(0)),
    }
}
