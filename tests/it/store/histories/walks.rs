//! Lists that are walked, with random filters, against the model.

use std::collections::BTreeMap;

use wicara_model::{
    ActivityFilter, AssigneeFilter, Bots, ConversationFilter, ConversationId, Cursor, Handler, List, Listing,
    MessageWalkFilter, Order, Place, Sort, Timestamp, Walked, role,
};
use wicara_store::{ConversationWalk, Embed, ListedConversation, MessageWalk, Store};

use super::groups::{BOTS, KINDS, ROLES};
use super::model::{Kept, Model};
use super::tables::rows;
use crate::support::{Database, Dice};

/// Lists that are compared each time.
const LISTS: usize = 10;
/// People and programs who have read and claimed something, and one who has not.
pub const READERS: [&str; 3] = ["1", "key-9", "7"];
/// Of a conversation, so many of the newest messages can be unread.
const COUNTED: usize = 1000;
const MINUTE: i64 = 60_000;

/// The minute and the last activity of each conversation, as they are stored: see [`super::tables`] on their ranges.
type Activity = BTreeMap<ConversationId, (i64, i64)>;

pub async fn compare(store: &Store, database: &Database, model: &Model, dice: &mut Dice) {
    let sql = "SELECT conversation_id, minute, updated_at FROM conversation_activity \
         JOIN conversation_states ON id = conversation_id";
    let numbers = |row: String| row.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<i64>>();
    let activity = rows(database, sql).await.into_iter().map(numbers);
    let activity: Activity = activity.map(|row| (ConversationId(row[0]), (row[1], row[2]))).collect();
    for _ in 0..LISTS {
        let (bots, walk) = (some_bots(dice), some_walk(dice, &activity));
        conversations(store, model, &activity, &bots, walk, dice).await;
        let bots = some_bots(dice);
        let walk = some_messages(dice, model);
        messages(store, model, &bots, walk).await;
    }
    for reader in READERS {
        let bots = some_bots(dice);
        counts(store, model, &activity, &bots, reader).await;
    }
}

fn some_bots(dice: &mut Dice) -> Bots {
    match dice.below(6) {
        0..3 => Bots::All,
        3 => Bots::Only(vec![dice.word(&BOTS)]),
        4 => Bots::Only(vec!["seldom".into(), "once".into()]),
        _ => Bots::Only(if dice.percent(30) { vec![] } else { vec!["often".into(), "never".into()] }),
    }
}

fn some_flag(dice: &mut Dice, percent: usize) -> Option<bool> {
    dice.percent(percent).then(|| dice.percent(70))
}

fn some_order(dice: &mut Dice) -> Order {
    dice.pick(&[Order::Ascending, Order::Descending]).unwrap()
}

fn some_walk(dice: &mut Dice, activity: &Activity) -> ConversationWalk {
    let times: Vec<_> = activity.values().map(|(_, at)| *at).collect();
    let time = |dice: &mut Dice| {
        let at = dice.percent(20).then(|| dice.pick(&times)).flatten()?;
        // At a moment in which something happened, the next one, or the beginning of its minute.
        let at = dice.pick(&[at, at + 1, at - at % MINUTE, at - at % MINUTE - 1]).unwrap();
        Some(Timestamp(at))
    };
    let assignee = dice.pick(&[
        AssigneeFilter::Me,
        AssigneeFilter::Nobody,
        AssigneeFilter::Of("1".into()),
        AssigneeFilter::Of("nobody".into()),
    ]);
    ConversationWalk {
        filter: ConversationFilter {
            user_id: dice.percent(10).then(|| dice.word(&["u1", "u3"])),
            bot_id: dice.percent(15).then(|| dice.word(&BOTS)),
            integration_type: dice.percent(20).then(|| dice.word(&KINDS)),
            room: dice.percent(10).then(|| dice.word(&["r1", "r3"])),
        },
        activity: ActivityFilter {
            handler: dice.pick(&[Handler::Human, Handler::Bot]).filter(|_| dice.percent(25)),
            assignee: assignee.filter(|_| dice.percent(25)),
            failed: some_flag(dice, 20),
            unanswered: some_flag(dice, 25),
            unread: some_flag(dice, 25),
            since: time(dice),
            until: time(dice),
        },
        reader: dice.pick(&READERS).filter(|_| dice.percent(90)).map(str::to_owned),
        sort: dice.pick(&[Sort::Activity, Sort::Activity, Sort::Created]).unwrap(),
        listing: Listing {
            cursor: Cursor::Page(1),
            limit: dice.pick(&[1, 3, 7, 100]).unwrap(),
            order: some_order(dice),
        },
        after: None,
    }
}

