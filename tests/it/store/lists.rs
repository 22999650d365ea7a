use futures_util::future::join_all;
use wicara_model::{
    Answer, Bots, Conversation, ConversationFilter, ConversationId, ConversationPatch, Cursor, Json, Listing,
    Message, MessageFilter, MessageId, MessagePatch, NewConversation, NewMessage, Order, Timestamp, role,
};
use wicara_store::{Append, BotMessage, Detail, Embed, ListedConversation, MessageChunk, Store, Target};

use super::{
    append, create, execute, get, handled, manual, messages, new_conversation, open, operator, stored,
};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    pages_hold_every_conversation_once,
    whoever_asks_for_a_list_sees_what_was_there_before,
    pages_that_are_asked_for_at_once_are_told_apart,
    walking_gives_the_same_as_pages,
    filters_combine_and_count_exactly,
    messages_are_listed_per_conversation_and_in_all,
    a_long_conversation_is_read_in_bounded_chunks,
    a_detail_that_changes_while_it_is_read_shows_once_what_stayed,
    embedded_messages_are_the_newest_and_bounded,
    a_list_shows_of_messages_what_is_shown_of_each_conversation,
    notes_are_left_out,
    messages_without_their_conversation_are_read_by_nobody,
    a_bot_is_told_the_newest_of_what_was_said,
    a_new_text_goes_into_the_payload,
);

pub fn page(page: i64, limit: i64) -> Listing {
    Listing { cursor: Cursor::Page(page), limit, order: Order::Descending }
}

async fn list(store: &Store, filter: &ConversationFilter, listing: &Listing) -> (Vec<i64>, i64) {
    let list = store.conversation_list(&Bots::All, filter, listing, Embed::Last).await.unwrap();
    (list.items.iter().map(|listed: &ListedConversation| listed.conversation.id.0).collect(), list.total)
}

async fn some_conversations(store: &Store, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(create(store, "guide", &["x"]).await.conversation.id.0);
    }
    ids
}

async fn pages_hold_every_conversation_once(engine: Engine) {
    let store = open(engine).await;
    let any = ConversationFilter::default();
    assert_eq!(list(&store, &any, &page(1, 10)).await, (vec![], 0));
    let mut ids = some_conversations(&store, 7).await;
    for order in [Order::Ascending, Order::Descending] {
        let mut found = Vec::new();
        for number in 1..=3 {
            let (part, total) = list(&store, &any, &Listing { order, ..page(number, 3) }).await;
            assert_eq!(total, 7);
            found.extend(part);
        }
        assert_eq!(found, ids);
        ids.reverse();
    }
    for number in [4, 1_000_000, i64::MAX] {
        assert_eq!(list(&store, &any, &page(number, 3)).await, (vec![], 7));
    }
}

async fn whoever_asks_for_a_list_sees_what_was_there_before(engine: Engine) {
    let store = open(engine).await;
    let conversation = create(&store, "guide", &["x"]).await.conversation;
    let readers = (0..8).map(|_| {
        let (store, conversation) = (store.clone(), conversation.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                let own = create(&store, "guide", &["x"]).await.conversation.id.0;
                let (newest, total) = list(&store, &ConversationFilter::default(), &page(1, 10)).await;
                assert!(total >= own && newest[0] >= own, "{newest:?} of {total} after {own}");
                let target = Target::Existing(conversation.id);
                let own = stored(store.append(append(target, &["x"])).await.unwrap()).messages[0].id;
                let last = store.message_last(&[conversation.id], true).await.unwrap();
                let now = std::slice::from_ref(&conversation);
                let newest = store.message_newest(now).await.unwrap();
                for found in [last[0].as_ref(), newest[0].last()] {
                    assert!(found.unwrap().id >= own, "{found:?} after {own}");
                }
            }
        })
    });
    for reader in join_all(readers).await {
        reader.unwrap();
    }
}

