//! People take conversations over from the bot and give them back.

use futures_util::future::join_all;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::{ask, ask_on};
use super::wire::column;
use super::{CONVERSATION_ID_INVALID, FORBIDDEN, MESSAGE_ID_INVALID, Shape};
use crate::store::execute;
use crate::support::{Answer, Client, Database, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    a_conversation_is_claimed_and_given_back,
    only_admins_take_what_somebody_else_has,
    of_a_hundred_claims_at_once_one_wins,
    a_visitor_asks_for_people,
    visitors_see_names_only_where_they_are_told,
    a_bot_that_keeps_failing_hands_over,
    a_bot_asks_for_people,
    what_nobody_claims_goes_back,
    who_is_removed_loses_the_conversation,
    a_bot_that_the_assignee_does_not_have_puts_it_into_the_queue,
    marks_move_forward_and_count_what_is_unread,
    signals_are_limited,
);

/// A conversation of a visitor with one question: its path, and its session.
pub async fn conversation(app: &TestApp) -> (String, Value) {
    let asked = ask(&app.anonymous(), "halo").await.ok();
    (format!("/api/conversation/{}", asked["conversation_id"]), asked["session_id"].clone())
}

/// An agent with a key of its own, and who it is.
async fn agent(app: &TestApp) -> (Client, Value) {
    let program = app.program_with(Role::Agent, Bots::All, Api::Conversation).await;
    let me = program.get("/api/auth/me").await.ok()["data"].clone();
    let id = format!("key-{}", me["id"].as_str().unwrap());
    (program, json!({"id": id, "kind": "program", "name": me["name"]}))
}

/// Handler, assignee and reason.
fn who(answer: &Value) -> Value {
    let data = &answer["data"];
    json!([data["handler"], data["assignee"], data["handoverReason"]])
}

