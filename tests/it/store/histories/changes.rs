//! What happens between groups: one change after the other, each with what it returns.

use wicara_model::{
    ConversationId, ConversationPatch, Ending, FailureReason, Handler, HandoverReason, Message, MessageId,
    MessagePatch, Timestamp,
};
use wicara_store::{Handling, Store};

use super::super::{execute, operator};
use super::groups::{BOTS, KINDS, ROLES, TEXTS, payload};
use super::model::{Kept, Mark, Model, REMEMBERED};
use super::undone::{conversation_undone, message_undone};
use super::walks::READERS;
use crate::support::{Database, Dice};

/// Messages of a deleted conversation that go with it; the others follow.
const DELETED_AT_ONCE: usize = 2000;
/// Seconds, such that no sum of them comes near to a lease or to the age at which a key is forgotten.
const PASSING: [i64; 4] = [6_000, 6_000, 40_000, REMEMBERED + 600];

pub async fn change(store: &Store, database: &Database, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    match dice.below(21) {
        0..5 => conversation_update(store, model, dice, at).await,
        5..8 => message_update(store, model, dice, at).await,
        8..11 => message_delete(store, model, dice, at).await,
        11 if dice.percent(50) && model.conversations.len() > 2 => {
            let ids: Vec<_> = model.conversations.keys().copied().collect();
            conversation_delete(store, model, dice.pick(&ids).unwrap()).await;
        }
        11..13 => question_interrupt(store, model, dice, at).await,
        13 => answers_stop(store, model, dice).await,
        14 => conversation_claim(store, model, dice, at).await,
        15 => conversation_release(store, model, dice, at).await,
        16..18 => conversation_seen(store, model, dice).await,
        18 => conversation_undone(store, model, dice, at).await,
        19 => message_undone(store, model, dice, at).await,
        _ => pass(store, database, model, dice).await,
    }
}

pub fn some_conversation(model: &Model, dice: &mut Dice) -> ConversationId {
    let ids: Vec<_> = model.conversations.keys().copied().collect();
    match dice.pick(&model.gone) {
        Some(gone) if dice.percent(5) => gone,
        _ => dice.pick(&ids).unwrap(),
    }
}

async fn conversation_update(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let id = some_conversation(model, dice);
    let handler = dice.pick(&[Handler::Human, Handler::Bot]);
    let patch = ConversationPatch {
        room: dice.percent(10).then(|| "r3".into()),
        integration_type: dice.percent(20).then(|| dice.word(&KINDS)),
        bot_id: dice.percent(30).then(|| dice.word(&BOTS)),
        user_id: dice.percent(10).then(|| "u3".into()),
        handler: handler.filter(|_| dice.percent(40)),
    };
    let updated = store.conversation_update(id, patch.clone(), operator(), at).await.unwrap();
    let now = model.conversations.get(&id).map(|kept| kept.conversation.handler);
    let handler = patch.handler.filter(|handler| Some(*handler) != now);
    let changes = handler.is_some()
        || ConversationPatch { handler: None, ..patch.clone() } != ConversationPatch::default();
    if handler == Some(Handler::Human) {
        model.stop(id, Mark::HandedOver);
    }
    if let Some(kept) = model.conversations.get_mut(&id)
        && changes
    {
        kept.change(at);
        let conversation = &mut kept.conversation;
        conversation.room = patch.room.unwrap_or(conversation.room.clone());
        conversation.integration_type =
            patch.integration_type.unwrap_or(conversation.integration_type.clone());
        conversation.bot_id = patch.bot_id.unwrap_or(conversation.bot_id.clone());
        conversation.user_id = patch.user_id.or(conversation.user_id.clone());
        match handler {
            Some(Handler::Human) => conversation.hand_over(HandoverReason::Operator, None, at),
            Some(Handler::Bot) => conversation.give_back(kept.newest_id),
            None => {}
        }
    }
    assert_handled(model, id, updated);
}

async fn conversation_claim(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let id = some_conversation(model, dice);
    let claimed = store.conversation_claim(id, operator(), false, at).await.unwrap();
    if let Some(kept) = model.conversations.get(&id)
        && kept.conversation.assignee.is_none()
    {
        if kept.conversation.handler == Handler::Bot {
            model.stop(id, Mark::HandedOver);
        }
        let kept = model.conversations.get_mut(&id).unwrap();
        kept.change(at);
        kept.conversation.hand_over(HandoverReason::Operator, Some(operator().author), at);
    }
    assert_handled(model, id, claimed);
}