async fn pages_that_are_asked_for_at_once_are_told_apart(engine: Engine) {
    let store = open(engine).await;
    for number in 0..45 {
        let (bot, text) = (["guide", "other"][number % 2], number.to_string());
        create(&store, bot, &[&text, "answer"]).await;
    }
    let (any, mut cases) = (ConversationFilter::default(), Vec::new());
    for bots in [Bots::All, Bots::Only(vec!["guide".into()]), Bots::Only(vec!["other".into()])] {
        for embed in [Embed::Last, Embed::Newest] {
            for order in [Order::Ascending, Order::Descending] {
                let listing = |number| Listing { order, ..page(number, 5) };
                cases.extend((1..=5).map(|number| (bots.clone(), listing(number), embed)));
            }
        }
    }
    let list = |(bots, listing, embed): &(Bots, Listing, Embed)| {
        let (store, any, bots, listing, embed) = (&store, &any, bots.clone(), *listing, *embed);
        async move { store.conversation_list(&bots, any, &listing, embed).await.unwrap() }
    };
    let mut expected = Vec::new();
    for case in &cases {
        expected.push(list(case).await);
    }
    // Some of them twice at once.
    let at_once = join_all(cases.iter().chain(&cases[..30]).map(list)).await;
    for (found, (case, expected)) in at_once.iter().zip(cases.iter().zip(&expected).cycle()) {
        assert!(found.items == expected.items && found.total == expected.total, "{case:?}");
        assert!(found.items.iter().all(|listed| !listed.messages().is_empty()), "{case:?}");
    }
}

async fn walking_gives_the_same_as_pages(engine: Engine) {
    let store = open(engine).await;
    let any = ConversationFilter::default();
    let ids = some_conversations(&store, 5).await;
    let between =
        |after, before, order| Listing { cursor: Cursor::Between { after, before }, limit: 2, order };
    let (first, total) = list(&store, &any, &between(None, Some(ids[4]), Order::Descending)).await;
    assert_eq!((first, total), (vec![ids[3], ids[2]], 5));
    let (next, _) = list(&store, &any, &between(None, Some(ids[2]), Order::Descending)).await;
    assert_eq!(next, [ids[1], ids[0]]);
    let (up, _) = list(&store, &any, &between(Some(ids[1]), Some(ids[4]), Order::Ascending)).await;
    assert_eq!(up, [ids[2], ids[3]]);
    let (none, _) = list(&store, &any, &between(None, Some(0), Order::Descending)).await;
    assert!(none.is_empty());
}

async fn filters_combine_and_count_exactly(engine: Engine) {
    let store = open(engine).await;
    let mut ids = Vec::new();
    for (room, kind, bot, user) in [
        ("r1", "website", "a", Some("u1")),
        ("r2", "telegram", "a", Some("u2")),
        ("r1", "website", "b", None),
    ] {
        let new = NewConversation {
            room: Some(room.into()),
            integration_type: kind.into(),
            user_id: user.map(Into::into),
            ..new_conversation(bot)
        };
        ids.push(stored(store.append(append(Target::New(new), &[])).await.unwrap()).conversation_id.0);
    }
    let filter = |room: &str, kind: &str, bot: &str, user: &str| {
        let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        ConversationFilter {
            room: some(room),
            integration_type: some(kind),
            bot_id: some(bot),
            user_id: some(user),
        }
    };
    let cases: [(ConversationFilter, &[usize]); 8] = [
        (filter("", "", "a", ""), &[1, 0]),
        (filter("r1", "", "", ""), &[2, 0]),
        (filter("", "website", "", ""), &[2, 0]),
        (filter("", "", "", "u2"), &[1]),
        (filter("r1", "website", "a", "u1"), &[0]),
        (filter("r1", "", "b", ""), &[2]),
        (filter("", "telegram", "b", ""), &[]),
        (filter("", "", "", "' OR 1=1 --"), &[]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|&index| ids[index]).collect();
        let total = i64::try_from(expected.len()).unwrap();
        assert_eq!(list(&store, &filter, &page(1, 10)).await, (expected, total), "{filter:?}");
    }
    let scoped = store
        .conversation_list(
            &Bots::Only(vec!["b".into(), "c".into()]),
            &ConversationFilter::default(),
            &page(1, 9),
            Embed::Last,
        )
        .await
        .unwrap();
    assert_eq!((scoped.items[0].conversation.id.0, scoped.items.len(), scoped.total), (ids[2], 1, 1));
}

