//! Events as operators get them.

use axum::body::Bytes;
use wicara_model::Timestamp;
use wicara_service::{EventKind, FeedConversation, FeedCursor, FeedEvent, LiveEvent};

use super::block::block;
use super::subject::{conversation_of, message_of, seen_of};
use crate::contract::conversation_api::Conversation;
use crate::contract::feed_events::{
    AnswerDeltaEvent, AnswerDeltaKind, AnswerProgressEvent, AnswerProgressKind, ConversationDeletedEvent,
    ConversationDeletedKind, ConversationEvent, ConversationKind, ConversationSeenEvent,
    ConversationSeenKind, GoneConversation, GoneMessage, MessageDeletedEvent, MessageDeletedKind,
    MessageEvent, MessageKind, TypingEvent, TypingKind,
};
use crate::contract::message_api::Message;

/// A durable event of this kind. What has no content any longer is `deleted`. `conversation`: as far as the reader may see
/// it. `has_entered`: it came into the reader's view.
pub fn stored(
    cursor: &FeedCursor,
    event: &FeedEvent,
    kind: EventKind,
    conversation: Option<&FeedConversation>,
    has_entered: bool,
) -> Bytes {
    let at = event.event.at;
    let conversation = conversation.map(shown);
    match (kind, &event.content().message, conversation) {
        (EventKind::ConversationCreated | EventKind::ConversationUpdated, _, Some(conversation)) => {
            let kind = match kind {
                EventKind::ConversationCreated => ConversationKind::Created,
                _ => ConversationKind::Updated,
            };
            let data = ConversationEvent { kind, at, cursor, reload: has_entered, conversation };
            block(kind.as_str(), Some(cursor), &data)
        }
        (EventKind::MessageCreated | EventKind::MessageUpdated, Some(message), conversation) => {
            let kind = match kind {
                EventKind::MessageCreated => MessageKind::Created,
                _ => MessageKind::Updated,
            };
            let message = Message::new(message);
            block(kind.as_str(), Some(cursor), &MessageEvent { kind, at, cursor, message, conversation })
        }
        (
            EventKind::MessageCreated | EventKind::MessageUpdated | EventKind::MessageDeleted,
            _,
            conversation,
        ) => {
            let (id, conversation_id) = message_of(event);
            let (kind, message) = (MessageDeletedKind::Deleted, GoneMessage { id, conversation_id });
            let data = MessageDeletedEvent { kind, at, cursor, message, conversation };
            block(kind.as_str(), Some(cursor), &data)
        }
        (EventKind::ConversationSeen, ..) => {
            let (kind, (conversation_id, up_to)) = (ConversationSeenKind::Seen, seen_of(event));
            let data = ConversationSeenEvent { kind, at, cursor, conversation_id, up_to };
            block(kind.as_str(), Some(cursor), &data)
        }
        _ => {
            let conversation = GoneConversation { id: conversation_of(event) };
            let kind = ConversationDeletedKind::Deleted;
            block(kind.as_str(), Some(cursor), &ConversationDeletedEvent { kind, at, cursor, conversation })
        }
    }
}

pub fn live(at: Timestamp, live: &LiveEvent) -> Bytes {
    match live {
        LiveEvent::Started { conversation_id, reply_to } => {
            let (kind, conversation_id, reply_to) =
                (AnswerProgressKind::Started, *conversation_id, *reply_to);
            block(kind.as_str(), None, &AnswerProgressEvent { kind, at, conversation_id, reply_to })
        }
        LiveEvent::Finished { conversation_id, reply_to } => {
            let (kind, conversation_id, reply_to) =
                (AnswerProgressKind::Finished, *conversation_id, *reply_to);
            block(kind.as_str(), None, &AnswerProgressEvent { kind, at, conversation_id, reply_to })
        }
        LiveEvent::Delta { conversation_id, reply_to, text, offset } => {
            let (kind, conversation_id, reply_to) = (AnswerDeltaKind::Delta, *conversation_id, *reply_to);
            let offset = *offset as u64;
            block(
                kind.as_str(),
                None,
                &AnswerDeltaEvent { kind, at, conversation_id, reply_to, text, offset },
            )
        }
        LiveEvent::Typing { conversation_id, by } => {
            let (kind, conversation_id, by) = (TypingKind::Typing, *conversation_id, by.as_str());
            block(kind.as_str(), None, &TypingEvent { kind, at, conversation_id, by })
        }
    }
}

fn shown(FeedConversation { conversation, newest }: &FeedConversation) -> Conversation<'_> {
    Conversation::new(conversation, newest.as_ref(), None)
}