async fn conversation_release(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let id = some_conversation(model, dice);
    let to = dice.pick(&[Handler::Human, Handler::Bot]).unwrap();
    let released = store.conversation_release(id, operator(), to, at).await.unwrap();
    if let Some(kept) = model.conversations.get_mut(&id) {
        let conversation = &mut kept.conversation;
        match (conversation.handler, to) {
            (Handler::Human, Handler::Bot) => {
                conversation.give_back(kept.newest_id);
                kept.change(at);
            }
            (Handler::Human, Handler::Human) if conversation.assignee.take().is_some() => {
                conversation.unclaimed_since = Some(at);
                kept.change(at);
            }
            _ => {}
        }
    }
    assert_handled(model, id, released);
}

fn assert_handled(model: &Model, id: ConversationId, handling: Handling) {
    match (handling, model.conversations.get(&id)) {
        (Handling::Gone, None) => {}
        (Handling::Done(conversation, newest), Some(kept)) => {
            kept.assert_is(&conversation);
            assert_eq!(newest.as_ref(), kept.messages.last());
        }
        (handling, _) => panic!("conversation {id}: {handling:?}"),
    }
}

async fn conversation_seen(store: &Store, model: &mut Model, dice: &mut Dice) {
    let (id, up_to) = some_message(model, dice);
    let reader = dice.word(&READERS[..2]);
    let seen = store.conversation_seen(id, reader.clone(), up_to).await.unwrap();
    let expected = model.conversations.get(&id).map(|kept| {
        let mark = model.marks.entry((reader, id)).or_insert(MessageId(0));
        *mark = (*mark).max(up_to.min(kept.newest_id));
        *mark
    });
    assert_eq!(seen, expected, "conversation {id} is read up to {up_to}");
}

async fn answers_stop(store: &Store, model: &mut Model, dice: &mut Dice) {
    let id = some_conversation(model, dice);
    let is_there = store.answers_stop(id).await.unwrap();
    assert_eq!(is_there, model.conversations.contains_key(&id), "answers of conversation {id} are stopped");
    model.stop(id, Mark::Stopped);
}

/// A message and its conversation: a question that is being answered, the newest or one before it, another, or one that
/// is gone.
pub fn some_message(model: &Model, dice: &mut Dice) -> (ConversationId, MessageId) {
    let is_asked = |message: &Message| model.asks.contains_key(&message.id);
    let all = model.conversations.values().flat_map(|kept| &kept.messages);
    let asked: Vec<_> =
        all.filter(|message| is_asked(message)).map(|asked| (asked.conversation_id, asked.id)).collect();
    if let Some(asked) = dice.pick(&asked)
        && dice.percent(30)
    {
        return asked;
    }
    let id = some_conversation(model, dice);
    let newest = model.conversations.get(&id).map_or(&[][..], |kept| &kept.messages);
    let newest = if dice.percent(70) { &newest[newest.len().saturating_sub(2)..] } else { newest };
    (id, dice.pick(newest).map_or(MessageId(i64::MAX), |message| message.id))
}

async fn message_update(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let (id, message_id) = some_message(model, dice);
    let patch = MessagePatch {
        text: dice.percent(50).then(|| dice.word(&TEXTS)),
        kind: dice.percent(20).then(|| "voice".into()),
        role: dice.percent(60).then(|| dice.word(&ROLES)),
    };
    let updated = store.message_update(id, message_id, patch.clone(), at).await.unwrap();
    let expected = with_message(model, id, message_id, |kept, place| {
        let before = kept.messages[place].clone();
        let mut message = Message { updated_at: at, ..before.clone() };
        message.kind = patch.kind.unwrap_or(message.kind);
        message.role = patch.role.unwrap_or(message.role);
        if let Some(text) = patch.text {
            message.payload = message.payload.map(|_| payload(&text));
            message.text = text;
        }
        kept.count(&before, -1);
        kept.count(&message, 1);
        kept.change(at);
        kept.messages[place] = message.clone();
        message
    });
    assert_eq!(updated, expected, "message {message_id} of conversation {id} is updated");
}

