use std::sync::Arc;

use wicara_model::{
    Answer, Bots, ConversationId, FailureReason, Json, MessageId, NewMessage, NewUser, Role, role,
};
use wicara_store::{Append, Ask, Error, Outcome, Store, Target};

use super::{
    append, asks, attempt, create, fail, get, handled, manual, messages, open, operator, reopen, stored,
    total,
};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    a_conversation_opens_with_its_question,
    messages_of_one_conversation_have_dense_places_in_the_order_of_their_ids,
    a_message_for_a_conversation_that_is_gone_stores_nothing,
    texts_come_back_byte_for_byte,
    totals_follow_every_change,
    an_answer_clears_what_was_given_up,
    of_two_answers_to_a_question_the_first_is_stored,
    a_long_conversation_is_deleted_whole,
    what_was_committed_is_there_after_opening_again,
    a_command_that_cannot_be_stored_fails_alone,
);

async fn a_conversation_opens_with_its_question(engine: Engine) {
    let store = open(engine).await;
    let opened = create(&store, "guide", &["halo"]).await;
    let conversation = get(&store, opened.conversation.id).await;
    assert_eq!(conversation, opened.conversation);
    assert_eq!(conversation.room, format!("website-{}", conversation.id));
    assert_eq!(conversation.message_count, 1);
    assert_eq!(messages(&store, conversation.id).await, opened.messages);
    let found = store.conversation_get_by_session(conversation.session_id).await.unwrap();
    assert_eq!(found, Some(conversation));
}

async fn messages_of_one_conversation_have_dense_places_in_the_order_of_their_ids(engine: Engine) {
    let store = Arc::new(open(engine).await);
    let ids =
        [create(&store, "a", &[]).await.conversation.id, create(&store, "b", &[]).await.conversation.id];
    let writers = (0..200).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let texts = [format!("{number} first"), format!("{number} second")];
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            stored(store.append(append(Target::Existing(ids[number % 2]), &texts)).await.unwrap())
        })
    });
    let mut acknowledged = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.unwrap().messages);
    }
    for id in ids {
        let found = messages(&store, id).await;
        assert_eq!(found.len(), 200);
        let places: Vec<_> = found.iter().map(|message| message.seq).collect();
        assert_eq!(places, (1..=200).collect::<Vec<_>>());
        assert!(found.is_sorted_by_key(|message| message.id));
        assert_eq!(get(&store, id).await.message_count, 200);
        for pair in found.chunks(2) {
            assert_eq!(pair[0].text.replace("first", "second"), pair[1].text, "one append stays together");
        }
        for message in found {
            assert!(acknowledged.contains(&message));
        }
    }
}

async fn a_message_for_a_conversation_that_is_gone_stores_nothing(engine: Engine) {
    let store = open(engine).await;
    let outcome = store.append(append(Target::Existing(ConversationId(99)), &["halo"])).await.unwrap();
    assert!(matches!(outcome, Outcome::Gone), "{outcome:?}");
    assert_eq!(total(&store, &Bots::All).await, (0, 0));
}

async fn texts_come_back_byte_for_byte(engine: Engine) {
    let store = open(engine).await;
    let texts = [
        "👩‍👩‍👧‍👦 ZWJ, 🇮🇩",
        "\u{202e}kanan ke kiri\u{202c} שלום",
        "e\u{301} is not é",
        r#"{"json": "looking", "a": [1, null]}"#,
        "'; DROP TABLE messages; --",
        "\u{feff}bom, tab\t, crlf\r\n, bell\u{7}",
        "$1 ? :name %s \\ \u{10ffff}",
    ];
    let opened = create(&store, "guide", &texts).await;
    let payload = r#"{"text":"x", "z" : 1.00,"a":1e3,"n":"\u0000\ud83d\ude0a"}"#;
    let answer = NewMessage::answer(
        Answer::object(Json::parse(payload.into()).unwrap()).unwrap(),
        opened.messages[0].id,
    );
    let target = Target::Existing(opened.conversation.id);
    stored(store.append(Append { messages: vec![answer], ..append(target, &[]) }).await.unwrap());
    let found = messages(&store, opened.conversation.id).await;
    let (answer, questions) = found.split_last().unwrap();
    assert_eq!(questions.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), texts);
    assert_eq!(answer.payload.as_ref().unwrap().as_str(), payload);
}

