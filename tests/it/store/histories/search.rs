//! Searches with random queries, against the model, which compares the words of every text.

use std::collections::BTreeMap;

use wicara_model::{
    ActivityFilter, Bots, ConversationFilter, ConversationId, Cursor, Handler, Listing, MessageId,
    MessageWalkFilter, Order, Sort, Walked, role,
};
use wicara_search::{Query, matches};
use wicara_store::{ConversationSearch, ConversationWalk, Embed, Hit, MessageSearch, MessageWalk, Store};

use super::groups::{BOTS, ROLES};
use super::model::{Kept, Model};
use crate::support::Dice;

/// Searches that are compared each time.
const SEARCHES: usize = 6;

/// Pieces of queries. Each is in some text, or in none.
const PIECES: [&str; 26] = [
    "halo",
    "kartu",
    "hilang",
    "card",
    "cards",
    "kirim",
    "dikirim",
    "sending",
    "renewal",
    "elan",
    "E\u{301}LAN",
    "POL-358",
    "358",
    "\"kartu hilang\"",
    "\"hilang kartu\"",
    "\"terima kasih\"",
    "kar*",
    "ter*",
    "\"lost card\"",
    "日本",
    "語",
    "ไทย",
    "محمد",
    "שלום",
    "website",
    "r1",
];

fn some_query(dice: &mut Dice) -> (String, Query) {
    let mut text = dice.word(&PIECES);
    for _ in 0..dice.below(3) {
        let minus = if dice.percent(30) { "-" } else { "" };
        text = format!("{text} {minus}{}", dice.word(&PIECES));
    }
    let query = Query::parse(&text).unwrap();
    (text, query)
}

fn some_bots(dice: &mut Dice) -> Bots {
    match dice.below(4) {
        0..2 => Bots::All,
        2 => Bots::Only(vec![dice.word(&BOTS)]),
        _ => Bots::Only(vec!["seldom".into(), "once".into()]),
    }
}

pub async fn compare(store: &Store, model: &Model, dice: &mut Dice) {
    // What moved is written anew in steps.
    while store.search_move_step().await.unwrap() {}
    // Messages of deleted conversations are found until they are deleted, and left out when they are read.
    if !model.following.is_empty() {
        return;
    }
    for _ in 0..SEARCHES {
        let (bots, (text, query)) = (some_bots(dice), some_query(dice));
        conversations(store, model, &bots, (&text, &query), dice).await;
        messages(store, model, &bots, (&text, &query), dice).await;
    }
}

/// The highest document of a conversation that matches, and what it is.
fn hit(kept: &Kept, query: &Query, notes: bool) -> Option<(i64, Hit)> {
    let conversation = &kept.conversation;
    let names = format!("{} {}", conversation.room, conversation.user_id.as_deref().unwrap_or_default());
    if matches(&names, query) {
        return Some((i64::MAX / 2 + conversation.id.0, Hit::Names));
    }
    let shown = kept.messages.iter().filter(|message| notes || message.role != role::NOTE);
    let newest = shown.filter(|message| matches(&message.text, query)).map(|message| message.id).max()?;
    Some((newest.0, Hit::Message(newest)))
}