fn matches(
    model: &Model,
    kept: &Kept,
    (minute, at): (i64, i64),
    bots: &Bots,
    walk: &ConversationWalk,
) -> bool {
    let ConversationWalk { filter, activity, reader, .. } = walk;
    let conversation = &kept.conversation;
    let is = |value: &Option<String>, of: &str| value.as_ref().is_none_or(|value| value == of);
    let has = conversation.assignee.as_ref().map(|assignee| assignee.id.as_str());
    let state = model.state(kept);
    bots.contain(&conversation.bot_id)
        && is(&filter.bot_id, &conversation.bot_id)
        && is(&filter.integration_type, &conversation.integration_type)
        && is(&filter.room, &conversation.room)
        && filter.user_id.as_ref().is_none_or(|user| Some(user) == conversation.user_id.as_ref())
        && activity.handler.is_none_or(|handler| handler == conversation.handler)
        && match &activity.assignee {
            None => true,
            Some(AssigneeFilter::Nobody) => has.is_none(),
            Some(AssigneeFilter::Me) => reader.is_some() && has == reader.as_deref(),
            Some(AssigneeFilter::Of(id)) => has == Some(id),
        }
        && activity.failed.is_none_or(|failed| failed == (state == 2))
        && activity.unanswered.is_none_or(|unanswered| unanswered == (state >= 1))
        && activity.unread.is_none_or(|unread| unread == has_unread(model, kept, reader.as_deref()))
        && activity.since.is_none_or(|since| minute * MINUTE > since.0 || at >= since.0)
        && activity.until.is_none_or(|until| minute < until.0 / MINUTE || at <= until.0)
}

fn has_unread(model: &Model, kept: &Kept, reader: Option<&str>) -> bool {
    let Some(reader) = reader else { return false };
    let mark = model.marks.get(&(reader.to_owned(), kept.conversation.id));
    let since = match (mark, kept.conversation.handed_over_at) {
        (Some(_), _) => Timestamp(i64::MIN),
        (None, Some(since)) => since,
        (None, None) => return false,
    };
    let newer = kept.messages.iter().rev().filter(|message| mark.is_none_or(|mark| message.id > *mark));
    newer.take(COUNTED).any(|message| message.role == role::CLIENT && message.created_at >= since)
}

async fn conversations(
    store: &Store,
    model: &Model,
    activity: &Activity,
    bots: &Bots,
    walk: ConversationWalk,
    dice: &mut Dice,
) {
    let Listing { limit, order, .. } = walk.listing;
    let matching = model
        .conversations
        .values()
        .filter(|kept| matches(model, kept, activity[&kept.conversation.id], bots, &walk));
    let place = |id: ConversationId| match walk.sort {
        Sort::Created => (0, id),
        Sort::Activity => (activity[&id].0, id),
    };
    let mut expected: Vec<_> = matching.map(|kept| place(kept.conversation.id)).collect();
    expected.sort_unstable();
    if order == Order::Descending {
        expected.reverse();
    }
    // Inside a page they are sorted exactly.
    let page = |places: &[(i64, ConversationId)]| {
        let mut ids: Vec<_> = places.iter().map(|(_, id)| *id).collect();
        ids.sort_by_key(|id| (if walk.sort == Sort::Activity { activity[id].1 } else { 0 }, *id));
        if order == Order::Descending {
            ids.reverse();
        }
        ids
    };
    let total = i64::try_from(expected.len()).unwrap();
    let limit = usize::try_from(limit).unwrap();
    let (mut after, mut rest) = (None, &expected[..]);
    loop {
        let list =
            store.conversation_walk(bots, &ConversationWalk { after, ..walk.clone() }, Embed::Last).await;
        let list = list.unwrap();
        let (now, later) = rest.split_at(limit.min(rest.len()));
        assert_eq!(ids(&list), page(now), "after {after:?} for {bots:?} of {walk:?}");
        for listed in &list.items {
            model.conversations[&listed.conversation.id].assert_is(&listed.conversation);
        }
        let Walked { is_exact, next, indexed_from } = list.walked.unwrap();
        assert_eq!((list.total, is_exact, indexed_from), (total, true, None), "for {bots:?} of {walk:?}");
        assert_eq!(next.is_none(), later.is_empty(), "after {after:?} for {bots:?} of {walk:?}");
        (after, rest) = (next, later);
        if after.is_none() {
            break;
        }
    }
    let number = dice.below(expected.len() / limit + 2);
    let cursor = Cursor::Page(i64::try_from(number + 1).unwrap());
    let numbered = ConversationWalk { listing: Listing { cursor, ..walk.listing }, ..walk.clone() };
    let list = store.conversation_walk(bots, &numbered, Embed::Newest).await.unwrap();
    let expected = expected.chunks(limit).nth(number).unwrap_or_default();
    assert_eq!(ids(&list), page(expected), "for {bots:?} of {numbered:?}");
}

