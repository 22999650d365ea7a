//! With a hundred thousand conversations stored, no operation reads a table from one end to the other, sorts what has
//! no limit, or handles more rows than a page or a piece has.

mod filled;
mod place;
mod statements;

use serde_json::json;

use self::filled::{CONVERSATIONS, ELSEWHERE, HEAVY, LONG, LONG_MESSAGES, RARE, RARE_CONVERSATION, session};
use self::place::Place;
use crate::support::app::PASSWORD;
use crate::support::{Client, Engine, on_both_engines};

on_both_engines!(no_operation_takes_longer_the_more_is_stored);

async fn no_operation_takes_longer_the_more_is_stored(engine: Engine) {
    let mut place = Place::new(engine).await;
    people_come_and_go(&mut place).await;
    ask(&mut place).await;
    list(&mut place).await;
    walk(&mut place).await;
    search(&mut place).await;
    let start = follow(&mut place, "").await;
    keep(&mut place).await;
    follow(&mut place, &format!("after={start}&limit=500")).await;
    hand_over(&mut place).await;
    place.assert_good();
}

/// Where in a list of this many things.
fn places(things: i64) -> Vec<String> {
    let (middle, end) = (things / 2, things / 10);
    let mut places: Vec<String> = ["", "page=2", "limit=100&order=asc"].map(str::to_owned).into();
    for order in ["asc", "desc"] {
        places.extend([
            format!("order={order}&page={}", end / 2),
            format!("order={order}&page={end}"),
            format!("order={order}&before={middle}"),
            format!("order={order}&after={middle}"),
            format!("order={order}&after={}&before={middle}", middle - 50),
        ]);
    }
    places
}

async fn list(place: &mut Place) {
    let filters = [
        "",
        "&botId=rare",
        "&botId=other",
        "&botId=sparse",
        "&userId=rare",
        "&userId=user-8",
        "&integrationType=rare",
        "&integrationType=telegram",
        "&room=rare",
        "&room=nowhere",
        "&botId=other&integrationType=telegram",
        "&botId=rare&integrationType=rare",
        "&botId=echo&userId=rare",
        "&integrationType=website&userId=user-8",
        "&integrationType=website&room=rare",
    ];
    let callers =
        [&place.person, &place.program, &place.limited, &place.few, &place.sparse].map(Client::clone);
    for caller in &callers {
        for at in places(CONVERSATIONS) {
            for filter in filters {
                place.call(caller, &format!("conversation_list?{at}{filter}"), "", None).await;
            }
        }
        for at in places(CONVERSATIONS + LONG_MESSAGES) {
            place.call(caller, &format!("message_list?{at}"), "", None).await;
        }
        for id in [LONG, RARE_CONVERSATION] {
            for at in places(LONG_MESSAGES) {
                place.call(caller, &format!("message_list?{at}&conversationId={id}"), "", None).await;
            }
        }
    }
}

/// Lists by activity and with filters, and what they count.
async fn walk(place: &mut Place) {
    let filters = [
        "",
        "&handler=human",
        "&handler=bot",
        "&assignee=me",
        "&assignee=none",
        "&assignee=none&handler=human",
        "&assignee=nobody",
        "&failed=true",
        "&failed=false",
        "&unanswered=true",
        "&unanswered=false&handler=human",
        "&unread=true",
        "&unread=true&handler=human",
        "&unread=false",
        "&since=1970-01-01T00:00:30Z",
        "&since=1970-01-01T00:00:20.5Z&until=1970-01-01T00:01:20.5Z",
        "&until=1970-01-01",
        "&since=2020-01-01",
        "&botId=rare",
        "&botId=rare&failed=true",
        "&userId=rare",
        "&userId=user-8&unanswered=true",
        "&integrationType=rare",
        "&integrationType=telegram&unanswered=true",
        "&room=rare",
        "&room=nowhere&handler=human",
    ];
    let callers =
        [&place.person, &place.program, &place.limited, &place.few, &place.sparse].map(Client::clone);
    for caller in &callers {
        for sort in
            ["sort=activity", "sort=activity&order=asc&limit=100", "sort=created", "sort=created&order=asc"]
        {
            for filter in filters {
                let what = format!("conversation_list?{sort}{filter}");
                let list = place.call(caller, &what, "", None).await.ok();
                // A documented list is looked at elsewhere.
                let walked = list["pagination"].get("nextCursor").or(list["meta"].get("nextCursor"));
                if let Some(next) = walked.and_then(|next| next.as_str()) {
                    place.call(caller, &format!("{what}&cursor={next}"), "", None).await;
                }
            }
            place.call(caller, &format!("conversation_list?{sort}&handler=bot&page=900"), "", None).await;
        }
        for filter in [
            "role=client",
            "role=note",
            "role=bot&order=desc",
            "since=1970-01-01T00:00:30Z&until=1970-01-01T00:01:00Z",
            "since=2020-01-01&role=client",
            "until=1970-01-01T00:00:00.5Z",
            "role=bot&conversationId=50000",
            "role=client&conversationId=50000&order=desc",
        ] {
            let what = format!("message_list?{filter}");
            let list = place.call(caller, &what, "", None).await.ok();
            if let Some(next) = list["pagination"]["nextCursor"].as_str() {
                place.call(caller, &format!("{what}&cursor={next}"), "", None).await;
            }
        }
        place.call(caller, "conversation_counts", "", None).await;
    }
}

