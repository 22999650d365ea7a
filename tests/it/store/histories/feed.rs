//! A reader that knows what is stored from the feed alone: it applies each event to what it has, and reads the content of
//! an entry when an event names it.

use std::collections::BTreeMap;

use wicara_model::{Change, Conversation, ConversationId, EventNumber, Message, MessageId};
use wicara_store::{EventsOf, Store};

use super::model::Model;
use super::tables;

#[derive(Default)]
pub struct Follower {
    reached: EventNumber,
    conversations: BTreeMap<ConversationId, Conversation>,
    messages: BTreeMap<MessageId, Message>,
}

impl Follower {
    /// Reads the feed to its head.
    pub async fn follow(&mut self, store: &Store) {
        loop {
            let page = store.event_list(self.reached, EventsOf::All).await.unwrap();
            let expected = self.reached.0 + 1..;
            let numbers: Vec<_> = page.events.iter().map(|event| event.number.0).collect();
            assert_eq!(numbers, expected.take(numbers.len()).collect::<Vec<_>>(), "no number is left out");
            for event in page.events {
                self.apply(store, event.change).await;
            }
            self.reached = page.reached;
            if !page.has_more {
                return;
            }
        }
    }

    async fn apply(&mut self, store: &Store, change: Change) {
        let conversation = change.conversation();
        match change {
            Change::ConversationDeleted { id, .. } => {
                assert!(self.conversations.remove(&id).is_some(), "conversation {id} was deleted unseen");
                self.messages.retain(|_, message| message.conversation_id != id);
                return;
            }
            Change::ConversationCreated { id, is_restored: true, .. } => {
                // It is back: there is more to read of it.
                let messages = tables::messages(store, id).await;
                self.messages.extend(messages.into_iter().map(|message| (message.id, message)));
            }
            Change::MessageDeleted { id, was_shown, .. } => {
                let message = self.messages.remove(&id);
                // It may be deleted before the reader has read it once.
                if let Some(message) = message {
                    assert_eq!(was_shown, !message.is_note());
                }
            }
            Change::MessageCreated { id, .. } | Change::MessageUpdated { id, .. } => {
                match store.message_get(id).await.unwrap() {
                    Some(found) => self.messages.insert(id, found.message),
                    // Its deletion follows, of what it became with this change.
                    None => self.messages.remove(&id),
                };
            }
            _ => {}
        }
        if let Some(id) = conversation
            && let Some(found) = store.conversation_get(id).await.unwrap()
        {
            self.conversations.insert(id, found);
        } else if let Some(id) = conversation {
            // Its deletion follows.
            self.conversations.entry(id).or_insert_with(|| placeholder(id));
        }
    }

    pub fn compare(&self, model: &Model) {
        let ids = |kept: &mut dyn Iterator<Item = ConversationId>| kept.collect::<Vec<_>>();
        assert_eq!(
            ids(&mut self.conversations.keys().copied()),
            ids(&mut model.conversations.keys().copied()),
            "the conversations by the feed"
        );
        for (id, kept) in &model.conversations {
            kept.assert_is(&self.conversations[id]);
        }
        let expected = model.conversations.values().flat_map(|kept| &kept.messages);
        let expected: BTreeMap<_, _> = expected.map(|message| (message.id, message)).collect();
        assert_eq!(
            self.messages.iter().map(|(id, message)| (*id, message)).collect::<BTreeMap<_, _>>(),
            expected
        );
    }
}

/// A conversation that was opened and deleted between two reads.
fn placeholder(id: ConversationId) -> Conversation {
    super::new_conversation("gone").open(id, wicara_model::Timestamp(0))
}