fn ids(list: &List<ListedConversation>) -> Vec<ConversationId> {
    list.items.iter().map(|listed| listed.conversation.id).collect()
}

async fn counts(store: &Store, model: &Model, activity: &Activity, bots: &Bots, reader: &str) {
    let count = |filter: ActivityFilter| {
        let walk = ConversationWalk {
            filter: ConversationFilter::default(),
            activity: filter,
            reader: Some(reader.to_owned()),
            sort: Sort::Activity,
            listing: Listing { cursor: Cursor::Page(1), limit: 1, order: Order::Descending },
            after: None,
        };
        let all = model.conversations.values();
        let matching = all.filter(|kept| matches(model, kept, activity[&kept.conversation.id], bots, &walk));
        i64::try_from(matching.count()).unwrap()
    };
    let any = ActivityFilter::default;
    let queue =
        ActivityFilter { handler: Some(Handler::Human), assignee: Some(AssigneeFilter::Nobody), ..any() };
    let expected = wicara_model::ConversationCounts {
        queue: count(queue),
        mine: count(ActivityFilter { assignee: Some(AssigneeFilter::Me), ..any() }),
        unread: count(ActivityFilter { unread: Some(true), ..any() }),
        failed: count(ActivityFilter { failed: Some(true), ..any() }),
        unanswered: count(ActivityFilter { unanswered: Some(true), ..any() }),
        indexed_from: None,
    };
    let counted = store.conversation_counts(bots, Some(reader)).await.unwrap();
    assert_eq!(counted, expected, "for {reader} of {bots:?}");
}

fn some_messages(dice: &mut Dice, model: &Model) -> MessageWalk {
    let ids: Vec<_> = model.conversations.keys().copied().collect();
    let all: Vec<_> = model.conversations.values().flat_map(|kept| &kept.messages).collect();
    let times: Vec<_> = all.iter().map(|message| message.created_at).collect();
    let order = some_order(dice);
    MessageWalk {
        conversation_id: dice.pick(&ids).filter(|_| dice.percent(40)),
        filter: MessageWalkFilter {
            role: dice.percent(60).then(|| dice.word(&ROLES)),
            since: dice.pick(&times).filter(|_| dice.percent(40)),
            until: dice.pick(&times).filter(|_| dice.percent(40)),
        },
        listing: Listing { cursor: Cursor::Page(1), limit: 100, order },
        after: None,
    }
}

async fn messages(store: &Store, model: &Model, bots: &Bots, walk: MessageWalk) {
    let MessageWalkFilter { role, since, until } = &walk.filter;
    let of = |kept: &&Kept| {
        bots.contain(&kept.conversation.bot_id)
            && walk.conversation_id.is_none_or(|id| id == kept.conversation.id)
    };
    let all = model.conversations.values().filter(of).flat_map(|kept| &kept.messages);
    let matching = all.filter(|message| {
        role.as_ref().is_none_or(|role| *role == message.role)
            && since.is_none_or(|since| message.created_at >= since)
            && until.is_none_or(|until| message.created_at <= until)
    });
    let mut expected: Vec<_> = matching.map(|message| message.id).collect();
    expected.sort_unstable();
    if walk.listing.order == Order::Descending {
        expected.reverse();
    }
    // A conversation's bot is the service's to look at.
    let is_seen =
        walk.conversation_id.is_none_or(|id| bots.contain(&model.conversations[&id].conversation.bot_id));
    if !is_seen {
        return;
    }
    let (mut found, mut after): (_, Option<Place>) = (Vec::new(), None);
    loop {
        let list = store.message_walk(bots, &MessageWalk { after, ..walk.clone() }).await.unwrap();
        let Walked { is_exact, next, .. } = list.walked.unwrap();
        let total = i64::try_from(expected.len()).unwrap();
        // Messages of deleted conversations that are still to be deleted count, where nobody looks at bots.
        if model.following.is_empty() {
            assert_eq!((list.total, is_exact), (total, true), "for {bots:?} of {walk:?}");
        }
        assert!(next.is_none() || list.items.len() == 100);
        found.extend(list.items.iter().map(|item| item.id));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if !model.following.is_empty() {
        found.retain(|id| !model.following.values().flatten().any(|following| following == id));
    }
    assert_eq!(found, expected, "for {bots:?} of {walk:?}");
}