async fn messages_are_listed_per_conversation_and_in_all(engine: Engine) {
    let store = open(engine).await;
    let a = create(&store, "a", &["1", "2", "3"]).await;
    let b = create(&store, "b", &["4"]).await;
    let ascending = |number, limit| Listing { order: Order::Ascending, ..page(number, limit) };
    let any = MessageFilter::default();
    let ids = |list: wicara_model::List<wicara_store::MessageRef>| {
        (list.items.iter().map(|item| item.id).collect::<Vec<_>>(), list.total)
    };
    let all = store.message_list(&Bots::All, &any, None, &ascending(1, 10)).await.unwrap();
    let expected: Vec<_> = a.messages.iter().chain(&b.messages).map(|message| message.id).collect();
    assert_eq!(ids(all), (expected.clone(), 4));

    let of_a = MessageFilter { conversation_id: Some(a.conversation.id) };
    let second = store.message_list(&Bots::All, &of_a, Some(3), &ascending(2, 2)).await.unwrap();
    assert_eq!(ids(second), (vec![a.messages[2].id], 3));
    let scoped =
        store.message_list(&Bots::Only(vec!["b".into()]), &any, None, &ascending(1, 10)).await.unwrap();
    assert_eq!(ids(scoped), (vec![b.messages[0].id], 1));

    let wanted = [expected[3], MessageId(999), expected[0]];
    let found = store.message_get_many(&wanted).await.unwrap();
    let of = |bot: &str, message: &Message| BotMessage { bot_id: bot.into(), message: message.clone() };
    assert_eq!(found, [of("b", &b.messages[0]), of("a", &a.messages[0])]);
}

async fn a_long_conversation_is_read_in_bounded_chunks(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &[]).await.conversation.id;
    let long = "x".repeat(64 * 1024);
    let mut texts = vec!["short"; 300];
    texts.extend(vec![long.as_str(); 9]);
    stored(store.append(append(Target::Existing(id), &texts)).await.unwrap());
    let (mut sizes, mut found) = (Vec::new(), Vec::new());
    let Detail { newest, mut chunk, .. } = store.detail_get(&Bots::All, id).await.unwrap().unwrap();
    assert_eq!(newest.unwrap().seq, 309);
    loop {
        sizes.push(chunk.messages.len());
        found.extend(chunk.messages.into_iter().map(|message| message.text));
        let Some(remaining) = chunk.remaining else { break };
        chunk = store.message_chunk(id, remaining).await.unwrap();
    }
    assert_eq!(found, texts);
    assert_eq!(sizes, [0, 303, 4, 2], "256 KiB each, and none before its size is known");
    let others = Bots::Only(vec!["another".into()]);
    assert!(store.detail_get(&others, id).await.unwrap().is_none());
}

