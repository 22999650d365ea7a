//! Live events of other nodes. Each node sends what its own bots said since the last time, for all answers together, and who
//! typed; the others show it to their streams. A node that has missed the beginning of an answer asks for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use wicara_model::{ConversationId, MessageId};
use wicara_store::MAX_BUS_MESSAGE;

use super::live::{LiveEvent, LiveShown, TypingBy};
use crate::Service;

/// Between two messages.
const INTERVAL: Duration = Duration::from_millis(100);
/// Messages that wait to be sent; while they do, text collects.
const WAITING: usize = 16;
/// Bytes of text in one message at most: escaped, six bytes of JSON for each are the worst.
const MAX_TEXT: usize = (MAX_BUS_MESSAGE - 400) / 6;

/// What nodes tell each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BusMessage {
    Text {
        conversation: i64,
        reply_to: i64,
        bot: String,
        /// UTF-16 units of the text before.
        offset: usize,
        text: String,
    },
    Finished {
        conversation: i64,
        reply_to: i64,
    },
    Typing {
        conversation: i64,
        bot: String,
        by_visitor: bool,
    },
    /// The sender lacks the beginning of an answer.
    Want {
        conversation: i64,
        reply_to: i64,
    },
}

impl Service {
    /// Tells the other nodes and listens to them until the future is dropped.
    pub(super) async fn feed_bus(&self) {
        let (outgoing, sent) = mpsc::channel(WAITING);
        tokio::join!(
            self.feed.store.bus_run(sent, |message| self.bus_receive(message, &outgoing)),
            self.bus_send(outgoing.clone())
        );
    }

    async fn bus_send(&self, outgoing: mpsc::Sender<String>) {
        if !self.feed.store.is_shared() {
            return;
        }
        let mut shown = LiveShown::default();
        loop {
            tokio::time::sleep(INTERVAL).await;
            for wanted in self.feed.live.take_wanted() {
                shown.forget(wanted);
            }
            for (event, bot) in shown.advance_own(&self.feed.live) {
                for message in messages(event, &bot) {
                    if outgoing.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn bus_receive(&self, message: &str, outgoing: &mpsc::Sender<String>) {
        let Ok(message) = serde_json::from_str(message) else { return };
        let live = &self.feed.live;
        let conversation = match message {
            BusMessage::Text { conversation, reply_to, bot, offset, text } => {
                let (id, question) = (ConversationId(conversation), MessageId(reply_to));
                if !live.push_of_another(id, question, &bot, offset, &text)
                    && let Ok(want) = serde_json::to_string(&BusMessage::Want { conversation, reply_to })
                {
                    // Where there is no room now, the next text asks again.
                    let _ = outgoing.try_send(want);
                }
                conversation
            }
            BusMessage::Finished { conversation, reply_to } => {
                live.finish_of_another(ConversationId(conversation), MessageId(reply_to));
                conversation
            }
            BusMessage::Typing { conversation, bot, by_visitor } => {
                let by = if by_visitor { TypingBy::Visitor } else { TypingBy::Agent };
                live.type_in_of_another(ConversationId(conversation), &bot, by);
                conversation
            }
            BusMessage::Want { conversation, reply_to } => {
                live.want((ConversationId(conversation), MessageId(reply_to)));
                return;
            }
        };
        self.feed.waiters().signal_live(ConversationId(conversation));
    }
}

/// The messages that tell of an event, each short enough for the bus.
fn messages(event: LiveEvent, bot: &str) -> Vec<String> {
    let bot = bot.to_owned();
    let messages = match event {
        LiveEvent::Started { conversation_id, reply_to } => vec![BusMessage::Text {
            conversation: conversation_id.0,
            reply_to: reply_to.0,
            bot,
            offset: 0,
            text: String::new(),
        }],
        LiveEvent::Delta { conversation_id, reply_to, text, mut offset } => {
            let piece = |text: &str| {
                let message = BusMessage::Text {
                    conversation: conversation_id.0,
                    reply_to: reply_to.0,
                    bot: bot.clone(),
                    offset,
                    text: text.to_owned(),
                };
                offset += text.encode_utf16().count();
                message
            };
            pieces(&text, MAX_TEXT).map(piece).collect()
        }
        LiveEvent::Finished { conversation_id, reply_to } => {
            vec![BusMessage::Finished { conversation: conversation_id.0, reply_to: reply_to.0 }]
        }
        LiveEvent::Typing { conversation_id, by } => vec![BusMessage::Typing {
            conversation: conversation_id.0,
            bot,
            by_visitor: by == TypingBy::Visitor,
        }],
    };
    let json = messages.iter().filter_map(|message| serde_json::to_string(message).ok());
    json.filter(|message| message.len() <= MAX_BUS_MESSAGE).collect()
}

/// A text in pieces of at most `most` bytes, none of which ends within a character.
fn pieces(mut text: &str, most: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = text.floor_char_boundary(most);
        let (piece, rest) = text.split_at(end);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_crosses_in_messages_that_fit() {
        let text = "é\u{1}😀".repeat(3000);
        let (conversation_id, reply_to) = (ConversationId(i64::MAX), MessageId(i64::MAX));
        let event = LiveEvent::Delta { conversation_id, reply_to, text: text.clone(), offset: 5 };
        let messages = messages(event, "a bot");
        let mut joined = String::new();
        for message in &messages {
            assert!(message.len() <= MAX_BUS_MESSAGE, "{}", message.len());
            let BusMessage::Text { offset, text, .. } = serde_json::from_str(message).unwrap() else {
                panic!()
            };
            assert_eq!(offset, 5 + joined.encode_utf16().count());
            joined.push_str(&text);
        }
        assert_eq!(joined, text);
    }
}
