//! The program itself, as an operator runs it.

mod backups;
mod bots;
mod configuration;
mod metrics;
mod packaging;
mod pages;
pub mod place;
mod search;
mod shown;
mod streams;
mod watch;

use std::io::Write;
use std::process::{Command, Stdio};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Engine, PATIENCE, TestApp, on_both_engines, until};
use place::{Place, Server, finished};

on_both_engines!(
    people_come_and_go_while_the_server_runs,
    a_key_works_at_once_and_not_when_it_is_removed,
    the_second_start_shows_no_password,
    a_database_that_cannot_be_opened_is_named_by_its_setting,
    a_check_connects_to_the_database_and_changes_nothing,
    a_start_says_where_conversations_are_kept,
    people_are_managed_without_the_secrets_of_bots,
);

const PASSWORD: &str = "a long password";
async fn call(server: &Server, path: &str, header: (&str, &str), body: Option<Value>) -> (StatusCode, Value) {
    call_at(&server.base, path, header, body).await
}

async fn call_at(base: &str, path: &str, header: (&str, &str), body: Option<Value>) -> (StatusCode, Value) {
    wicara_platform::tls::install();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = format!("{base}{path}");
    let request = match body {
        Some(body) => client.post(address).header("content-type", "application/json").body(body.to_string()),
        None => client.get(address),
    };
    let response = request.header(header.0, header.1).send().await.unwrap();
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn log_in(server: &Server, email: &str, password: &str) -> (StatusCode, Value) {
    log_in_at(&server.base, email, password).await
}

async fn log_in_at(base: &str, email: &str, password: &str) -> (StatusCode, Value) {
    let body = json!({"email": email, "password": password});
    call_at(base, "/api/auth/login", ("accept", "*/*"), Some(body)).await
}

async fn people_come_and_go_while_the_server_runs(engine: Engine) {
    let place = Place::new(engine, "").await;
    let server = place.serve();
    let add = ["user", "add", "Ada@Example.org", "--role", "agent", "--bots", "guide,other"];
    let added = place.with_password(&add, PASSWORD);
    assert!(added.err.contains("other"), "a bot that is not configured may be a slip: {}", added.err);
    assert_eq!(added.done(), "Added ada@example.org, role agent, bots guide,other.\n");
    let (status, me) = log_in(&server, "ada@example.org", PASSWORD).await;
    assert_eq!(status, 200);
    assert_eq!((&me["data"]["role"], &me["data"]["bots"]), (&json!("agent"), &json!(["guide", "other"])));

    assert_eq!(place.with_password(&["user", "add", "budi@example.org"], PASSWORD).done().lines().count(), 1);
    let listed: Value = serde_json::from_str(&place.run(&["user", "list", "--json"]).done()).unwrap();
    let of =
        |email: &str| listed.as_array().unwrap().iter().find(|user| user["email"] == email).unwrap().clone();
    assert_eq!(listed.as_array().unwrap().len(), 3, "with the first administrator");
    assert_eq!(
        (of("budi@example.org")["role"].clone(), of("budi@example.org")["bots"].clone()),
        (json!("viewer"), Value::Null)
    );
    assert_eq!(of("ada@example.org")["bots"], json!(["guide", "other"]));
    let table = place.run(&["user", "list"]).done();
    for text in ["EMAIL", "ada@example.org", "budi@example.org", "viewer", "guide,other", "all"] {
        assert!(table.contains(text), "{table}");
    }

    let changed = place.with_password(&["user", "password", "ada@example.org"], "quite another one");
    assert!(changed.done().contains("signed out"));
    assert_eq!(log_in(&server, "ada@example.org", PASSWORD).await.0, 401);
    assert_eq!(log_in(&server, "ada@example.org", "quite another one").await.0, 200);

    place.run(&["user", "remove", "ada@example.org"]).done();
    assert_eq!(log_in(&server, "ada@example.org", "quite another one").await.0, 401);

    // What goes wrong says what to do, and with which code.
    let again = place.with_password(&["user", "add", "budi@example.org"], PASSWORD).failed(1);
    assert!(again.contains("budi@example.org") && again.contains("exists already"), "{again}");
    for command in [["user", "remove", "ada@example.org"], ["user", "password", "ada@example.org"]] {
        let unknown = place.with_password(&command, PASSWORD).failed(1);
        assert!(unknown.contains("wicara user list"), "{unknown}");
    }
    for (email, password, expected) in [
        ("cita@example.org", "brief", "password is too short: choose one of 8 to 1024 characters"),
        ("cita@example.org", "", "password is"),
        ("cita@example.org", "          ", "password is missing or blank"),
        ("cita", PASSWORD, "no e-mail address"),
        ("cita@example.org@h", PASSWORD, "no e-mail address"),
    ] {
        let refused = place.with_password(&["user", "add", email], password).failed(2);
        assert!(refused.contains(expected), "{refused}");
        assert!(password.trim().is_empty() || !refused.contains(password), "{refused}");
    }
    let no_terminal = place.run(&["user", "add", "cita@example.org"]).failed(2);
    assert!(no_terminal.contains("WICARA_PASSWORD"), "{no_terminal}");
    let nobody = place.run(&["user", "password", "cita@example.org"]).failed(1);
    assert!(nobody.contains("nobody has the e-mail"), "before a password is asked for: {nobody}");
    assert_eq!(place.run(&["user", "list", "--json"]).done().matches("email").count(), 2);
    server.terminate();
}

async fn a_key_works_at_once_and_not_when_it_is_removed(engine: Engine) {
    let place = Place::new(engine, "").await;
    let server = place.serve();
    let printed = place.run(&["key", "add", "website", "--role", "agent", "--api", "conversation"]).done();
    let key = printed.lines().last().unwrap().to_owned();
    assert!(printed.ends_with(&format!("{key}\n")) && !key.contains(' ') && key.len() > 32, "{printed}");
    let me = call(&server, "/api/auth/me", ("x-api-key", &key), None).await.1["data"].clone();
    assert_eq!(
        (&me["name"], &me["role"], &me["api"]),
        (&json!("website"), &json!("agent"), &json!("conversation"))
    );

    // As a script takes it.
    let script = format!(
        "KEY=$('{}' key add reports 2>/dev/null | tail -n 1) && printf %s \"$KEY\"",
        env!("CARGO_BIN_EXE_wicara")
    );
    let taken = finished(Command::new("sh").args(["-c", &script]).current_dir(place.path())).done();
    let me = call(&server, "/api/auth/me", ("x-api-key", &taken), None).await.1["data"].clone();
    assert_eq!(
        (&me["name"], &me["role"], &me["api"]),
        (&json!("reports"), &json!("viewer"), &json!("chatbot"))
    );

    for shown in [place.run(&["key", "list"]).done(), place.run(&["key", "list", "--json"]).done()] {
        assert!(shown.contains("website") && shown.contains("reports"), "{shown}");
        assert!(
            !shown.contains(&key[..20]) && !shown.contains(&taken[..20]),
            "no key is shown again: {shown}"
        );
    }
    let again = place.run(&["key", "add", "website"]).failed(1);
    assert!(again.contains("exists already"), "{again}");
    place.run(&["key", "remove", "website"]).done();
    // Another process has removed it: the server knows it from the feed, within a second.
    let is_refused = async || call(&server, "/api/auth/me", ("x-api-key", &key), None).await.0 == 401;
    until(PATIENCE, "a removed key is refused", is_refused).await;
    assert_eq!(call(&server, "/api/auth/me", ("x-api-key", &taken), None).await.0, 200);
    let unknown = place.run(&["key", "remove", "website"]).failed(1);
    assert!(unknown.contains("wicara key list"), "{unknown}");
    assert!(place.run(&["key", "add", "  "]).failed(2).contains("name"));
    server.terminate();
}

async fn the_second_start_shows_no_password(engine: Engine) {
    let place = Place::new(engine, "").await;
    let mut server = place.serve();
    let welcome = server.welcome();
    let after = |label: &str| {
        let line = welcome.lines().find(|line| line.trim_start().starts_with(label)).expect(&welcome);
        line.trim_start().strip_prefix(label).unwrap().trim().to_owned()
    };
    let (email, password) = (after("e-mail"), after("password"));
    assert_eq!(email, "admin@localhost");
    assert_eq!(log_in(&server, &email, &password).await.0, 200);

    // The line to paste, as it stands there, in a plain shell.
    let line = welcome.lines().find(|line| line.trim_start().starts_with("curl ")).expect(&welcome);
    let pasted = finished(Command::new("sh").args(["-c", line]).env("no_proxy", "*"));
    assert_ne!(pasted.status.code(), Some(127), "curl has to be installed for this test");
    let answer: Value = serde_json::from_str(&pasted.done()).unwrap();
    assert_eq!(answer["status"], 200, "{answer}");
    assert!(answer["data"][0]["text"].as_str().unwrap().contains("Wicara"), "{answer}");
    server.terminate();

    let server = place.serve();
    assert_eq!(log_in(&server, &email, &password).await.0, 200);
    let printed = server.terminate();
    assert!(!printed.contains(&password) && !printed.contains("password"), "{printed}");
    assert_eq!(printed.lines().count(), 3, "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_the_configuration_is_not_printed() {
    let place = Place::new(Engine::Sqlite, &format!("auth.admin_password = \"{PASSWORD}\"\n")).await;
    let mut server = place.serve();
    let welcome = server.welcome();
    assert!(welcome.contains("password  as in auth.admin_password"), "{welcome}");
    assert!(!welcome.contains(PASSWORD), "{welcome}");
    assert_eq!(log_in(&server, "admin@localhost", PASSWORD).await.0, 200);
    server.terminate();
}

#[test]
fn only_the_server_makes_a_database() {
    let place = Place::with_config("");
    for command in [&["user", "list"][..], &["user", "add", "ada@example.org"], &["key", "add", "website"]] {
        let told = place.with_password(command, PASSWORD).failed(1);
        let path = place.path().canonicalize().unwrap().join("wicara-data/wicara.db");
        assert!(told.contains(&format!("no database at {} (store.url)", path.display())), "{told}");
        assert!(told.contains("--config"), "{told}");
        assert!(!place.path().join("wicara-data").exists(), "{command:?}");
    }
}

async fn a_database_that_cannot_be_opened_is_named_by_its_setting(engine: Engine) {
    let url = match engine {
        Engine::Sqlite => "sqlite:wicara.toml/wicara.db",
        Engine::Postgres => "postgres://wicara:hush@127.0.0.1:1/wicara",
    };
    let place = Place::with_config(&format!("server.listen = '127.0.0.1:0'\nstore.url = '{url}'"));
    let told = place.run(&["serve"]).failed(1);
    assert!(
        told.contains("store.url (wicara.toml or WICARA_STORE__URL): ") && !told.contains("hush"),
        "{told}"
    );
}

async fn a_check_connects_to_the_database_and_changes_nothing(engine: Engine) {
    let place = Place::new(engine, "").await;
    let check = || place.run(&["config", "check", "--connect"]).done();
    let before = check();
    let expected = match engine {
        Engine::Sqlite => "which does not exist yet",
        Engine::Postgres => ", empty.",
    };
    assert!(before.contains(expected), "{before}");
    // Nothing stays behind, in the database and beside it.
    assert_eq!(check(), before);
    let server = place.serve();
    let running = check();
    assert!(running.contains(", schema version "), "{running}");
    // Commands that only read have nothing to complain of.
    for list in [&["user", "list"], &["key", "list"]] {
        let listed = place.run(list);
        assert_eq!(listed.err, "", "{list:?}");
        listed.done();
    }
    server.terminate();
    assert_eq!(check(), running);
}

async fn a_start_says_where_conversations_are_kept(engine: Engine) {
    let place = Place::new(engine, "").await;
    let printed = place.serve().terminate();
    let line =
        printed.lines().find_map(|line| line.strip_prefix("Conversations are kept in ")).expect(&printed);
    match engine {
        Engine::Sqlite => {
            assert!(std::path::Path::new(line).is_absolute() && line.ends_with("/wicara.db"), "{line}")
        }
        Engine::Postgres => assert!(line.starts_with("PostgreSQL at 127.0.0.1, database test_"), "{line}"),
    }
}

async fn people_are_managed_without_the_secrets_of_bots(engine: Engine) {
    let more = "auth.admin_password = \"${TEST_ADMIN}\"\n\
                [[bot]]\nid = \"flow\"\nkind = \"openai\"\nurl = \"${TEST_URL}\"\nmodel = \"m\"\napi_key = \"${TEST_KEY}\"\ndefault = true\n";
    let place = Place::new(engine, more).await;
    let secrets = [("TEST_ADMIN", PASSWORD), ("TEST_URL", "http://127.0.0.1:1"), ("TEST_KEY", "k")];
    let server = place.serve_with(&secrets);
    let changed = place.with_password(&["user", "password", "admin@localhost"], "quite another one").done();
    assert!(changed.contains("new password"), "{changed}");
    let added = place.with_password(&["user", "add", "ada@example.org", "--bots", "flow,folw"], PASSWORD);
    assert!(added.err.contains("folw") && !added.err.contains("\"flow\""), "{}", added.err);
    place.run(&["key", "list"]).done();
    // A file's line break at the end of a secret belongs to the file.
    let with_break = place.with_password(&["user", "password", "ada@example.org"], "a third password\n");
    with_break.done();
    assert_eq!(log_in(&server, "ada@example.org", "a third password").await.0, 200);
    let quoted = place.with_password(&["user", "password", "ada@example.org"], "\"a third password\"");
    let told = quoted.failed(2);
    assert!(told.contains("WICARA_PASSWORD") && told.contains("quotes") && !told.contains("third"), "{told}");
    for odd in ["a third\npassword", "a third password ", "\ta third password", "a third password\n\n"] {
        let told = place.with_password(&["user", "password", "ada@example.org"], odd).failed(2);
        assert!(told.contains("WICARA_PASSWORD") && !told.contains("third"), "{told}");
    }
    let named = finished(place.command(&["user", "list"]).env("WICARA_SERVER_PORT", "3333"));
    assert!(named.err.contains("WICARA_SERVER_PORT"), "{named:?}");

    let refused = place.run(&["user", "remove", "admin@localhost"]).failed(1);
    assert!(refused.contains("last administrator") && refused.contains("--force"), "{refused}");
    place.run(&["user", "remove", "admin@localhost", "--force"]).done();
    server.terminate();
}

#[test]
fn an_address_that_cannot_be_listened_on_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, expected) in [
        (taken.local_addr().unwrap().to_string(), "another program listens there"),
        ("192.0.2.1:3333".to_owned(), "this machine has no such address"),
    ] {
        let told = Place::with_config(&format!("server.listen = '{address}'")).run(&["serve"]).failed(1);
        assert!(
            told.contains(&address) && told.contains("server.listen") && told.contains(expected),
            "{told}"
        );
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let place = Place::with_config("");
    for level in ["warning", "info,blah"] {
        let told = finished(place.command(&["config", "check"]).env("WICARA_LOG", level)).failed(2);
        assert!(told.contains("WICARA_LOG") && told.contains("warn") && told.contains("off"), "{told}");
    }
    finished(place.command(&["config", "check"]).env("WICARA_LOG", "warn,wicara=debug")).done();
}

#[test]
fn every_command_shows_its_help_with_examples() {
    let place = Place::with_config("");
    for command in [
        &[][..],
        &["serve"],
        &["ask"],
        &["user"],
        &["user", "add"],
        &["user", "password"],
        &["user", "list"],
        &["user", "remove"],
        &["key"],
        &["key", "add"],
        &["key", "list"],
        &["key", "remove"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["backup"],
        &["restore"],
        &["copy"],
    ] {
        let help = place.run(&[command, &["--help"]].concat()).done();
        assert!(
            help.contains("Example") && help.contains(&["wicara", &command.join(" ")].join(" ")[..]),
            "{help}"
        );
        assert!(help.contains("--config"), "{help}");
    }
    assert!(place.run(&["--version"]).done().starts_with("wicara "));
    assert!(!place.path().join("wicara-data").exists(), "help touches nothing");
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let place = Place::with_config("");
    for arguments in [
        &["serv"][..],
        &["--port", "5"],
        &["user"],
        &["user", "add"],
        &["user", "add", "a@h", "--role", "boss"],
        &["user", "add", "a@h", "--bots", "a,,b"],
        &["key", "add", "a", "--api", "both"],
        &["key", "add", "a", "b"],
        &["ask"],
        &["ask", "x", "--session", "5"],
        &["ask", "x", "--server", "localhost:3333"],
        &["config", "mend"],
        &["backup"],
        &["restore", "a", "b"],
        &["copy"],
        &["copy", "--to", "mysql://h/db"],
        &["copy", "--to", "postgres://u:${NOT_SET_ANYWHERE}@h/db"],
    ] {
        let told = place.run(arguments).failed(2);
        assert!(told.lines().count() > 0, "{arguments:?}");
    }
    assert!(!place.path().join("wicara-data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_said_clearly() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    let address = server.base.strip_prefix("http://").unwrap();
    let second = Place::with_config(&format!("server.listen = \"{address}\""));
    let told = second.run(&["serve"]).failed(1);
    assert!(
        told.contains(&format!("cannot listen on {address}")) && told.contains("server.listen"),
        "{told}"
    );
    assert!(!second.path().join("wicara-data").exists(), "nothing was made");
    server.terminate();
}

/// SIGTERM while the bot thinks: the question is answered first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_runs() {
    let app = TestApp::start(Engine::Sqlite).await;
    let bot = format!("[[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\n", app.bot.url);
    let place = Place::new(Engine::Sqlite, &bot).await;
    let server = place.serve();
    let base = server.base.clone();
    let asking = tokio::task::spawn_blocking({
        let mut command = place.command(&["ask", "wait 1000", "--server", &base]);
        move || finished(&mut command)
    });
    app.bot.until_asked(1).await;
    let stopping = tokio::task::spawn_blocking(move || server.terminate());
    assert_eq!(asking.await.unwrap().done(), "echo: wait 1000\n");
    stopping.await.unwrap();
    app.stop().await;
}

/// A password that somebody types is read from the terminal alone, so that a pipe is told what to do instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_not_read_from_a_pipe() {
    let place = Place::new(Engine::Sqlite, "").await;
    place.serve().terminate();
    let mut command = place.command(&["user", "add", "ada@example.org"]);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = process.stdin.take().unwrap().write_all(b"a long password\na long password\n");
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("WICARA_PASSWORD"));
}