async fn conversations(
    store: &Store,
    model: &Model,
    bots: &Bots,
    (text, query): (&str, &Query),
    dice: &mut Dice,
) {
    let notes = dice.percent(60);
    let handler = dice.pick(&[Handler::Human, Handler::Bot]).filter(|_| dice.percent(30));
    let limit = dice.pick(&[1, 3, 7, 100]).unwrap();
    let walk = ConversationWalk {
        filter: ConversationFilter {
            bot_id: dice.percent(15).then(|| dice.word(&BOTS)),
            ..Default::default()
        },
        activity: ActivityFilter { handler, ..Default::default() },
        reader: None,
        sort: Sort::Created,
        listing: Listing { cursor: Cursor::Page(1), limit, order: Order::Descending },
        after: None,
    };
    let is_listed = |kept: &&Kept| {
        bots.contain(&kept.conversation.bot_id)
            && walk.filter.bot_id.as_ref().is_none_or(|bot| *bot == kept.conversation.bot_id)
            && handler.is_none_or(|handler| handler == kept.conversation.handler)
    };
    let found = model.conversations.values().filter(is_listed);
    let mut expected: Vec<_> = found
        .filter_map(|kept| hit(kept, query, notes).map(|(place, hit)| (place, kept.conversation.id, hit)))
        .collect();
    expected.sort_unstable_by_key(|(place, id, _)| (-place, *id));
    let of: BTreeMap<ConversationId, Hit> = expected.iter().map(|(_, id, hit)| (*id, *hit)).collect();
    let expected: Vec<_> = expected.into_iter().map(|(_, id, _)| id).collect();
    let total = i64::try_from(expected.len()).unwrap();
    for is_by_relevance in [false, true] {
        let what = format!("{text:?}, notes {notes}, relevance {is_by_relevance}, {bots:?}, {walk:?}");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let walk = ConversationWalk { after, ..walk.clone() };
            let search = ConversationSearch { query: query.clone(), is_by_relevance, notes, walk };
            let searched = store.conversation_search(bots, &search, Embed::Last).await.unwrap();
            let Walked { is_exact, next, indexed_from } = searched.list.walked.unwrap();
            assert_eq!((searched.list.total, is_exact, indexed_from), (total, true, None), "{what}");
            for listed in &searched.list.items {
                let id = listed.conversation.id;
                let expected = of.get(&id).copied();
                // By relevance another document of the conversation may be the best one.
                assert!(is_by_relevance || searched.hits.get(&id).copied() == expected, "{id}: {what}");
                model.conversations[&id].assert_is(&listed.conversation);
            }
            assert!(next.is_none() || searched.list.items.len() as i64 == limit, "{what}");
            found.extend(searched.list.items.iter().map(|listed| listed.conversation.id));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut expected = expected.clone();
        if is_by_relevance {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{what}");
    }
    let number = dice.below(expected.len() / usize::try_from(limit).unwrap() + 2);
    let cursor = Cursor::Page(i64::try_from(number + 1).unwrap());
    let walk = ConversationWalk { listing: Listing { cursor, ..walk.listing }, ..walk.clone() };
    let search = ConversationSearch { query: query.clone(), is_by_relevance: false, notes, walk };
    let searched = store.conversation_search(bots, &search, Embed::Newest).await.unwrap();
    let found: Vec<_> = searched.list.items.iter().map(|listed| listed.conversation.id).collect();
    let expected = expected.chunks(usize::try_from(limit).unwrap()).nth(number).unwrap_or_default();
    assert_eq!(found, expected, "page {number} of {text:?}");
}

async fn messages(store: &Store, model: &Model, bots: &Bots, (text, query): (&str, &Query), dice: &mut Dice) {
    let ids: Vec<_> = model.conversations.keys().copied().collect();
    // Of a longer one a page compares only a part.
    let of = dice.pick(&ids).filter(|id| dice.percent(30) && model.conversations[id].messages.len() < 2000);
    if of.is_some_and(|id| !bots.contain(&model.conversations[&id].conversation.bot_id)) {
        return;
    }
    let role = dice.percent(40).then(|| dice.word(&ROLES));
    let is_listed = |kept: &&Kept| {
        bots.contain(&kept.conversation.bot_id) && of.is_none_or(|id| id == kept.conversation.id)
    };
    let all = model.conversations.values().filter(is_listed).flat_map(|kept| &kept.messages);
    let found = all.filter(|message| {
        role.as_ref().is_none_or(|role| *role == message.role) && matches(&message.text, query)
    });
    let mut expected: Vec<MessageId> = found.map(|message| message.id).collect();
    expected.sort_unstable();
    expected.reverse();
    let limit = dice.pick(&[1, 7, 100]).unwrap();
    for is_by_relevance in [false, true] {
        let what = format!("{text:?} of {of:?}, {role:?}, relevance {is_by_relevance}, {bots:?}");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let walk = MessageWalk {
                conversation_id: of,
                filter: MessageWalkFilter { role: role.clone(), since: None, until: None },
                listing: Listing { cursor: Cursor::Page(1), limit, order: Order::Ascending },
                after,
            };
            let search = MessageSearch { query: query.clone(), is_by_relevance, walk };
            let list = store.message_search(bots, &search).await.unwrap();
            let Walked { is_exact, next, .. } = list.walked.unwrap();
            let total = i64::try_from(expected.len()).unwrap();
            assert_eq!((list.total, is_exact), (total, true), "{what}");
            found.extend(list.items.iter().map(|message| message.id));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut expected = expected.clone();
        if is_by_relevance {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{what}");
    }
}
