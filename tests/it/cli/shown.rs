//! What bots, visitors, the database and the configuration hold steers no terminal on which a command shows it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::call_at;
use super::place::{Place, Run};
use crate::support::PATIENCE;
use crate::support::process::Running;
use crate::support::{Bot, Engine, Model};

/// Clears the screen in two ways, turns the direction of writing, and hides a letter.
const STEERING: &str = "a\u{1b}[2J\u{9b}2J\u{202e}b\u{2066}c\u{7f}\r\u{200f}\u{e0041}";

#[track_caller]
fn assert_tame(run: &Run) {
    assert_texts_tame(&[&run.out, &run.err]);
}

#[track_caller]
fn assert_texts_tame(texts: &[&str]) {
    for text in texts {
        let wrong = text.chars().find(|&character| {
            character != '\n'
                && (character.is_control() || STEERING.contains(character) && !character.is_ascii())
        });
        assert_eq!(wrong, None, "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_steers_no_terminal() {
    let (bot, model) = (Bot::start().await, Model::start().await);
    let bots = format!(
        "[[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\nretries = 0\n\
         [[bot]]\nid = \"model\"\nkind = \"openai\"\nurl = \"{}\"\nmodel = \"m\"\npublic = true\n",
        bot.url, model.url
    );
    let place = Place::new(Engine::Sqlite, &bots).await;
    let server = place.serve();
    let shown = "a\\u{1b}[2J\\u{9b}2J\\u{202e}b\\u{2066}c\\u{7f}\\u{d}\\u{200f}\\u{e0041}";

    // Each character is a piece of its own, so that every sequence is split.
    for command in
        [&["ask", "Halo", "--bot", "model", "--server", &server.base][..], &["bot", "try", "model", "Halo"]]
    {
        STEERING.chars().for_each(|character| model.say(&character.to_string()));
        model.end();
        let run = place.run(command);
        assert_tame(&run);
        assert_eq!(run.done().trim_end(), shown, "{command:?}");
    }

    let answer = json!([{"text": STEERING, "suggest_links": [{"title": STEERING, "url": "http://h/"}]}]);
    let question = format!("say {answer}");
    let run = place.run(&["ask", &question, "--server", &server.base]);
    assert_tame(&run);
    assert_eq!(run.done(), format!("{shown}\n  {shown}: http://h/\n"));
    for command in [
        &["ask", &question, "--server", &server.base, "--json"][..],
        &["bot", "try", "echo", &question, "--json"],
    ] {
        let run = place.run(command);
        assert_tame(&run);
        let value: Value = serde_json::from_str(&run.done()).unwrap();
        let answers = value.get("data").unwrap_or(&value);
        assert_eq!(answers[0]["text"], STEERING, "the value is the same");
    }

    // What is wrong is told with what was said.
    let refused = place.run(&["ask", "Halo", "--bot", STEERING, "--server", &server.base]);
    assert_tame(&refused);
    refused.failed(1);
    let usage = place.run(&["ask", "Halo", "--session", STEERING]);
    assert_tame(&usage);
    usage.failed(2);
    let unknown = place.run(&["bot", "try", STEERING, "Halo"]);
    assert_tame(&unknown);
    unknown.failed(2);
    server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_steer_no_terminal_and_make_no_rows() {
    let id = serde_json::to_string(&format!("{STEERING}\n\t")).unwrap();
    let id = id.replace(|character: char| character.is_control(), "");
    let bots = format!("[[bot]]\nid = {id}\nkind = \"documents\"\ndefault = true\n");
    let place = Place::new(Engine::Sqlite, &bots).await;
    place.serve().terminate();
    let name = format!("{STEERING}\n1  root");
    let added = place.run(&["key", "add", &name]);
    assert_tame(&added);
    let key = added.done();
    assert_eq!(key.lines().count(), 1, "{key}");
    for command in [&["key", "list"][..], &["bot", "list"]] {
        let run = place.run(command);
        assert_tame(&run);
        let table = run.done();
        assert_eq!(table.lines().count(), 2, "one row below the headings: {table}");
        assert!(table.contains("a\\u{1b}[2J"), "{table}");
    }
    let run = place.run(&["key", "list", "--json"]);
    assert_tame(&run);
    assert_eq!(serde_json::from_str::<Value>(&run.done()).unwrap()[0]["name"], name);
    for command in [&["bot", "list", "--json"][..], &["config", "show"], &["config", "show", "--json"]] {
        let run = place.run(command);
        assert_tame(&run);
        let shown = run.done();
        assert!(shown.contains("\\u202e") || shown.contains("\\U0000202e"), "{shown}");
    }
    let removed = place.run(&["key", "remove", &name]);
    assert_tame(&removed);
    removed.done();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_the_log_steers_no_terminal_that_shows_it() {
    let id = serde_json::to_string(STEERING).unwrap().replace('\u{7f}', "\\u007f");
    let bots = format!("[[bot]]\nid = {id}\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\ndefault = true\n");
    let place = Place::new(Engine::Sqlite, &bots).await;
    let file = place.path().join("log");
    let mut command = place.command(&[]);
    let log = File::create(&file).unwrap();
    let mut server = Running(command.stdout(Stdio::piped()).stderr(log).spawn().unwrap());
    let mut ready = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    out.read_line(&mut ready).unwrap();
    let base = ready.trim_end().strip_prefix("Wicara is ready at ").expect("the server starts");
    let question = Some(json!({"message": "Halo"}));
    assert_eq!(call_at(base, "/api/questions", ("accept", "*/*"), question).await.0, 502);
    server.terminate();
    assert_eq!(server.end(PATIENCE).await, Some(0));
    let log = std::fs::read_to_string(&file).unwrap();
    assert_texts_tame(&[&log]);
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bots: Vec<_> = lines.filter_map(|line| line.get("bot").cloned()).collect();
    assert_eq!(bots, [STEERING], "the value is the same");
}