fn claimed(assignee: &Value) -> String {
    let assignee =
        format!(r#"{{"id":{},"kind":{},"name":{}}}"#, assignee["id"], assignee["kind"], assignee["name"]);
    format!(r#"{{"status":409,"message":"conflict","error":"claimed","assignee":{assignee}}}"#)
}

async fn a_conversation_is_claimed_and_given_back(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (path, _) = conversation(&app).await;
    let (ani, ani_is) = agent(&app).await;
    assert_eq!(who(&ani.get(&path).await.ok()), json!(["bot", null, null]));
    // Nothing is had by nobody: there is nothing to release.
    assert_eq!(who(&ani.post(&format!("{path}/release"), "{}").await.ok()), json!(["bot", null, null]));

    let claim = ani.send(reqwest::Method::POST, &format!("{path}/claim"), None).await;
    let answer = claim.ok();
    assert_eq!(
        (&answer["message"], &answer["data"]["lastMessage"]["message"]),
        (&json!("success"), &json!("echo: halo"))
    );
    assert_eq!(who(&answer), json!(["human", ani_is, "operator"]));
    let since = answer["data"]["handedOverAt"].clone();
    assert!(since.is_string());
    let again = ani.post(&format!("{path}/claim"), "{}").await.ok();
    assert_eq!((who(&again), &again["data"]["updatedAt"]), (who(&answer), &answer["data"]["updatedAt"]));
    assert_eq!(who(&ani.patch(&path, json!({"handler": "human"})).await.ok()), who(&answer), "as it is");

    let queue = ani.post(&format!("{path}/release"), "{}").await.ok();
    assert_eq!((who(&queue), &queue["data"]["handedOverAt"]), (json!(["human", null, "operator"]), &since));
    let bot = ani.post(&format!("{path}/release"), json!({"to": "bot"})).await.ok();
    assert_eq!((who(&bot), &bot["data"]["handedOverAt"]), (json!(["bot", null, null]), &Value::Null));

    // By its handler alone.
    assert_eq!(
        who(&ani.patch(&path, json!({"handler": "human"})).await.ok()),
        json!(["human", null, "operator"])
    );
    assert_eq!(who(&ani.patch(&path, json!({"handler": "bot"})).await.ok()), json!(["bot", null, null]));

    let choices = r#"{"status":400,"error":"Validation Error","errors":[{"rule":"enum","field":"to","message":"enum validation failed","args":{"choices":["bot","queue"]}}]}"#;
    ani.post(&format!("{path}/release"), json!({"to": "x"})).await.is(400, choices);
    let broken = Shape::Rooms.broken(&[("boolean", "force")]);
    ani.post(&format!("{path}/claim"), json!({"force": "yes"})).await.is(400, &broken);
    for id in ["x", "999999999"] {
        for what in ["claim", "release", "seen"] {
            let answer = ani.post(&format!("/api/conversation/{id}/{what}"), json!({"upTo": 1})).await;
            answer.is(400, CONVERSATION_ID_INVALID);
        }
        ani.delete(&format!("/api/conversation/{id}/answer")).await.is(400, CONVERSATION_ID_INVALID);
    }
    app.stop().await;
}

async fn only_admins_take_what_somebody_else_has(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (path, _) = conversation(&app).await;
    let ((ani, ani_is), (budi, budi_is)) = (agent(&app).await, agent(&app).await);
    let admin = app.person();
    let [claim, release] = ["claim", "release"].map(|what| format!("{path}/{what}"));
    ani.post(&claim, "{}").await.ok();
    let conflict = claimed(&ani_is);
    for (path, body) in [(&claim, json!({})), (&release, json!({})), (&release, json!({"to": "bot"}))] {
        budi.post(path, body).await.is(409, &conflict);
    }
    budi.patch(&path, json!({"handler": "bot", "room": "mine"})).await.is(409, &conflict);
    budi.post(&claim, json!({"force": true})).await.is(403, FORBIDDEN);
    assert_eq!(
        budi.get(&path).await.ok()["data"]["room"],
        format!("website-{}", &path[18..]),
        "nothing changed"
    );
    // Without force, an admin is told like everybody else.
    admin.post(&claim, "{}").await.is(409, &conflict);

    let me = json!({"id": "1", "kind": "person", "name": "admin"});
    let taken = admin.post(&claim, json!({"force": true})).await.ok();
    assert_eq!(who(&taken), json!(["human", me, "operator"]));
    ani.post(&release, "{}").await.is(409, &claimed(&me));
    admin.post(&release, "{}").await.ok();
    budi.post(&claim, "{}").await.ok();
    assert_eq!(who(&admin.post(&release, "{}").await.ok()), json!(["human", null, "operator"]));
    budi.post(&claim, "{}").await.ok();
    admin.patch(&path, json!({"handler": "human"})).await.ok();
    assert_eq!(
        who(&admin.get(&path).await.ok()),
        json!(["human", budi_is, "operator"]),
        "it is human already"
    );
    assert_eq!(who(&admin.patch(&path, json!({"handler": "bot"})).await.ok()), json!(["bot", null, null]));
    app.stop().await;
}

/// On PostgreSQL through two servers.
async fn of_a_hundred_claims_at_once_one_wins(engine: Engine) {
    let app = TestApp::start(engine).await;
    let second = match engine {
        Engine::Postgres => Some(TestApp::on(Database::at(app.database.url.clone()), "").await),
        Engine::Sqlite => None,
    };
    let (path, _) = conversation(&app).await;
    let claim = format!("{path}/claim");
    let mut agents = Vec::new();
    for _ in 0..10 {
        agents.push(app.key(Role::Agent, Bots::All, Api::Conversation).await);
    }
    let apps: Vec<&TestApp> = [Some(&app), second.as_ref()].into_iter().flatten().collect();
    let claims = (0..100).map(|number| {
        let client = apps[number % apps.len()].anonymous().with("x-api-key", &agents[number / 10]);
        let claim = &claim;
        async move { (number / 10, client.post(claim, "{}").await) }
    });
    let answers: Vec<(usize, Answer)> = join_all(claims).await;
    let now = app.person().get(&path).await.ok()["data"]["assignee"].clone();
    let winners: Vec<usize> =
        answers.iter().filter(|(_, answer)| answer.status == 200).map(|(agent, _)| *agent).collect();
    assert!(winners.len() == 10 && winners.iter().all(|agent| *agent == winners[0]), "{winners:?}");
    let conflict = claimed(&now);
    for (_, answer) in answers.iter().filter(|(_, answer)| answer.status != 200) {
        answer.is(409, &conflict);
    }
    if let Some(second) = second {
        second.stop().await;
    }
    app.stop().await;
}

async fn a_visitor_asks_for_people(engine: Engine) {
    let closed = "[[bot]]\nid = \"closed\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nhandover_visitors = false\n";
    let app = TestApp::with(engine, closed).await;
    let visitor = app.anonymous();
    let (path, session) = conversation(&app).await;
    let thread = format!("/api/questions/{}", session.as_str().unwrap());
    let shown = visitor.get(&thread).await.ok();
    assert_eq!((&shown["data"]["handler"], &shown["data"]["handover"]), (&json!("bot"), &json!(true)));

    let first = visitor.post(&format!("{thread}/handover"), "").await;
    first.is(
        200,
        &format!(
            r#"{{"status":200,"message":"success","data":{{"conversationId":{},"session_id":{session},"handler":"human","handover":true,"assignee":null}}}}"#,
            &path[18..]
        ),
    );
    let again = visitor.post(&format!("{thread}/handover"), "").await;
    assert_eq!(again.text, first.text);
    assert_eq!(who(&app.person().get(&path).await.ok()), json!(["human", null, "visitor"]));

    // Whoever has it keeps it.
    let (ani, ani_is) = agent(&app).await;
    ani.post(&format!("{path}/claim"), "{}").await.ok();
    visitor.post(&format!("{thread}/handover"), "").await.ok();
    assert_eq!(who(&ani.get(&path).await.ok()), json!(["human", ani_is, "visitor"]));

    // What is asked meanwhile waits for people.
    let asked = app.bot.asked();
    let answer = ask_on(&visitor, &session, "anybody?").await.ok();
    assert_eq!((&answer["data"], &answer["handler"]), (&json!([]), &json!("human")));
    assert!(answer.get("stopped").is_none());
    assert_eq!(app.bot.asked(), asked);

    let body = json!({"message": "halo", "botId": "closed"});
    let other = visitor.post("/api/questions", body).await.ok()["session_id"].clone();
    let thread = format!("/api/questions/{}", other.as_str().unwrap());
    visitor.post(&format!("{thread}/handover"), "").await.is(403, FORBIDDEN);
    let shown = visitor.get(&thread).await.ok();
    assert_eq!((&shown["data"]["handler"], &shown["data"]["handover"]), (&json!("bot"), &json!(false)));
    let broken = Shape::Chatbot.broken(&[("uuid", "session_id")]);
    visitor.post("/api/questions/x/handover", "").await.is(400, &broken);
    visitor.delete("/api/questions/x/answer").await.is(400, &broken);
    app.stop().await;
}

async fn visitors_see_names_only_where_they_are_told(engine: Engine) {
    for shows in [false, true] {
        let app = TestApp::with(engine, &format!("handover.show_names = {shows}\n")).await;
        let (path, session) = conversation(&app).await;
        let (ani, ani_is) = agent(&app).await;
        ani.post(&format!("{path}/claim"), "{}").await.ok();
        let said = json!({"message": "Hi.", "type": "text", "role": "agent", "conversationId": &path[18..]});
        assert_eq!(ani.post("/api/message", said).await.ok()["data"]["author"], ani_is);
        let thread = format!("/api/questions/{}", session.as_str().unwrap());
        let name = json!({"name": ani_is["name"]});
        let shown = app.anonymous().get(&thread).await.ok();
        let authors: Vec<_> =
            shown["data"]["messages"].as_array().unwrap().iter().map(|message| &message["author"]).collect();
        let handed_over = app.anonymous().post(&format!("{thread}/handover"), "").await.ok();
        let expected = if shows {
            [json!(null), json!({"name": "echo"}), name.clone()]
        } else {
            [json!(null), json!(null), json!(null)]
        };
        assert_eq!(authors, expected.iter().collect::<Vec<_>>());
        assert_eq!(handed_over["data"]["assignee"], if shows { name } else { Value::Null });
        app.stop().await;
    }
}

async fn a_bot_that_keeps_failing_hands_over(engine: Engine) {
    let failing = "[[bot]]\nid = \"weak\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nretries = 0\nbreaker_failures = 0\n\
         handover_after_failures = 2\n";
    let app = TestApp::with(engine, failing).await;
    let visitor = app.anonymous();
    let question =
        |text: &str, session: &Value| json!({"message": text, "botId": "weak", "session_id": session});
    let opened = visitor.post("/api/questions", question("halo", &Value::Null)).await.ok();
    let session = &opened["session_id"];
    let path = format!("/api/conversation/{}", opened["conversation_id"]);
    let person = app.person();
    let asks =
        async |text: &str| visitor.post("/api/questions", question(text, session)).await.status.as_u16();
    // An answer in between begins anew.
    assert_eq!([asks("status 500").await, asks("halo").await, asks("status 500").await], [502, 200, 502]);
    assert_eq!(who(&person.get(&path).await.ok()), json!(["bot", null, null]));
    assert_eq!(asks("status 500").await, 502);
    assert_eq!(who(&person.get(&path).await.ok()), json!(["human", null, "bot-failed"]));
    // What came before it was given back does not count.
    person.post(&format!("{path}/release"), json!({"to": "bot"})).await.ok();
    assert_eq!(asks("status 500").await, 502);
    assert_eq!(who(&person.get(&path).await.ok()), json!(["bot", null, null]));
    assert_eq!(asks("status 500").await, 502);
    let asked = app.bot.asked();
    assert_eq!((asks("anybody?").await, app.bot.asked()), (200, asked));
    app.stop().await;
}

async fn a_bot_asks_for_people(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let asked = ask(&visitor, r#"say {"text":"One moment.","handover":true}"#).await.ok();
    assert_eq!(
        (column(&asked, "text"), &asked["data"][0]["handover"]),
        (vec![&json!("One moment.")], &json!(true))
    );
    let path = format!("/api/conversation/{}", asked["conversation_id"]);
    assert_eq!(who(&app.person().get(&path).await.ok()), json!(["human", null, "bot"]));
    for other in [r#"say {"text":"a","handover":false}"#, r#"say {"text":"a","handover":"true"}"#, "halo"] {
        let asked = ask(&visitor, other).await.ok();
        let path = format!("/api/conversation/{}", asked["conversation_id"]);
        assert_eq!(who(&app.person().get(&path).await.ok()), json!(["bot", null, null]), "{other}");
    }
    app.stop().await;
}

async fn what_nobody_claims_goes_back(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (ani, ani_is) = agent(&app).await;
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(conversation(&app).await.0);
    }
    for path in &paths {
        ani.patch(path, json!({"handler": "human"})).await.ok();
    }
    ani.post(&format!("{}/claim", paths[1]), "{}").await.ok();
    let database = app.stop().await;
    // The last one has just come into the queue.
    let old = format!(
        "UPDATE conversations SET unclaimed_since = 1 WHERE unclaimed_since IS NOT NULL AND id <> {}",
        &paths[2][18..]
    );
    execute(&database, &old).await;
    let settings = "handover.return_minutes = 5\nhandover.return_text = \"The bot is here again.\"\n";
    let app = TestApp::on(database, settings).await;
    let person = app.person();
    let is_back = async || who(&person.get(&paths[0]).await.ok()) == json!(["bot", null, null]);
    until(PATIENCE, "it is back", is_back).await;
    let last = person.get(&paths[0]).await.ok()["data"]["lastMessage"].clone();
    assert_eq!((&last["message"], &last["role"]), (&json!("The bot is here again."), &json!("bot")));
    assert_eq!(who(&person.get(&paths[1]).await.ok()), json!(["human", ani_is, "operator"]));
    assert_eq!(who(&person.get(&paths[2]).await.ok()), json!(["human", null, "operator"]));
    app.stop().await;
}

async fn who_is_removed_loses_the_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (mine, others) = (conversation(&app).await.0, conversation(&app).await.0);
    let budi = app.person_with("budi@example.org", Role::Agent, Bots::All).await;
    budi.post(&format!("{mine}/claim"), "{}").await.ok();
    let (key, key_is) = agent(&app).await;
    key.post(&format!("{others}/claim"), "{}").await.ok();
    app.people().user_delete("budi@example.org", false).await.unwrap();
    let person = app.person();
    assert_eq!(who(&person.get(&mine).await.ok()), json!(["human", null, "operator"]));
    assert_eq!(who(&person.get(&others).await.ok()), json!(["human", key_is, "operator"]));
    app.people().key_delete(key_is["name"].as_str().unwrap()).await.unwrap();
    assert_eq!(who(&person.get(&others).await.ok()), json!(["human", null, "operator"]));
    app.stop().await;
}

async fn a_bot_that_the_assignee_does_not_have_puts_it_into_the_queue(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (path, _) = conversation(&app).await;
    let only = Bots::Only(vec!["echo".into(), "second".into()]);
    let budi = app.person_with("budi@example.org", Role::Agent, only).await;
    let claimed = budi.post(&format!("{path}/claim"), "{}").await.ok();
    let person = app.person();
    let moved = person.patch(&path, json!({"botId": "second"})).await.ok();
    assert_eq!(who(&moved), who(&claimed));
    let moved = person.patch(&path, json!({"botId": "third"})).await.ok();
    assert_eq!(who(&moved), json!(["human", null, "operator"]));
    app.stop().await;
}

async fn marks_move_forward_and_count_what_is_unread(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let (path, session) = conversation(&app).await;
    let viewer = app.person_with("viewer@example.org", Role::Viewer, Bots::All).await;
    let person = app.person();
    let unread = async |client: &Client| {
        let one = client.get(&path).await.ok()["data"]["unreadCount"].clone();
        let list = client.get("/api/conversation").await.ok()["data"][0]["unreadCount"].clone();
        assert_eq!(one, list);
        one
    };
    assert_eq!(unread(&person).await, 0, "the bot has it, and nobody has opened it");
    person.patch(&path, json!({"handler": "human"})).await.ok();
    assert_eq!(unread(&person).await, 0, "it was asked before people had it");
    for text in ["one", "two"] {
        ask_on(&visitor, &session, text).await.ok();
    }
    assert_eq!((unread(&person).await, unread(&viewer).await), (json!(2), json!(2)));
    let thread = format!("/api/questions/{}", session.as_str().unwrap());
    let messages = visitor.get(&thread).await.ok()["data"]["messages"].clone();
    let id = |place: usize| messages[place]["id"].as_i64().unwrap();

    // The messages are: halo, its answer, one, two.
    let seen = viewer.post(&format!("{path}/seen"), json!({"upTo": id(2).to_string()})).await;
    seen.is(
        200,
        &format!(
            r#"{{"status":200,"message":"success","data":{{"conversationId":"{}","upTo":"{}"}}}}"#,
            &path[18..],
            id(2)
        ),
    );
    assert_eq!((unread(&person).await, unread(&viewer).await), (json!(2), json!(1)));
    let back = viewer.post(&format!("{path}/seen"), json!({"upTo": id(0)})).await.ok();
    assert_eq!(back["data"]["upTo"], id(2).to_string());
    let beyond = viewer.post(&format!("{path}/seen"), json!({"upTo": i64::MAX})).await.ok();
    assert_eq!((&beyond["data"]["upTo"], unread(&viewer).await), (&json!(id(3).to_string()), json!(0)));
    // With a mark, what comes counts whoever has the conversation.
    person.patch(&path, json!({"handler": "bot"})).await.ok();
    ask_on(&visitor, &session, "three").await.ok();
    assert_eq!((unread(&person).await, unread(&viewer).await), (json!(0), json!(1)));

    assert_eq!(person.get(&path).await.ok()["data"]["seenByVisitorUpTo"], Value::Null);
    let before = person.get(&path).await.ok()["data"]["updatedAt"].clone();
    let seen = visitor.post(&format!("{thread}/seen"), json!({"upTo": id(1)})).await;
    seen.is(
        200,
        &format!(
            r#"{{"status":200,"message":"success","data":{{"conversationId":{},"session_id":{session},"upTo":{}}}}}"#,
            &path[18..],
            id(1)
        ),
    );
    visitor.post(&format!("{thread}/seen"), json!({"upTo": id(0)})).await.ok();
    let now = person.get(&path).await.ok()["data"].clone();
    assert_eq!((&now["seenByVisitorUpTo"], &now["updatedAt"]), (&json!(id(1).to_string()), &before));

    // A note is nothing that a visitor could have seen.
    let note = json!({"message": "n", "type": "text", "role": "note", "conversationId": &path[18..]});
    person.post("/api/message", note).await.ok();
    let messages = visitor.get(&thread).await.ok()["data"]["messages"].clone();
    let newest = messages.as_array().unwrap().last().unwrap()["id"].clone();
    let seen = visitor.post(&format!("{thread}/seen"), json!({"upTo": i64::MAX})).await.ok();
    assert_eq!(seen["data"]["upTo"], newest);

    let required = Shape::Rooms.broken(&[("required", "upTo")]);
    viewer.post(&format!("{path}/seen"), "{}").await.is(400, &required);
    viewer.post(&format!("{path}/seen"), json!({"upTo": "x"})).await.is(400, MESSAGE_ID_INVALID);
    visitor
        .post(&format!("{thread}/seen"), "{}")
        .await
        .is(400, &Shape::Chatbot.broken(&[("required", "upTo")]));
    visitor.post(&format!("{thread}/seen"), json!({"upTo": "x"})).await.is(400, super::ID_INVALID);
    app.stop().await;
}

async fn signals_are_limited(engine: Engine) {
    let app = TestApp::with(engine, "limits.signals_per_minute = 4\n").await;
    let (visitor, (_, session), (_, other)) =
        (app.anonymous(), conversation(&app).await, conversation(&app).await);
    let thread = format!("/api/questions/{}", session.as_str().unwrap());
    // At each key press, it counts as it is shown.
    for _ in 0..20 {
        visitor.post(&format!("{thread}/typing"), "").await.ok();
    }
    visitor.post(&format!("{thread}/handover"), "").await.ok();
    visitor.post(&format!("{thread}/seen"), json!({"upTo": 1})).await.ok();
    visitor.delete(&format!("{thread}/answer")).await.ok();
    for answer in [
        visitor.post(&format!("{thread}/handover"), "").await,
        visitor.post(&format!("{thread}/seen"), json!({"upTo": 1})).await,
        visitor.delete(&format!("{thread}/answer")).await,
    ] {
        answer.has_status(429);
        assert!(answer.header("retry-after").is_some());
    }
    visitor.delete(&format!("/api/questions/{}/answer", other.as_str().unwrap())).await.ok();
    visitor.get(&thread).await.ok();
    app.stop().await;
}
