use std::collections::BTreeMap;
use std::iter::repeat_n;

use futures_util::future::join_all;
use wicara_model::{
    Bots, ConversationFilter, ConversationId, ConversationPatch, Cursor, Listing, MessageFilter, MessageId,
    NewConversation, Order,
};
use wicara_store::{Embed, Outcome, Store, Target};

use super::{append, execute, handled, manual, new_conversation, open, operator, reopen, stored};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(every_page_is_what_counting_would_give);

/// What is stored, kept once more.
#[derive(Default)]
struct Model {
    conversations: BTreeMap<i64, NewConversation>,
    /// Each with its conversation.
    messages: BTreeMap<i64, i64>,
    random: u64,
}

const BOTS: [&str; 3] = ["often", "seldom", "once"];

impl Model {
    fn random(&mut self, below: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }

    fn some_conversation(&mut self) -> ConversationId {
        let place = self.random(self.conversations.len());
        ConversationId(*self.conversations.keys().nth(place).unwrap())
    }

    fn new_conversation(&mut self) -> NewConversation {
        NewConversation {
            integration_type: ["website", "website", "telegram"][self.random(3)].into(),
            room: Some(["r1", "r2"][self.random(2)].into()),
            user_id: Some("u1".into()).filter(|_| self.random(3) == 0),
            ..new_conversation(["often", "often", "often", "seldom"][self.random(4)])
        }
    }

    fn forget(&mut self, ConversationId(id): ConversationId) {
        self.conversations.remove(&id);
        self.messages.retain(|_, conversation| *conversation != id);
    }
}

/// Lets ids leap, as if so many rows had come and gone.
async fn leap(database: &Database, engine: Engine, conversations: usize, messages: usize) {
    let sql = match engine {
        Engine::Sqlite => format!(
            "UPDATE sequences SET last = last + {conversations} WHERE name = 'conversation_ids'; \
             UPDATE sequences SET last = last + {messages} WHERE name = 'message_ids'"
        ),
        Engine::Postgres => format!(
            "SELECT setval('conversation_ids', nextval('conversation_ids') + {conversations}), \
                 setval('message_ids', nextval('message_ids') + {messages})"
        ),
    };
    execute(database, &sql).await;
}

async fn add_some(store: &Store, model: &mut Model) {
    let known = (!model.conversations.is_empty()).then(|| model.some_conversation());
    let mut new: Vec<_> = (0..12).map(|_| (model.new_conversation(), model.random(4))).collect();
    if model.conversations.is_empty() {
        new.push((NewConversation { integration_type: "whatsapp".into(), ..new_conversation("once") }, 1));
    }
    let opened = join_all(
        new.iter()
            .map(|(new, messages)| store.append(append(Target::New(new.clone()), &["x"].repeat(*messages)))),
    )
    .await;
    let longer = match known {
        Some(id) => store.append(append(Target::Existing(id), &["x"; 9])).await.unwrap(),
        None => Outcome::Gone,
    };
    for (outcome, (new, _)) in opened.into_iter().zip(new) {
        let appended = stored(outcome.unwrap());
        model.conversations.insert(appended.conversation_id.0, new);
        model
            .messages
            .extend(appended.messages.iter().map(|message| (message.id.0, message.conversation_id.0)));
    }
    if let Outcome::Stored(appended) = longer {
        model
            .messages
            .extend(appended.messages.iter().map(|message| (message.id.0, message.conversation_id.0)));
    }
}