/// Words that are common, rare and not there, and what makes them harder.
async fn search(place: &mut Place) {
    let callers =
        [&place.person, &place.program, &place.limited, &place.few, &place.sparse].map(Client::clone);
    let queries = [
        "asks",
        "answer",
        "an%20answer",
        "%22an%20answer%22",
        "%22answer%20an%22",
        "asks%20answer",
        "ans*",
        "website",
        "website-40010",
        "nowhere",
        "asks%20-answer",
        "asks&botId=rare",
        "asks&handler=human",
        "asks&since=1970-01-01T00:00:30Z&until=1970-01-01T00:00:31Z",
        "asks&unread=true",
        "asks&page=90&limit=100",
    ];
    for caller in &callers {
        for query in queries {
            for list in ["conversation_list", "message_list"] {
                for sort in ["", "&sort=relevance"] {
                    let what = format!("{list}?q={query}{sort}");
                    let found = place.call(caller, &what, "", None).await.ok();
                    let next = found["pagination"].get("nextCursor").or(found["meta"].get("nextCursor"));
                    if let Some(next) = next.and_then(|next| next.as_str()) {
                        place.call(caller, &format!("{what}&cursor={next}"), "", None).await;
                    }
                }
            }
        }
        place.call(caller, &format!("message_list?q=answer&conversationId={LONG}"), "", None).await;
    }
}

/// Returns where the feed was.
async fn follow(place: &mut Place, query: &str) -> String {
    let pages = [&place.person, &place.program, &place.limited, &place.visitor];
    let [person, program, limited, visitor] = pages.map(|caller| caller.with("accept", "application/json"));
    let mut cursor = String::new();
    for caller in [&person, &program, &limited] {
        for narrowed in ["", "&botId=rare", "&kinds=conversation.*", "&conversationId=1,2,3"] {
            let page = place.call(caller, &format!("feed_read?{query}{narrowed}"), "", None).await.ok();
            cursor = page["cursor"].as_str().unwrap().to_owned();
        }
    }
    for number in [LONG, RARE_CONVERSATION] {
        place.call(&visitor, &format!("question_feed_read?{query}"), session(number), None).await;
    }
    cursor
}

async fn keep(place: &mut Place) {
    let callers = [place.person.clone(), place.program.clone(), place.limited.clone()];
    for (number, caller) in callers.iter().enumerate() {
        for id in [LONG, RARE_CONVERSATION] {
            let once = caller.with("idempotency-key", &format!("message-{number}-{id}"));
            let message = json!({"message": "m", "type": "text", "role": "bot", "conversationId": id});
            for caller in [&once, &once] {
                place.call(caller, "message_create", "", Some(message.clone())).await;
            }
            let made = place.call(caller, "message_create", "", Some(message)).await.ok();
            let made = made["data"]["id"].as_str().unwrap();
            place.call(caller, "message_get", made, None).await;
            let answer = format!("{}/{made}", session(id));
            let visitor = place.visitor.clone();
            place.call(&visitor, "question_feedback", answer, Some(json!({"value": -1, "text": "t"}))).await;
            let note = json!({"message": "n", "type": "t", "role": "note"});
            place.call(caller, "message_update", made, Some(note)).await;
            place.call(caller, "conversation_get", id, None).await;
            place.call(caller, "message_delete?undo=30", made, None).await;
            place.call(caller, "message_restore", made, None).await;
            place.call(caller, "message_delete", made, None).await;
            for patch in
                [json!({"room": "r", "userId": "u"}), json!({"integrationType": format!("moved-{number}")})]
            {
                place.call(caller, "conversation_update", id, Some(patch)).await;
            }
        }
        let once = caller.with("idempotency-key", &format!("conversation-{number}"));
        let new = json!({"room": "r", "integrationType": "i", "botId": "other", "userId": "u"});
        for caller in [caller, &once, &once] {
            let made = place.call(caller, "conversation_create", "", Some(new.clone())).await.ok();
            let id = made["data"]["id"].as_str().unwrap();
            let patch = json!({"botId": RARE, "handler": "human"});
            place.call(caller, "conversation_update", id, Some(patch)).await;
        }
        let undone = 200 + 4 * i64::try_from(number).unwrap();
        place.call(caller, "conversation_delete?undo=30", undone, None).await;
        place.call(caller, "conversation_restore", undone, None).await;
        let id = 100 + 4 * i64::try_from(number).unwrap();
        place.call(caller, "conversation_message_delete", id, None).await;
        place.call(caller, "conversation_delete", id, None).await;
    }
    place.call(&callers[0], "conversation_delete", HEAVY, None).await;
}

