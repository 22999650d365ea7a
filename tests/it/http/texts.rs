//! What is written comes back as it was written, through all three APIs.

use serde_json::{Value, json};

use crate::support::{Engine, TestApp, on_both_engines};

on_both_engines!(
    texts_come_back_byte_for_byte,
    answers_come_back_byte_for_byte,
    names_come_back_byte_for_byte
);

const TEXTS: &[&str] = &[
    "halo 😊",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇮🇩",
    "\u{202e}abc\u{202c} \u{200f}שלום\u{200e} العربية",
    "e\u{301} n\u{303} \u{1112}\u{1161}\u{11ab} and é ñ 한",
    "  leading, trailing and\ttabs\r\nlines\n ",
    "\u{feff}byte order mark, \u{ad}soft hyphen, \u{200b}zero width",
    "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}\u{e000}",
    "\u{1}\u{8}\u{b}\u{1b}[31m\u{7f}\u{85}\u{2028}\u{2029}",
    r#"{"text":"no object","a":[1,2]}"#,
    r#"[{"text":"x"}]"#,
    "null",
    "true",
    "1e309",
    r#""quoted""#,
    r"\u0041\n\\ C:\temp",
    "<script>alert(1)</script> &amp; &#0;",
    "'; DROP TABLE messages; -- %s {} {{question}} ${HOME} $1",
    "ijẞİıſK",
    "ဗမာ ไทย 𐍈𝔘𝔫𝔦 ꦧꦱꦗꦮ",
];

async fn texts_come_back_byte_for_byte(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    for text in TEXTS {
        let asked = visitor.post("/api/questions", &json!({"message": text})).await.ok();
        let echo = format!("echo: {text}");
        assert_eq!(asked["data"][0]["text"], echo);
        let session = asked["session_id"].as_str().unwrap();
        let thread = visitor.get(&format!("/api/questions/{session}")).await.ok()["data"]["messages"].clone();
        assert_eq!((&thread[0]["text"], &thread[1]["text"]), (&json!(text), &json!(echo)));

        let question = person.get(&format!("/api/message/{}", thread[0]["id"])).await.ok()["data"].clone();
        assert_eq!(question["message"], *text);
        let id = question["conversationId"].as_str().unwrap().to_owned();
        let body = json!({"message": text, "type": text, "role": text, "conversationId": id});
        let short = text.chars().count() <= 64;
        let message = if short { person.post("/api/message", &body).await.ok() } else { json!(null) };
        if short {
            for name in ["message", "type", "role"] {
                assert_eq!(message["data"][name], *text);
            }
            let patched = format!("/api/message/{}", message["data"]["id"].as_str().unwrap());
            let emptied =
                person.patch(&patched, &json!({"message": "-", "type": "-", "role": "-"})).await.ok();
            assert_eq!(emptied["data"]["message"], "-");
            let body = json!({"message": text, "type": text, "role": text});
            assert_eq!(person.patch(&patched, &body).await.ok()["data"]["type"], *text);
        }

        // The same in the lists and details of the other two.
        let listed = person.get(&format!("/api/message?conversationId={id}")).await.ok()["data"].clone();
        assert_eq!((&listed[0]["message"], &listed[1]["message"]), (&json!(text), &json!(echo)));
        let room = person.get(&format!("/api/conversation/{id}")).await.ok();
        let newest = if short { *text } else { &echo };
        assert_eq!(room["data"]["lastMessage"]["message"], newest);
        let detail = program.get(&format!("/api/conversation/{id}")).await.ok()["data"].clone();
        let chats = program.get("/api/conversation?limit=1").await.ok()["data"][0].clone();
        for messages in [&detail["messages"], &chats["messages"]] {
            assert_eq!(
                (&messages[0]["message"], &messages[1]["message"]["text"]),
                (&json!(text), &json!(echo))
            );
            if short {
                assert_eq!(messages[2]["message"], *text);
            }
        }
    }
    app.stop().await;
}

/// A bot's answer object keeps every byte of its JSON: the order of its names, its numbers, its escapes.
async fn answers_come_back_byte_for_byte(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    let nested = format!("{}{}", "[".repeat(63), "]".repeat(63));
    for answer in [
        r#"{"z":1,"text":"a","a":1.0,"big":123456789012345678901234567890,"tiny":1e-999}"#.to_owned(),
        r#"{"text":"\u0041\ud83d\ude0a\/","twice":"\u00e9 é","nul":"\u0000","not":"\\ud800"}"#.into(),
        format!(r#"{{"text":"deep","deep":{nested}}}"#),
        r#"{"text":"numbers","n":[0,-0,-0.0,1E5,1e+5,0.10,18446744073709551616]}"#.into(),
    ] {
        let asked = visitor.post("/api/questions", &json!({"message": format!("say [{answer}]")})).await;
        asked.has_status(200);
        let inside = answer.trim_start_matches('{').trim_end_matches('}');
        assert!(asked.text.contains(inside), "{}", asked.text);
        let session = asked.text.split(r#""session_id":""#).nth(1).unwrap()[..36].to_owned();
        let thread = visitor.get(&format!("/api/questions/{session}")).await;
        let listed = person.get("/api/message?order=desc&limit=1").await;
        let newest = program.get("/api/conversation?limit=1").await;
        let id =
            newest.text.split(r#""conversationId":"#).nth(1).unwrap().split('}').next().unwrap().to_owned();
        let detail = program.get(&format!("/api/conversation/{id}")).await;
        for shown in [thread, listed, newest, detail] {
            shown.has_status(200);
            assert!(shown.text.contains(&answer), "{answer}: {}", shown.text);
        }
    }
    app.stop().await;
}

async fn names_come_back_byte_for_byte(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    for text in TEXTS.iter().filter(|text| text.chars().count() <= 64) {
        let body = json!({"room": text, "integrationType": text, "botId": text, "userId": text});
        let created = person.post("/api/conversation", &body).await.ok()["data"].clone();
        let path = format!("/api/conversation/{}", created["id"].as_str().unwrap());
        let changed = person.patch(&path, &json!({"room": "-", "integrationType": "-"})).await.ok();
        assert_eq!(changed["data"]["room"], "-");
        let changed = person.patch(&path, &body).await.ok()["data"].clone();
        let shown = person.get(&path).await.ok()["data"].clone();
        for data in [&created, &changed, &shown] {
            for name in ["room", "integrationType", "botId", "userId"] {
                assert_eq!(data[name], *text);
            }
        }
        // A filter finds it by exactly these bytes, whoever asks.
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for name in ["room", "integrationType", "botId", "userId"] {
            for client in [&person, &program] {
                let found = client.get(&format!("/api/conversation?{name}={encoded}")).await.ok();
                let found = found["data"].as_array().unwrap();
                let ids: Vec<Value> = found.iter().map(|found| json!(shown_id(&found["id"]))).collect();
                assert_eq!(ids, [created["id"].clone()], "{name}={text}");
            }
        }
    }
    app.stop().await;
}

/// An id as a string, in which form it may come.
fn shown_id(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