async fn change_something(store: &Store, model: &mut Model) {
    let id = model.some_conversation();
    match model.random(4) {
        0 => {
            store.conversation_delete(id).await.unwrap().unwrap();
            model.forget(id);
        }
        1 => {
            let place = model.random(model.messages.len());
            let (&message, &conversation) = model.messages.iter().nth(place).unwrap();
            let (conversation, message_id) = (ConversationId(conversation), MessageId(message));
            store.message_delete(conversation, message_id, manual(2)).await.unwrap().unwrap();
            model.messages.remove(&message);
        }
        2 => {
            let bot = BOTS[model.random(2)].to_owned();
            let patch = ConversationPatch { bot_id: Some(bot.clone()), ..Default::default() };
            handled(store.conversation_update(id, patch, operator(), manual(2)).await.unwrap());
            model.conversations.get_mut(&id.0).unwrap().bot_id = bot;
        }
        _ => {
            let kind = ["telegram", "website"][model.random(2)].to_owned();
            let patch = ConversationPatch { integration_type: Some(kind.clone()), ..Default::default() };
            handled(store.conversation_update(id, patch, operator(), manual(2)).await.unwrap());
            model.conversations.get_mut(&id.0).unwrap().integration_type = kind;
        }
    }
}

fn only(bots: &[&str]) -> Bots {
    Bots::Only(bots.iter().map(|&bot| bot.into()).collect())
}

fn scopes() -> Vec<Bots> {
    vec![Bots::All, only(&["often"]), only(&["once", "seldom"]), only(&BOTS), only(&["nobody"]), only(&[])]
}

fn filters() -> Vec<ConversationFilter> {
    let filter = |bot: &str, kind: &str, room: &str, user: &str| {
        let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        ConversationFilter {
            bot_id: some(bot),
            integration_type: some(kind),
            room: some(room),
            user_id: some(user),
        }
    };
    vec![
        filter("", "", "", ""),
        filter("seldom", "", "", ""),
        filter("", "telegram", "", ""),
        filter("often", "telegram", "", ""),
        filter("", "", "r1", ""),
        filter("seldom", "", "", "u1"),
    ]
}

/// Checks the totals of every scope and filter, and with `limit` also every page and every walk without pages.
async fn compare(store: &Store, model: &Model, scopes: &[Bots], limit: Option<i64>) {
    for bots in scopes {
        for filter in filters() {
            let fits = |wanted: &Option<String>, found: Option<&str>| {
                wanted.as_ref().is_none_or(|wanted| found == Some(wanted))
            };
            let expected: Vec<_> = model
                .conversations
                .iter()
                .filter(|(_, new)| {
                    bots.contain(&new.bot_id)
                        && fits(&filter.bot_id, Some(&new.bot_id))
                        && fits(&filter.integration_type, Some(&new.integration_type))
                        && fits(&filter.room, new.room.as_deref())
                        && fits(&filter.user_id, new.user_id.as_deref())
                })
                .map(|(&id, _)| id)
                .collect();
            let list = async |listing: Listing| {
                let list = store.conversation_list(bots, &filter, &listing, Embed::Newest).await.unwrap();
                (list.items.iter().map(|item| item.conversation.id.0).collect(), list.total)
            };
            pages_hold(&format!("{bots:?} {filter:?}"), expected, limit, list).await;
        }
        let expected: Vec<_> = model
            .messages
            .iter()
            .filter(|(_, conversation)| bots.contain(&model.conversations[*conversation].bot_id))
            .map(|(&id, _)| id)
            .collect();
        let list = async |listing: Listing| {
            let list = store.message_list(bots, &MessageFilter::default(), None, &listing).await.unwrap();
            (list.items.iter().map(|item| item.id.0).collect(), list.total)
        };
        pages_hold(&format!("messages of {bots:?}"), expected, limit.map(|limit| 3 * limit), list).await;
    }
}