async fn a_detail_that_changes_while_it_is_read_shows_once_what_stayed(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &[]).await.conversation.id;
    // More than are looked at at once, and large ones around that bound.
    let text = |number: usize| match number {
        3 | 1020..1030 | 2400 => format!("{number} {}", "x".repeat(100 * 1024)),
        _ => number.to_string(),
    };
    let texts: Vec<_> = (0..2500).map(text).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let mut expected = stored(store.append(append(Target::Existing(id), &texts)).await.unwrap()).messages;
    let Detail { newest, chunk, .. } = store.detail_get(&Bots::All, id).await.unwrap().unwrap();
    assert_eq!(newest.as_ref(), expected.last());
    let MessageChunk { messages: mut found, mut remaining } = chunk;
    for turn in 0.. {
        let Some(after) = remaining else { break };
        if turn < 4 {
            // What would be read next goes.
            let last = found.last().map_or(MessageId(0), |message| message.id);
            let next = expected.iter().position(|message| message.id > last).unwrap();
            let gone = expected.remove(next).id;
            store.message_delete(id, gone, Timestamp(0)).await.unwrap().unwrap();
        }
        // A conversation that is written to faster than it is read ends all the same, with what was there at first.
        assert!(turn < 1000, "the detail does not end");
        stored(store.append(append(Target::Existing(id), &["later"])).await.unwrap());
        let MessageChunk { messages: chunk, remaining: after } =
            store.message_chunk(id, after).await.unwrap();
        let bytes: usize = chunk.iter().map(|message| message.text.len()).sum();
        assert!(bytes <= 256 * 1024 && chunk.len() <= 1024, "{bytes} bytes in {} messages", chunk.len());
        found.extend(chunk);
        remaining = after;
    }
    assert!(found == expected, "{} messages of {}", found.len(), expected.len());
}

