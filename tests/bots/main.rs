//! The kinds `langflow` and `openai` against real servers, which `cargo xtask bots` installs and starts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on should stop")]

mod asking;
#[path = "../it/support/events.rs"]
mod events;
mod flows;

use asking::{Asking, Failing};
use flows::Langflow;

const KEY: &str = "sk-right-key";
const WRONG_KEY: &str = "sk-wrong-key";
/// A v1 flow by a name, a v2 flow by an id.
const NO_FLOW: [&str; 2] = ["no-such-flow", "00000000-0000-4000-8000-000000000000"];

/// What the command says by environment.
fn from_xtask(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask bots`"))
}

fn server() -> String {
    from_xtask("WICARA_BOTS_SERVER")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm() {
    let bot = |id: &str, model: &str, key: &str| {
        let url = server();
        format!("id = {id:?}\nkind = \"openai\"\nurl = \"{url}/v1\"\nmodel = {model:?}\napi_key = {key:?}")
    };
    let asking = Asking::start(
        "litellm",
        &[
            bot("answering", "answering", KEY),
            bot("failing", "failing", KEY),
            bot("locked", "answering", WRONG_KEY),
            bot("lost", "no-such-model", KEY),
        ],
    );
    // As xtask/bots/litellm.yaml has it.
    let answer = ["We open at 08.00 and close at 16.00, café 😀"; 40].join(". ");
    asking.answers("answering", |_| answer.clone()).await;
    for (id, said) in [
        ("failing", "this is a mock internal server error"),
        // There is no database that it could look the key up in.
        ("locked", "No connected db."),
        ("lost", "Invalid model name"),
    ] {
        asking.fails(&Failing { id, reason: "rejected", said: Some(said) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langflow_1_2() {
    let asking = langflow("langflow_1_2", "v1").await;
    // It ends the stream of a failed run without a word.
    for id in ["failing", "breaking"] {
        asking.fails(&Failing { id, reason: "unreadable", said: None }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langflow_1_13_v1() {
    a_failure_is_told(langflow("langflow_1_13_v1", "v1").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langflow_1_13_v2() {
    a_failure_is_told(langflow("langflow_1_13_v2", "v2").await).await;
}

async fn a_failure_is_told(asking: Asking) {
    for id in ["failing", "breaking"] {
        asking.fails(&Failing { id, reason: "rejected", said: Some("the archive burns") }).await;
    }
}

/// What is the same on all versions.
async fn langflow(name: &str, api: &str) -> Asking {
    let langflow = Langflow::sign_in(&server()).await;
    let key = langflow.key_create().await;
    let echo = langflow.flow_create(name, include_str!("echo.py")).await;
    let failing = langflow.flow_create(name, include_str!("failing.py")).await;
    let breaking = langflow.flow_create(name, include_str!("breaking.py")).await;
    let bot = |id: &str, flow: &str, key: &str| {
        let url = server();
        format!(
            "id = {id:?}\nkind = \"langflow\"\nurl = \"{url}\"\nflow = {flow:?}\napi_key = {key:?}\napi = {api:?}"
        )
    };
    let asking = Asking::start(
        name,
        &[
            bot("echo", &echo, &key),
            bot("failing", &failing, &key),
            bot("breaking", &breaking, &key),
            bot("locked", &echo, WRONG_KEY),
            bot("lost", NO_FLOW[usize::from(api == "v2")], &key),
        ],
    );
    asking.answers("echo", |question| format!("You asked: {question}")).await;
    for (id, said) in [("locked", "API key"), ("lost", "not found")] {
        asking.fails(&Failing { id, reason: "rejected", said: Some(said) }).await;
    }
    asking
}
