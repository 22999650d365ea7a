//! Random histories through the HTTP API: whoever has an old state and applies the feed's events to it ends at the new
//! state, on whichever node he reads.

mod changes;
mod reader;

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::json;
use wicara_model::{Api, Bots, Role};

use super::openapi::Schemas;
use crate::support::{
    Client, Database, Dice, Engine, PATIENCE, TestApp, on_both_engines, side_by_side, within,
};
use changes::{Made, Place, Places, Writer};
use reader::{By, Reader, Reads};

on_both_engines!(an_old_state_and_its_events_are_the_new_state);

/// The histories of an ordinary run; the variables are those of the store's histories.
const SEEDS: u64 = 3;
const HISTORIES: &str = "WICARA_HISTORIES";
const SEED: &str = "WICARA_HISTORY_SEED";

const WRITERS: usize = 5;
const CHANGES: usize = 80;
/// Conversations that a visitor follows.
const FOLLOWED: usize = 3;

/// The last change of a history that operators see is a conversation with this room, and a visitor this message.
const END: &str = "the end";

/// Names are told, so that they are in what readers compare. Some limits are lower than so many readers need.
const CONFIGURATION: &str = "handover.show_names = true\nlimits.streams_per_caller = 1000\n\
     [[bot]]\nid = \"b\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nhandover_visitors = false\nretries = 0\n\
     breaker_failures = 0\nhandover_after_failures = 2\n";

async fn an_old_state_and_its_events_are_the_new_state(engine: Engine) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let first = number(SEED).unwrap_or(0);
    let count = number(HISTORIES).unwrap_or(if number(SEED).is_some() { 1 } else { SEEDS });
    let made = Mutex::new(Made::default());
    for seed in first..first + count {
        let name = format!("{SEED}={seed} on {engine:?}");
        let history = async {
            let of_it = within(PATIENCE * 3, "a history ends", history(engine, seed)).await;
            made.lock().unwrap().add(of_it);
        };
        side_by_side([(name, history)]).await;
    }
    if count >= SEEDS {
        made.lock().unwrap().assert_every_kind();
    }
}

/// Two servers of one database; one on SQLite.
async fn nodes(engine: Engine) -> Vec<TestApp> {
    let first = TestApp::with(engine, CONFIGURATION).await;
    let database = Database::at(first.database.url.clone());
    match engine {
        Engine::Postgres => vec![first, TestApp::on(database, CONFIGURATION).await],
        Engine::Sqlite => vec![first],
    }
}

/// The same caller at each node.
fn at_each(nodes: &[TestApp], name: &str, header: &str, secret: &str) -> Vec<Client> {
    nodes.iter().map(|node| node.anonymous().named(name).with(header, secret)).collect()
}

async fn history(engine: Engine, seed: u64) -> Made {
    let nodes = nodes(engine).await;
    let mut dice = Dice::new(seed);
    let schemas = Arc::new(Schemas::of(&nodes[0]).await);
    let cookie = format!("wicara_session={}", nodes[0].session().await);
    let person = at_each(&nodes, "a person", "cookie", &cookie);
    let mut keys = Vec::new();
    for (name, role, bots) in [
        ("an agent", Role::Agent, Bots::All),
        ("an agent of b", Role::Agent, Bots::Only(vec!["b".into()])),
        ("a reader of b", Role::Viewer, Bots::Only(vec!["b".into()])),
    ] {
        let key = nodes[0].key(role, bots, Api::Conversation).await;
        keys.push(at_each(&nodes, name, "x-api-key", &key));
    }
    let visitor: Vec<_> = nodes.iter().map(TestApp::anonymous).collect();

    let places = Arc::new(Places::default());
    let mut readers = Vec::new();
    for number in 0..FOLLOWED {
        let bot = if number == 0 { "b" } else { "echo" };
        let asked = visitor[0].post("/api/questions", json!({"message": "halo", "botId": bot})).await.ok();
        let session = asked["session_id"].as_str().unwrap().to_owned();
        places.add(Place { id: asked["conversation_id"].to_string(), session: Some(session.clone()) });
        readers.push((Reads::Thread(session), visitor.clone()));
    }
    readers.push((Reads::All, person.clone()));
    readers.push((Reads::OfBot("b"), keys[2].clone()));
    let mut reading = Vec::new();
    for (reads, clients) in readers {
        for by in [By::Pages, By::Streams] {
            let dice = Dice::new(dice.seed());
            let reader = Reader::new(reads.clone(), by, clients.clone(), dice, Arc::clone(&schemas));
            reading.push(tokio::spawn(reader.follow()));
        }
    }

    let operators = [person.clone(), keys[0].clone(), keys[1].clone()];
    let writing = (0..WRITERS).map(|number| {
        let operator = operators[number % operators.len()].clone();
        let dice = Dice::new(dice.seed());
        let mut writer = Writer::new(operator, visitor.clone(), Arc::clone(&places), dice);
        tokio::spawn(async move {
            for _ in 0..CHANGES {
                writer.change().await;
            }
        })
    });
    for written in join_all(writing.collect::<Vec<_>>()).await {
        written.unwrap();
    }
    end(&person[0], &places).await;
    for reader in reading {
        let reader = reader.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        for node in 0..nodes.len() {
            reader.assert_knows_all(node).await;
        }
    }
    for node in nodes {
        node.stop().await;
    }
    places.made()
}

/// Makes the changes by which readers know that no more come.
async fn end(person: &Client, places: &Places) {
    for place in places.all().iter().filter(|place| place.session.is_some()) {
        let message = json!({"message": END, "type": "text", "role": "agent", "conversationId": place.id});
        let said = person.post("/api/message", message).await;
        assert!([200, 400].contains(&said.status.as_u16()), "{}", said.text);
    }
    let room = json!({"room": END, "integrationType": "website", "botId": "b"});
    person.post("/api/conversation", room).await.ok();
}