async fn embedded_messages_are_the_newest_and_bounded(engine: Engine) {
    let store = open(engine).await;
    let many: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(100 * 1024);
    let huge = Json::parse(format!(r#"{{"text":"{}"}}"#, "y".repeat(400 * 1024))).unwrap();
    let a = create(&store, "guide", &many).await;
    let b = create(&store, "guide", &[&long, &long, &long]).await;
    let empty = create(&store, "guide", &[]).await;
    let c = create(&store, "guide", &["question"]).await;
    let answer = NewMessage::answer(Answer::object(huge).unwrap(), c.messages[0].id);
    let target = Target::Existing(c.conversation.id);
    stored(store.append(Append { messages: vec![answer], ..append(target, &[]) }).await.unwrap());

    let ids =
        [b.conversation.id, a.conversation.id, empty.conversation.id, c.conversation.id, ConversationId(99)];
    let mut conversations = Vec::new();
    for &id in &ids[..4] {
        conversations.push(get(&store, id).await);
    }
    conversations.push(Conversation { id: ids[4], ..empty.conversation });
    let newest = store.message_newest(&conversations).await.unwrap();
    let counts: Vec<_> = newest.iter().map(Vec::len).collect();
    assert_eq!(counts, [2, 50, 0, 1, 0]);
    assert_eq!(newest[1], a.messages[10..]);
    let last = store.message_last(&ids, true).await.unwrap();
    let expected: Vec<_> = newest.iter().map(|messages| messages.last().cloned()).collect();
    assert_eq!(*last, expected);
}

async fn a_list_shows_of_messages_what_is_shown_of_each_conversation(engine: Engine) {
    let store = open(engine).await;
    let kib = |count: usize| "x".repeat(count * 1024);
    let many: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let (small, share, large) = (kib(1), kib(7), kib(300));
    let cases: [&[&str]; 6] = [&[], &["one", "two"], &[&small, &small], &[&share], &many, &[&small, &large]];
    let mut ids = Vec::new();
    for texts in cases {
        ids.push(create(&store, "guide", texts).await.conversation.id);
    }
    // Some with a note as the newest message, some changed since, one of them without its newest message.
    for texts in [&["one"][..], &[], &["one", "two", "three"]] {
        let id = create(&store, "guide", texts).await.conversation.id;
        let note = NewMessage { role: role::NOTE.into(), ..NewMessage::question("among us".into()) };
        let note = Append { messages: vec![note], ..append(Target::Existing(id), &[]) };
        let note = stored(store.append(note).await.unwrap()).messages.remove(0);
        if texts.len() == 3 {
            store.message_delete(id, note.id, manual(5)).await.unwrap().unwrap();
        }
        ids.push(id);
    }
    let room = ConversationFilter { room: Some("room".into()), ..Default::default() };
    let patch = ConversationPatch { room: room.room.clone(), ..Default::default() };
    for &id in &ids {
        handled(store.conversation_update(id, patch.clone(), operator(), manual(9)).await.unwrap());
    }
    stored(store.append(append(Target::Existing(ids[1]), &["three"])).await.unwrap());

    let mut expected = Vec::new();
    for &id in ids.iter().rev() {
        expected.push(get(&store, id).await);
    }
    let newest = store.message_newest(&expected).await.unwrap();
    ids.reverse();
    let last = store.message_last(&ids, true).await.unwrap();
    let last: Vec<Vec<Message>> = last.into_iter().map(|last| last.into_iter().collect()).collect();
    // How many messages are read together with each conversation: what is beyond its share of the page is read later.
    for (embed, limit, together) in [
        (Embed::Newest, 9, [3, 0, 1, 0, 0, 1, 2, 3, 0]),
        (Embed::Newest, 100, [3, 0, 1, 0, 0, 0, 0, 3, 0]),
        (Embed::Last, 9, [1, 1, 1, 0, 1, 1, 1, 1, 0]),
        (Embed::Last, 100, [1, 1, 1, 0, 1, 0, 0, 1, 0]),
    ] {
        let messages = if embed == Embed::Last { &last } else { &newest };
        for filter in [&ConversationFilter::default(), &room] {
            let list = store.conversation_list(&Bots::All, filter, &page(1, limit), embed).await.unwrap();
            let mut items = list.items;
            let counts: Vec<_> = items.iter().map(|listed| listed.messages().len()).collect();
            assert_eq!(counts, together, "{embed:?} with limit {limit}");
            store.message_previews(embed, &mut items).await.unwrap();
            let found: Vec<_> = items.iter().map(|listed| listed.conversation.clone()).collect();
            assert_eq!(found, expected);
            let found: Vec<_> = items.iter().map(|listed| listed.messages().to_vec()).collect();
            assert!(found == *messages, "{embed:?} with limit {limit}");
        }
    }
}

async fn notes_are_left_out(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &["question"]).await.conversation.id;
    let mut note = NewMessage::question("among us".into());
    note.role = role::NOTE.into();
    let note = Append { messages: vec![note], ..append(Target::Existing(id), &[]) };
    let note = stored(store.append(note).await.unwrap()).messages.remove(0);
    let conversation = get(&store, id).await;
    assert_eq!((conversation.message_count, conversation.note_count), (2, 1));
    assert_eq!(messages(&store, id).await.len(), 1);
    assert_eq!(store.message_newest(&[conversation]).await.unwrap()[0].len(), 1);
    assert!(store.message_thread(id, None, 50).await.unwrap().is_some());
    assert_eq!(store.message_last(&[id], false).await.unwrap()[0].as_ref().unwrap().text, "question");
    assert_eq!(store.message_last(&[id], true).await.unwrap()[0].as_ref().unwrap().id, note.id);
    assert_eq!(store.message_get(note.id).await.unwrap().unwrap().message, note);

    let public = MessagePatch { role: Some(role::AGENT.into()), ..Default::default() };
    store.message_update(id, note.id, public, manual(5)).await.unwrap().unwrap();
    assert_eq!(get(&store, id).await.note_count, 0);
    assert_eq!(messages(&store, id).await.len(), 2);
}

async fn messages_without_their_conversation_are_read_by_nobody(engine: Engine) {
    let store = open(engine).await;
    let texts: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let asked = create(&store, "guide", &texts).await;
    let (id, question) = (asked.conversation.id, asked.messages[0].id);
    let answer = NewMessage::answer(Answer::text("answer"), question);
    let answer = Append { messages: vec![answer], ..append(Target::Existing(id), &[]) };
    let answer = stored(store.append(answer).await.unwrap()).messages[0].id;
    let kept = create(&store, "guide", &["kept"]).await;
    let detail = store.detail_get(&Bots::All, id).await.unwrap().unwrap();
    let remaining = detail.chunk.remaining.expect("it is read apart");

    execute(&store.database, &format!("DELETE FROM conversations WHERE id = {id}")).await;
    assert!(store.detail_get(&Bots::All, id).await.unwrap().is_none());
    assert!(store.message_chunk(id, remaining).await.unwrap().messages.is_empty());
    assert!(store.message_get(question).await.unwrap().is_none());
    let found = store.message_get_many(&[question, kept.messages[0].id, answer]).await.unwrap();
    assert_eq!(found.into_iter().map(|found| found.message).collect::<Vec<_>>(), kept.messages);
    assert!(store.message_thread(id, None, 50).await.unwrap().is_none());
    assert!(store.message_history(id, answer, 10).await.unwrap().is_empty());
    assert!(store.message_answers(id, question).await.unwrap().is_empty());
    for notes in [false, true] {
        let last = store.message_last(&[id, kept.conversation.id], notes).await.unwrap();
        assert_eq!(*last, [None, Some(kept.messages[0].clone())]);
    }
    // As it was when the list was read, short and long.
    let short = Conversation { message_count: 1, ..detail.conversation.clone() };
    for conversation in [short, detail.conversation] {
        let newest =
            store.message_newest(&[conversation, get(&store, kept.conversation.id).await]).await.unwrap();
        assert_eq!(*newest, [vec![], kept.messages.clone()]);
    }
}

async fn a_new_text_goes_into_the_payload(engine: Engine) {
    let store = open(engine).await;
    let asked = create(&store, "guide", &["question"]).await;
    let payload = Json::parse(r#"{"b":1.0,"text":"old","a":[ ]}"#.into()).unwrap();
    let answer = NewMessage::answer(Answer::object(payload).unwrap(), asked.messages[0].id);
    let target = Target::Existing(asked.conversation.id);
    let answer =
        stored(store.append(Append { messages: vec![answer], ..append(target, &[]) }).await.unwrap());
    let patch = MessagePatch { text: Some("new \"text\"".into()), ..Default::default() };
    let patched = store
        .message_update(asked.conversation.id, answer.messages[0].id, patch, manual(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(patched.text, "new \"text\"");
    assert_eq!(patched.payload.as_ref().unwrap().as_str(), r#"{"b":1.0,"text":"new \"text\"","a":[ ]}"#);
    assert_eq!(store.message_get(patched.id).await.unwrap().unwrap().message, patched);
}

async fn a_bot_is_told_the_newest_of_what_was_said(engine: Engine) {
    let store = open(engine).await;
    let id = create(&store, "guide", &["one"]).await.conversation.id;
    let say = async |role: &str, text: &str| {
        let message = NewMessage { role: role.into(), ..NewMessage::question(text.into()) };
        let said = Append { messages: vec![message], ..append(Target::Existing(id), &[]) };
        stored(store.append(said).await.unwrap()).messages[0].id
    };
    for (role, text) in [
        (role::BOT, "two"),
        (role::NOTE, "rude"),
        ("system", "odd"),
        (role::AGENT, "three"),
        (role::CLIENT, "four"),
    ] {
        say(role, text).await;
    }
    let question = say(role::CLIENT, "five").await;
    say(role::BOT, "later").await;
    let history = async |before, limit| -> Vec<String> {
        let said = store.message_history(id, before, limit).await.unwrap();
        said.into_iter().map(|(_, role, text)| format!("{role}: {text}")).collect()
    };
    let whole = ["client: one", "bot: two", "agent: three", "client: four"];
    assert_eq!(history(question, 20).await, whole);
    assert_eq!(history(question, 3).await, whole[1..]);

    let long = "x".repeat(100 * 1024);
    for _ in 0..3 {
        say(role::BOT, &long).await;
    }
    let last = say(role::CLIENT, "six").await;
    assert_eq!(history(last, 20).await, [format!("bot: {long}"), format!("bot: {long}")]);
}