/// Who has conversations, and what was read of them.
async fn hand_over(place: &mut Place) {
    let (visitor, person) = (place.visitor.clone(), place.person.clone());
    for id in [LONG, RARE_CONVERSATION] {
        place.call(&visitor, "question_handover", session(id), None).await;
        place.call(&visitor, "question_seen", session(id), Some(json!({"upTo": id}))).await;
        place.call(&visitor, "question_answer_stop", session(id), None).await;
        place.call(&visitor, "question_typing", session(id), None).await;
        for what in ["conversation_claim", "conversation_release", "conversation_claim"] {
            place.call(&person, what, id, Some(json!({}))).await;
        }
        for up_to in [id, id - 1] {
            place.call(&person, "conversation_seen", id, Some(json!({"upTo": up_to}))).await;
        }
        place.call(&person, "conversation_get", id, None).await;
        place.call(&person, "conversation_list", "", None).await;
        place.call(&person, "conversation_update", id, Some(json!({"botId": "other"}))).await;
        place.call(&person, "conversation_release", id, Some(json!({"to": "bot"}))).await;
        place.call(&person, "conversation_answer_stop", id, None).await;
        place.call(&person, "conversation_typing", id, None).await;
    }
    // One that fails too often, and one that asks for people.
    for text in ["status 500", r#"say {"text":"a","handover":true}"#] {
        let body = json!({"message": text, "botId": "weak"});
        place.try_call(&visitor, "question_ask", "", Some(body)).await;
    }
}

async fn ask(place: &mut Place) {
    let visitor = place.visitor.clone();
    let new = json!({"message": "a question"});
    let opened = place.call(&visitor, "question_ask", "", Some(new.clone())).await.ok();
    let opened = opened["session_id"].as_str().unwrap().to_owned();
    let once = visitor.with("idempotency-key", "once-0123456789012345");
    for caller in [&once, &once] {
        place.call(caller, "question_ask", "", Some(new.clone())).await;
    }
    // One that fails, and its retries.
    let fails = json!({"message": "status 500", "session_id": opened});
    let once = visitor.with("idempotency-key", "failing-0123456789012345");
    let mut failed = json!(null);
    for caller in [&visitor, &once, &once] {
        let answer = place.try_call(caller, "question_ask", "", Some(fails.clone())).await;
        assert_eq!(answer.status, 502, "{}", answer.text);
        failed = answer.json()["question_id"].clone();
    }
    let person = place.person.clone();
    place.call(&person, "message_ask", &failed, None).await;
    let long = session(LONG);
    place.model.say("an answer");
    place.model.end();
    let events = visitor.with("accept", "text/event-stream");
    let body = json!({"message": "a question", "session_id": long});
    place.call(&events, "question_ask", "", Some(body)).await;
    for session in [&long, &opened] {
        for what in ["question_list".to_owned(), format!("question_list?before={}", CONVERSATIONS + 9000)] {
            place.call(&visitor, &what, session, None).await;
        }
    }
    answer_twice(place, &opened).await;
}

/// A question that is no longer asked here when its answer comes, and has no other.
async fn answer_twice(place: &mut Place, session: &str) {
    let (client, asked) = (place.visitor.clone(), place.bot.asked());
    let body = json!({"message": "wait 300", "session_id": session});
    let asking = tokio::spawn(async move { client.post("/api/questions", &body).await });
    place.bot.until_asked(asked + 1).await;
    place.direct.run(&format!("DELETE FROM asks WHERE node <> {ELSEWHERE}")).await;
    assert_eq!(asking.await.unwrap().status, 409);
    place.statements.take("question_ask");
}

async fn people_come_and_go(place: &mut Place) {
    let person = place.sign_in().await;
    place.call(&person, "me", "", None).await;
    place.call(&place.limited.clone(), "me", "", None).await;
    let passwords = json!({"old": PASSWORD, "new": PASSWORD});
    place.call(&person, "password_change", "", Some(passwords)).await;
    place.call(&person, "bot_list", "", None).await;
    place.call(&person, "bot_try", "echo", Some(json!({"message": "halo"}))).await;
    place.call(&place.visitor.clone(), "widget_get", "", None).await;
    place.call(&person, "logout", "", Some(json!({"everywhere": true}))).await;
    // That was everywhere.
    place.person = place.sign_in().await;
    let person = place.sign_in().await;
    place.call(&person, "logout", "", None).await;
    for (operation, arguments) in [
        ("user_create", &["user", "add", "a@b.c"][..]),
        ("user_list", &["user", "list"]),
        ("user_password", &["user", "password", "a@b.c"]),
        ("user_delete", &["user", "remove", "a@b.c"]),
        ("key_create", &["key", "add", "k"]),
        ("key_list", &["key", "list"]),
        ("key_delete", &["key", "remove", "k"]),
    ] {
        place.run(operation, arguments);
    }
    for operation in ["healthz", "readyz"] {
        place.call(&place.visitor.clone(), operation, "", None).await;
    }
    place.call(&place.program.clone(), "metrics", "", None).await;
}