pub fn with_message<T>(
    model: &mut Model,
    id: ConversationId,
    message: MessageId,
    change: impl FnOnce(&mut Kept, usize) -> T,
) -> Option<T> {
    let kept = model.conversations.get_mut(&id)?;
    let place = kept.messages.iter().position(|kept| kept.id == message)?;
    Some(change(kept, place))
}

async fn message_delete(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let (id, message_id) = some_message(model, dice);
    let deleted = store.message_delete(id, message_id, at).await.unwrap();
    let expected = with_message(model, id, message_id, |kept, place| {
        let message = kept.messages.remove(place);
        kept.count(&message, -1);
        kept.change(at);
        message
    });
    model.asks.remove(&message_id);
    assert_eq!(deleted, expected, "message {message_id} of conversation {id} is deleted");
}

pub async fn conversation_delete(store: &Store, model: &mut Model, id: ConversationId) {
    let deleted = store.conversation_delete(id).await.unwrap();
    let mut kept = model.conversations.remove(&id).unwrap();
    let (conversation, newest) = deleted.expect("it is there");
    kept.assert_is(&conversation);
    assert_eq!(newest.as_ref(), kept.messages.iter().rfind(|message| !message.is_note()));
    assert_eq!(store.conversation_delete(id).await.unwrap(), None, "conversation {id} is gone");
    model.gone.push(id);
    let rest = kept.messages.split_off(kept.messages.len().min(DELETED_AT_ONCE));
    for message in kept.messages {
        model.asks.remove(&message.id);
    }
    if !rest.is_empty() {
        model.following.insert(id, rest.into_iter().map(|message| message.id).collect());
    }
}

pub async fn conversation_delete_rest(store: &Store, model: &mut Model) {
    store.conversation_delete_rest().await.unwrap();
    for message in std::mem::take(&mut model.following).into_values().flatten() {
        model.asks.remove(&message);
    }
}

async fn question_interrupt(store: &Store, model: &mut Model, dice: &mut Dice, at: Timestamp) {
    let open: Vec<_> =
        model.asks.values().filter(|_| dice.percent(80)).map(|asking| asking.attempt).collect();
    let is_open = {
        let open = open.clone();
        move |attempt| open.contains(&attempt)
    };
    let interrupted = store.question_interrupt(at, is_open).await.unwrap();
    let mut expected = 0;
    for (question, asking) in model.asks.clone() {
        if asking.node == model.node && open.contains(&asking.attempt) {
            continue;
        }
        let has = |kept: &&Kept| kept.messages.iter().any(|message| message.id == question);
        let kept = model.conversations.values().find(has).map(|kept| kept.conversation.id);
        match kept {
            Some(id) => {
                let with_people = model.conversations[&id].conversation.handler == Handler::Human;
                let ending = match asking.mark {
                    _ if with_people => Some(Ending::ForPeople),
                    Mark::HandedOver => Some(Ending::ForPeople),
                    Mark::Stopped => Some(Ending::Stopped),
                    Mark::Wanted => None,
                };
                match ending {
                    Some(Ending::ForPeople) => {
                        model.asks.remove(&question);
                    }
                    Some(_) => model.fail(id, question, FailureReason::Stopped, at),
                    None => {
                        model.fail(id, question, FailureReason::Interrupted, at);
                        expected += 1;
                    }
                }
                model.end(id, question, ending);
            }
            None => {
                model.asks.remove(&question);
            }
        }
    }
    assert_eq!(interrupted, expected, "questions are interrupted");
}

/// Lets time pass by the database's clock, as far as keys go.
async fn pass(store: &Store, database: &Database, model: &mut Model, dice: &mut Dice) {
    let seconds = dice.pick(&PASSING).unwrap();
    let millis = seconds * 1000;
    let sql = format!(
        "UPDATE idempotency SET created_at = created_at - {millis}, lease_until = lease_until - {millis}"
    );
    execute(database, &sql).await;
    model.seconds += seconds;
    if dice.percent(50) {
        store.idempotency_expire().await.unwrap();
        let now = model.seconds;
        model.keys.retain(|_, key| now - key.created <= REMEMBERED);
    }
}
