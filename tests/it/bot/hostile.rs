//! Whatever a bot does, whoever asked gets an answer of the contract in time, and nobody else notices.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Engine, Hostile, TestApp, hostile::WAYS, on_both_engines};

on_both_engines!(a_hostile_bot_harms_nobody, a_bot_that_keeps_failing_is_left_alone);

const KINDS: [(&str, &str); 3] = [
    ("http", "headers = { Authorization = 'hush' }"),
    ("langflow", "flow = 'hush'\napi_key = 'hush'"),
    ("openai", "model = 'hush'\napi_key = 'hush'\nsystem = 'hush'"),
];

fn bots(url: &str) -> String {
    let bots = KINDS.iter().flat_map(|(kind, own)| {
        WAYS.iter().map(move |way| {
            format!(
                "[[bot]]\nid = '{kind}-{way}'\nkind = '{kind}'\nurl = '{url}/{way}'\n{own}\npublic = true\n\
                 timeout_seconds = 2\nmax_answer_bytes = 65536\nretries = 0\nbreaker_failures = 0\n"
            )
        })
    });
    bots.collect()
}

/// The error that a question to this bot ends with, plain or as the last event.
async fn failure(client: &Client, bot: &str, streams: bool) -> Value {
    let accept = if streams { "text/event-stream" } else { "application/json" };
    let body = json!({"message": "halo", "botId": bot});
    let answer = client.with("accept", accept).post("/api/questions", &body).await;
    assert!(!answer.text.contains("hush"), "{bot}: {}", answer.text);
    if !streams {
        assert_eq!(answer.json()["status"], answer.status.as_u16(), "{bot}: {}", answer.text);
        return answer.json();
    }
    assert!(answer.text.starts_with("event: session\n"), "{bot}: {}", answer.text);
    let last = answer.text.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{bot}: {last}"));
    serde_json::from_str(data).unwrap()
}

async fn a_hostile_bot_harms_nobody(engine: Engine) {
    let hostile = Hostile::start().await;
    let app = TestApp::with(engine, &bots(&hostile.url)).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let names = KINDS.iter().flat_map(|(kind, _)| WAYS.iter().map(move |way| format!("{kind}-{way}")));
    let asked: Vec<_> = names.flat_map(|bot| [(bot.clone(), false), (bot, true)]).collect();

    let failures = asked.iter().map(|(bot, streams)| failure(&visitor, bot, *streams));
    let another = async {
        for _ in 0..40 {
            let answer = visitor.post("/api/questions", &json!({"message": "halo"})).await;
            assert_eq!(answer.ok()["data"][0]["text"], "echo: halo");
        }
    };
    let (failures, ()) = tokio::join!(join_all(failures), another);

    for ((bot, _), failure) in asked.iter().zip(&failures) {
        let status = failure["status"].as_u64().unwrap();
        assert!([502, 503, 504].contains(&status), "{bot}: {failure}");
        assert_eq!(failure["message"], "bot unavailable", "{bot}");
        assert!(!failure.to_string().contains(&hostile.place), "{bot}: {failure}");
        if bot.ends_with("-silent") {
            assert_eq!(status, 504, "{bot}");
        }
    }
    // Each question is kept and says why it has no answer.
    for (bot, _) in asked.iter().filter(|(_, streams)| *streams) {
        let chats = program.get(&format!("/api/conversation?botId={bot}")).await.ok();
        let chats = chats["data"].as_array().unwrap().clone();
        assert_eq!(chats.len(), 2, "{bot}");
        for chat in chats {
            let list = program.get(&format!("/api/message?conversationId={}", chat["id"])).await.ok();
            assert_eq!(list["data"].as_array().unwrap().len(), 1, "{bot}: {list}");
            assert!(list["data"][0]["failure"]["reason"].is_string(), "{bot}: {list}");
        }
    }
    app.stop().await;
}

async fn a_bot_that_keeps_failing_is_left_alone(engine: Engine) {
    let hostile = Hostile::start().await;
    let bots: String = KINDS
        .iter()
        .map(|(kind, own)| {
            format!(
                "[[bot]]\nid = '{kind}'\nkind = '{kind}'\nurl = '{}/garbage'\n{own}\npublic = true\n\
                 retries = 0\nbreaker_failures = 2\nbreaker_seconds = 600\n",
                hostile.url
            )
        })
        .collect();
    let app = TestApp::with(engine, &bots).await;
    let visitor = app.anonymous();
    for (kind, _) in KINDS {
        for (streams, status) in [(false, 502), (true, 502), (false, 503), (true, 503)] {
            assert_eq!(failure(&visitor, kind, streams).await["status"], status, "{kind}");
        }
    }
    app.stop().await;
}
