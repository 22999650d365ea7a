//! Deletions that are undone at once: what they leave is what was there.

use std::time::Duration;

use wicara_model::Timestamp;
use wicara_store::Store;

use super::changes::{some_conversation, some_message, with_message};
use super::model::Model;
use crate::support::Dice;

const TIME: Duration = Duration::from_secs(300);

pub async fn conversation_undone(store: &Store, model: &Model, dice: &mut Dice, at: Timestamp) {
    let id = some_conversation(model, dice);
    let deleted = store.conversation_delete_undoable(id, TIME).await.unwrap();
    assert_eq!(store.conversation_get(id).await.unwrap(), None, "conversation {id} is gone");
    let restored = store.conversation_restore(id, at).await.unwrap();
    match (model.conversations.get(&id), deleted, restored) {
        (None, None, None) => {}
        (Some(kept), Some((deleted, _)), Some((restored, newest))) => {
            kept.assert_is(&deleted);
            kept.assert_is(&restored);
            assert_eq!(newest.as_ref(), kept.messages.last());
        }
        (_, deleted, restored) => panic!("conversation {id}: {deleted:?}, {restored:?}"),
    }
}

pub async fn message_undone(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let (id, message_id) = some_message(model, dice);
    let deleted = store.message_delete_undoable(id, message_id, TIME, at).await.unwrap();
    assert_eq!(store.message_get(message_id).await.unwrap(), None, "message {message_id} is gone");
    let restored = store.message_restore(id, message_id, at).await.unwrap();
    let expected = with_message(model, id, message_id, |kept, place| {
        kept.change(at);
        kept.messages[place].clone()
    });
    // Nobody is asked for an answer to a question that was gone.
    model.asks.remove(&message_id);
    assert_eq!((&deleted, &restored), (&expected, &expected), "message {message_id} of conversation {id}");
}
