//! Events as visitors get them.

use axum::body::Bytes;
use wicara_model::Timestamp;
use wicara_service::{EventKind, FeedCursor, FeedEvent, LiveEvent, VisitorConversation};

use super::block::block;
use super::subject::{conversation_of, message_of, seen_of};
use crate::contract::feed_events::{
    AnswerDeltaKind, AnswerProgressKind, ConversationDeletedKind, ConversationKind, ConversationSeenKind,
    MessageDeletedKind, MessageKind, TypingKind,
};
use crate::contract::handover::VisitorsConversation;
use crate::contract::visitor_events::{
    GoneVisitorConversation, GoneVisitorMessage, VisitorAnswerDeltaEvent, VisitorAnswerProgressEvent,
    VisitorConversationDeletedEvent, VisitorConversationEvent, VisitorMessageDeletedEvent,
    VisitorMessageEvent, VisitorSeenEvent, VisitorTypingEvent,
};
use crate::contract::visitor_thread::ThreadMessage;

/// A durable event of this kind. What has no content any longer is `deleted`. `conversation`: as far as
/// the reader may see it. `shows_names`: whether visitors are told the names of those who answer.
pub fn stored(
    cursor: &FeedCursor,
    event: &FeedEvent,
    kind: EventKind,
    conversation: Option<&VisitorConversation>,
    shows_names: bool,
) -> Bytes {
    let at = event.event.at;
    let conversation = conversation.map(VisitorsConversation::new);
    match (kind, &event.content().message, conversation) {
        (EventKind::ConversationCreated | EventKind::ConversationUpdated, _, Some(conversation)) => {
            let kind = match kind {
                EventKind::ConversationCreated => ConversationKind::Created,
                _ => ConversationKind::Updated,
            };
            let data = VisitorConversationEvent { kind, at, cursor, conversation };
            block(kind.as_str(), Some(cursor), &data)
        }
        (EventKind::MessageCreated | EventKind::MessageUpdated, Some(message), conversation) => {
            let kind = match kind {
                EventKind::MessageCreated => MessageKind::Created,
                _ => MessageKind::Updated,
            };
            let message = ThreadMessage::new(message, shows_names);
            block(
                kind.as_str(),
                Some(cursor),
                &VisitorMessageEvent { kind, at, cursor, message, conversation },
            )
        }
        (
            EventKind::MessageCreated | EventKind::MessageUpdated | EventKind::MessageDeleted,
            _,
            conversation,
        ) => {
            let (id, conversation_id) = message_of(event);
            let (kind, message) = (MessageDeletedKind::Deleted, GoneVisitorMessage { id, conversation_id });
            let data = VisitorMessageDeletedEvent { kind, at, cursor, message, conversation };
            block(kind.as_str(), Some(cursor), &data)
        }
        (EventKind::ConversationSeen, ..) => {
            let (kind, (conversation_id, up_to)) = (ConversationSeenKind::Seen, seen_of(event));
            let data = VisitorSeenEvent { kind, at, cursor, conversation_id, up_to };
            block(kind.as_str(), Some(cursor), &data)
        }
        _ => {
            let conversation = GoneVisitorConversation { id: conversation_of(event) };
            let kind = ConversationDeletedKind::Deleted;
            block(
                kind.as_str(),
                Some(cursor),
                &VisitorConversationDeletedEvent { kind, at, cursor, conversation },
            )
        }
    }
}

pub fn live(at: Timestamp, live: &LiveEvent) -> Bytes {
    match live {
        LiveEvent::Started { conversation_id, reply_to } => {
            let (kind, conversation_id, reply_to) =
                (AnswerProgressKind::Started, *conversation_id, *reply_to);
            block(kind.as_str(), None, &VisitorAnswerProgressEvent { kind, at, conversation_id, reply_to })
        }
        LiveEvent::Finished { conversation_id, reply_to } => {
            let (kind, conversation_id, reply_to) =
                (AnswerProgressKind::Finished, *conversation_id, *reply_to);
            block(kind.as_str(), None, &VisitorAnswerProgressEvent { kind, at, conversation_id, reply_to })
        }
        LiveEvent::Delta { conversation_id, reply_to, text, offset } => {
            let (kind, conversation_id, reply_to) = (AnswerDeltaKind::Delta, *conversation_id, *reply_to);
            let offset = *offset as u64;
            block(
                kind.as_str(),
                None,
                &VisitorAnswerDeltaEvent { kind, at, conversation_id, reply_to, text, offset },
            )
        }
        LiveEvent::Typing { conversation_id, by } => {
            let (kind, conversation_id, by) = (TypingKind::Typing, *conversation_id, by.as_str());
            block(kind.as_str(), None, &VisitorTypingEvent { kind, at, conversation_id, by })
        }
    }
}