async fn totals_follow_every_change(engine: Engine) {
    let store = open(engine).await;
    let only = |bot: &str| Bots::Only(vec![bot.into()]);
    let a = create(&store, "a", &["1", "2"]).await;
    let b = create(&store, "b", &["1"]).await;
    create(&store, "b", &[]).await;
    assert_eq!(total(&store, &Bots::All).await, (3, 3));
    assert_eq!(total(&store, &only("b")).await, (2, 1));
    assert_eq!(total(&store, &Bots::Only(vec![])).await, (0, 0));

    let moved = wicara_model::ConversationPatch { bot_id: Some("b".into()), ..Default::default() };
    handled(store.conversation_update(a.conversation.id, moved, operator(), manual(2)).await.unwrap());
    assert_eq!(total(&store, &only("a")).await, (0, 0));
    assert_eq!(total(&store, &only("b")).await, (3, 3));

    store.message_delete(a.conversation.id, a.messages[0].id, manual(3)).await.unwrap().unwrap();
    assert_eq!(total(&store, &only("b")).await, (3, 2));
    assert_eq!(get(&store, a.conversation.id).await.message_count, 1);
    let again = store.message_delete(a.conversation.id, a.messages[0].id, manual(3)).await.unwrap();
    assert_eq!(again, None);

    let (deleted, newest) = store.conversation_delete(b.conversation.id).await.unwrap().unwrap();
    assert_eq!((deleted, newest), (b.conversation, b.messages.into_iter().next()));
    assert_eq!(total(&store, &Bots::All).await, (2, 1));
    assert!(store.conversation_delete(deleted_id(&store).await).await.unwrap().is_none());
}

async fn deleted_id(store: &Store) -> ConversationId {
    let gone = create(store, "gone", &["x"]).await.conversation.id;
    store.conversation_delete(gone).await.unwrap().unwrap();
    gone
}

async fn ask(store: &Store, text: &str) -> wicara_store::Stored {
    let question = Append {
        ask: asks(attempt(MessageId(0)).id),
        ..append(Target::New(super::new_conversation("guide")), &[text])
    };
    stored(store.append(question).await.unwrap())
}

async fn an_answer_clears_what_was_given_up(engine: Engine) {
    let store = open(engine).await;
    let asked = ask(&store, "slow?").await;
    let (id, question) = (asked.conversation_id, asked.messages[0].id);
    assert!(fail(&store, id, attempt(question), FailureReason::Timeout, manual(7)).await);
    let failure = messages(&store, id).await[0].failure.unwrap();
    assert_eq!((failure.reason, failure.at), (FailureReason::Timeout, manual(7)));

    let answer = Append {
        messages: vec![NewMessage::answer(Answer::text("here"), question)],
        ask: Ask::Answers { attempt: attempt(question) },
        ..append(Target::Existing(id), &[])
    };
    stored(store.append(answer).await.unwrap());
    let found = messages(&store, id).await;
    assert_eq!(found[0].failure, None);
    assert_eq!((found[1].role.as_str(), found[1].reply_to), (role::BOT, Some(question)));
}

/// Both go into one transaction where they wait together.
#[tokio::test]
async fn an_answer_to_a_question_that_was_just_deleted_is_dropped() {
    let store = open(Engine::Sqlite).await;
    for _ in 0..50 {
        let asked = ask(&store, "deleted").await;
        let (id, question) = (asked.conversation_id, asked.messages[0].id);
        let answer = Append {
            messages: vec![NewMessage::answer(Answer::text("late"), question)],
            ask: Ask::Answers { attempt: attempt(question) },
            ..append(Target::Existing(id), &[])
        };
        let (deleted, answered) =
            tokio::join!(store.message_delete(id, question, manual(8)), store.append(answer));
        assert!(deleted.unwrap().is_some());
        assert!(matches!(answered, Ok(Outcome::Superseded)), "{answered:?}");
    }
}