async fn pages_hold(
    name: &str,
    mut expected: Vec<i64>,
    limit: Option<i64>,
    list: impl AsyncFn(Listing) -> (Vec<i64>, i64),
) {
    let total = i64::try_from(expected.len()).unwrap();
    let first = Listing { cursor: Cursor::Page(1), limit: 1, order: Order::Descending };
    assert_eq!(list(first).await.1, total, "{name}");
    let Some(limit) = limit else { return };
    for order in [Order::Ascending, Order::Descending] {
        let (mut paged, mut walked, mut last) = (Vec::new(), Vec::new(), None);
        for number in 1..=total / limit + 1 {
            let page = list(Listing { cursor: Cursor::Page(number), limit, order }).await;
            let start = expected.len().min(usize::try_from((number - 1) * limit).unwrap());
            let end = expected.len().min(start + usize::try_from(limit).unwrap());
            assert_eq!(page, (expected[start..end].to_vec(), total), "{name}: page {number} {order:?}");
            paged.extend(page.0);
            let cursor = match order {
                Order::Ascending => Cursor::Between { after: last, before: None },
                Order::Descending => Cursor::Between { after: None, before: last },
            };
            let (part, _) = list(Listing { cursor, limit, order }).await;
            last = part.last().copied();
            walked.extend(part);
        }
        assert_eq!(paged, expected, "{name} {order:?}");
        assert_eq!(walked, expected, "{name} {order:?}, without pages");
        expected.reverse();
    }
}

/// Every row of the totals is what counting gives, at each level.
pub async fn totals_are_exact(database: &Database) {
    let mut counted = Vec::new();
    for (level, shift) in [(0, 8), (1, 13), (2, 18), (3, 23)] {
        for (what, id, from) in [
            ("conversations", "id", "conversations"),
            ("messages", "messages.id", "messages JOIN conversations ON conversations.id = conversation_id"),
        ] {
            counted.push(format!(
                "SELECT '{what}' AS what, {level} AS level, {id} >> {shift} AS bucket, bot_id, integration_type, \
                     count(*) AS count FROM {from} GROUP BY {id} >> {shift}, bot_id, integration_type"
            ));
        }
    }
    let counted = counted.join(" UNION ALL ");
    let kept = "SELECT what, level, bucket, bot_id, integration_type, sum(count) AS count FROM current_totals \
         GROUP BY what, level, bucket, bot_id, integration_type HAVING sum(count) <> 0";
    for (left, right) in [(kept, counted.as_str()), (counted.as_str(), kept)] {
        // A division by nothing, or a broken rule: what both databases take for an error.
        let sql = format!(
            "CREATE TABLE differences (number bigint CHECK (number = 0)); INSERT INTO differences \
             SELECT count(*) FROM (SELECT * FROM ({left}) AS l EXCEPT SELECT * FROM ({right}) AS r) AS d; \
             DROP TABLE differences"
        );
        execute(database, &sql).await;
    }
}

async fn every_page_is_what_counting_would_give(engine: Engine) {
    let store = open(engine).await;
    let mut model = Model::default();
    // From one bucket to many of each level.
    for (conversations, messages) in
        [(0, 0), (1, 1), (200, 5), (300, 300), (1, 20_000), (70_000, 250), (5, 70_000), (150, 3_000_000)]
            .into_iter()
            .chain([(20_000_000, 1), (300, 40_000_000), (3, 100), (1_000_000_000_000, 900)])
            // Many buckets inside one of the next level.
            .chain(repeat_n((260, 260), 14))
    {
        if !model.conversations.is_empty() {
            leap(&store.database, engine, conversations, messages).await;
        }
        add_some(&store, &mut model).await;
        add_some(&store, &mut model).await;
        for _ in 0..5 {
            change_something(&store, &mut model).await;
        }
        compare(&store, &model, &scopes(), None).await;
    }
    totals_are_exact(&store.database).await;
    compare(&store, &model, &scopes(), Some(13)).await;
    compare(&store, &model, &[only(&["seldom"])], Some(1)).await;
    compare(&reopen(&store.database).await, &model, &scopes(), Some(40)).await;
    let ids: Vec<_> = model.conversations.keys().map(|&id| ConversationId(id)).collect();
    // No more at once than may wait.
    for ids in ids.chunks(256) {
        let deletes = ids.iter().map(|&id| store.conversation_delete(id));
        assert!(join_all(deletes).await.into_iter().all(|deleted| deleted.unwrap().is_some()));
    }
    totals_are_exact(&store.database).await;
    compare(&store, &Model::default(), &scopes(), Some(13)).await;
}