async fn of_two_answers_to_a_question_the_first_is_stored(engine: Engine) {
    let store = Arc::new(open(engine).await);
    let asked = ask(&store, "asked twice").await;
    let (id, question) = (asked.conversation_id, asked.messages[0].id);
    let answers = (0..20).map(|number| {
        let store = Arc::clone(&store);
        let answer = Append {
            messages: vec![NewMessage::answer(Answer::text(number.to_string()), question)],
            ask: Ask::Answers { attempt: attempt(question) },
            ..append(Target::Existing(id), &[])
        };
        tokio::spawn(async move { store.append(answer).await.unwrap() })
    });
    let (mut first, mut late) = (Vec::new(), 0);
    for answer in answers.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Outcome::Stored(appended) => first.extend(appended.messages),
            Outcome::Superseded => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((first.len(), late), (1, 19));
    assert_eq!(store.message_answers(id, question).await.unwrap(), first);
    assert_eq!(get(&store, id).await.message_count, 2);
    // A failure that comes later than the answer is none.
    assert!(!fail(&store, id, attempt(question), FailureReason::Timeout, manual(7)).await);
    assert_eq!(messages(&store, id).await[0].failure, None);
}

async fn a_long_conversation_is_deleted_whole(engine: Engine) {
    let store = open(engine).await;
    let opened = create(&store, "guide", &vec!["halo"; 4500]).await;
    let mut note = NewMessage::question("among us".into());
    note.role = role::NOTE.into();
    let id = opened.conversation.id;
    let note = Append { messages: vec![note], ..append(Target::Existing(id), &[]) };
    stored(store.append(note).await.unwrap());
    let noted = get(&store, id).await;
    let (deleted, newest) = store.conversation_delete(id).await.unwrap().unwrap();
    assert_eq!((deleted.message_count, deleted.note_count), (noted.message_count, noted.note_count));
    assert_eq!(newest.as_ref(), opened.messages.last());
    assert_eq!(store.conversation_get(id).await.unwrap(), None);
    let late = store.append(append(Target::Existing(id), &["late"])).await.unwrap();
    assert!(matches!(late, Outcome::Gone), "{late:?}");
    store.conversation_delete_rest().await.unwrap();
    assert_eq!(total(&store, &Bots::All).await, (0, 0));
    let ids: Vec<_> = opened.messages.iter().map(|message| message.id).collect();
    assert_eq!(store.message_get_many(&ids).await.unwrap(), []);
}

async fn what_was_committed_is_there_after_opening_again(engine: Engine) {
    let first = open(engine).await;
    let opened = create(&first, "guide", &["halo"]).await;
    first.close().await;
    let refused = first.append(append(Target::Existing(opened.conversation.id), &["late"])).await;
    assert!(matches!(refused, Err(wicara_store::Error::Unavailable(_))), "{refused:?}");
    let second = reopen(&first.database).await;
    assert_eq!(messages(&second, opened.conversation.id).await, opened.messages);
    let next = create(&second, "guide", &[]).await.conversation.id;
    assert!(next > opened.conversation.id);
}

async fn a_command_that_cannot_be_stored_fails_alone(engine: Engine) {
    let store = Arc::new(open(engine).await);
    let id = create(&store, "guide", &[]).await.conversation.id;
    let ani = || NewUser {
        email: "ani@x".into(),
        name: "ani".into(),
        password_hash: "hash".into(),
        role: Role::Agent,
        bots: Bots::All,
    };
    store.user_create(ani(), manual(1)).await.unwrap();
    // Sent together, so that they share transactions.
    let together = (0..100).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            if number % 10 == 5 {
                let refused = store.user_create(ani(), manual(2)).await;
                assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
            } else {
                stored(store.append(append(Target::Existing(id), &["halo"])).await.unwrap());
            }
        })
    });
    for task in together.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(messages(&store, id).await.len(), 90);
    assert_eq!(store.user_list().await.unwrap().len(), 1);
}
