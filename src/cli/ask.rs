//! `wicara ask`: asks a running server, and shows the answer as it is streamed.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use uuid::Uuid;
use wicara_model::terminal::visible_json;
use wicara_outbound::sse::Parser;

use super::Failure;
use super::output::{print, say};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara ask \"How do I add a bot?\"
  wicara ask \"And a second one?\" --session 1309c142-3535-45b2-acdf-8bfbe59c3b9a
  wicara ask \"Halo\" --bot majadigi --server https://chat.example.org
  wicara ask \"Halo\" --json";

/// The limit for connecting. The answer has the server's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A generous limit: the last event holds the whole answer, which the server bounds by `max_answer_bytes`.
const MAX_EVENT_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// What to ask
    #[arg(value_name = "QUESTION")]
    question: String,
    /// Go on with this conversation [default: open a new one]
    #[arg(long, value_name = "ID")]
    session: Option<Uuid>,
    /// Ask this bot [default: the server's default bot, or the conversation's]
    #[arg(long, value_name = "ID")]
    bot: Option<String>,
    /// The server's address [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL", value_parser = server_address)]
    server: Option<Url>,
    /// Print the server's answer as it came; what would steer the terminal is escaped
    #[arg(long)]
    json: bool,
}

pub(super) fn server_address(text: &str) -> Result<Url, &'static str> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("an address such as http://127.0.0.1:3333 is expected")
}

pub(super) async fn run(args: Args, config: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => default_server(&config()?)?,
    };
    let response = call(&server, &args).await?;
    let status = response.status().as_u16();
    let is_stream = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/event-stream"));
    if is_stream {
        return show_stream(response, &server, &args).await;
    }
    let body = response.text().await.map_err(|error| unreachable(&server, error))?;
    let reply = serde_json::from_str(&body);
    if args.json {
        let is_json = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        let shown = if is_json { visible_json(&body) } else { body.as_str().into() };
        print(&format!("{}\n", shown.trim_end()))?;
    }
    if (200..300).contains(&status) {
        match reply {
            Ok(_) if args.json => Ok(()),
            Ok(reply) => show(&reply, "", &server, &args),
            Err(_) => Err(not_wicara(&server)),
        }
    } else {
        Err(refusal(status, &reply.unwrap_or_default(), &args, &server))
    }
}

/// Shows an answer while it is streamed.
async fn show_stream(mut response: Response, server: &Url, args: &Args) -> Result<(), Failure> {
    let mut parser = Parser::new(MAX_EVENT_BYTES);
    let mut shown = String::new();
    let broken_off = || {
        Failure::failed(format!("the server at {server} broke off before the answer was complete: ask again"))
    };
    while let Some(chunk) = response.chunk().await.map_err(|_| broken_off())? {
        let mut frames = Vec::new();
        parser.push(&chunk, &mut frames).map_err(|_| not_wicara(server))?;
        for frame in frames {
            match frame.event.as_str() {
                "token" => {
                    let token: Token = serde_json::from_str(&frame.data).map_err(|_| not_wicara(server))?;
                    print(&token.text)?;
                    shown.push_str(&token.text);
                }
                "message" => {
                    let reply = serde_json::from_str(&frame.data).map_err(|_| not_wicara(server))?;
                    return show(&reply, &shown, server, args);
                }
                "error" => {
                    if !shown.is_empty() {
                        print("\n")?;
                    }
                    let reply: Reply = serde_json::from_str(&frame.data).map_err(|_| not_wicara(server))?;
                    return Err(refusal(reply.status, &reply, args, server));
                }
                _ => {}
            }
        }
    }
    Err(broken_off())
}

pub(super) fn unreachable(server: &Url, error: reqwest::Error) -> Failure {
    let cause = wicara_outbound::cause(error);
    Failure::failed(format!(
        "no server answers at {server} ({cause}): start one with `wicara serve`, or name another with --server"
    ))
}

pub(super) fn not_wicara(server: &Url) -> Failure {
    Failure::failed(format!("what answers at {server} is no Wicara server: check --server"))
}

/// The URL of the configured server, for a program on the same machine.
pub(super) fn default_server(config: &Config) -> Result<Url, Failure> {
    let mut address = config.server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    let text = match (address.port(), &config.server.public_url) {
        (0, Some(public_url)) => public_url.clone(),
        (0, None) => {
            return Err(Failure::usage(
                "the configuration leaves the port to the server: name the address that it printed with --server",
            ));
        }
        _ => format!("http://{address}"),
    };
    Url::parse(&text).map_err(Failure::failed)
}

async fn call(server: &Url, args: &Args) -> Result<Response, Failure> {
    let client = wicara_outbound::client_for(server).connect_timeout(CONNECT_TIMEOUT).build();
    let client = client.map_err(|error| {
        Failure::failed(format!("no HTTP client can be made: {}", wicara_outbound::cause(error)))
    })?;
    let mut question = json!({ "message": args.question });
    if let Some(session) = args.session {
        question["session_id"] = json!(session);
    }
    if let Some(bot) = &args.bot {
        question["botId"] = json!(bot);
    }
    let address = format!("{}/api/questions", server.as_str().trim_end_matches('/'));
    // `--json` prints the server's answer as one document, so it must not be a stream.
    let accept = if args.json { "application/json" } else { "text/event-stream" };
    client
        .post(address)
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, "application/json")
        .body(question.to_string())
        .send()
        .await
        .map_err(|error| unreachable(server, error))
}

#[derive(Deserialize)]
struct Token {
    text: String,
}

/// The fields of the server's answer or error that are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reply {
    status: u16,
    session_id: Option<String>,
    data: Vec<Answer>,
    message: Option<String>,
    error: Option<Value>,
    errors: Vec<Violation>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    text: String,
    /// Any JSON, since it is the bot's.
    #[serde(default)]
    suggest_links: Value,
}

#[derive(Debug, Deserialize)]
struct Violation {
    field: String,
    message: String,
}

/// Shows the complete answer except for the text that was streamed.
fn show(reply: &Reply, shown: &str, server: &Url, args: &Args) -> Result<(), Failure> {
    print(&unshown(&reply.data, shown, server))?;
    if reply.data.is_empty() {
        say("A person has taken this conversation over and will answer there.");
    }
    if let Some(session) = &reply.session_id {
        let server = if args.server.is_some() { format!(" --server {server}") } else { String::new() };
        say(&format!("To go on: wicara ask \"…\" --session {session}{server}"));
    }
    Ok(())
}

/// The texts and links of the answers without the text that was streamed.
fn unshown(answers: &[Answer], shown: &str, server: &Url) -> String {
    let texts: Vec<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    let texts = texts.join("\n\n");
    let mut text = match (shown.trim_end(), texts.trim_end()) {
        ("", texts) => texts.to_owned(),
        (shown, texts) if shown == texts => String::new(),
        // The complete answer differs from the streamed text: the bot corrected it.
        (_, texts) => format!("\n\n{texts}"),
    };
    if !answers.is_empty() {
        text.push('\n');
    }
    for link in answers.iter().filter_map(|answer| answer.suggest_links.as_array()).flatten() {
        if let Some(url) = link["url"].as_str() {
            // The guide's links may be relative to the server.
            let url = server.join(url).map_or_else(|_| url.to_owned(), String::from);
            text.push_str(&format!("  {}: {url}\n", link["title"].as_str().unwrap_or("Link")));
        }
    }
    text
}

/// The server's refusal in a sentence that says what to do.
fn refusal(status: u16, reply: &Reply, args: &Args, server: &Url) -> Failure {
    let reason = match (reply.message.as_deref(), reply.error.as_ref().and_then(Value::as_str)) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "no more is known".to_owned(),
    };
    let session = reply.session_id.as_deref().unwrap_or("of this question");
    Failure::failed(match (status, args.session) {
        (404, Some(session)) => format!(
            "the server knows no conversation {session}: leave --session away to open a new one, or check the id"
        ),
        (400, _) if reply.errors.iter().any(|error| error.field == "botId") => format!(
            "the server has no bot {:?} for this conversation: choose another with --bot, or leave it away",
            args.bot.as_deref().unwrap_or_default()
        ),
        (400, _) if !reply.errors.is_empty() => {
            let errors: Vec<_> =
                reply.errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
            format!("the server refused the question ({}): mend it and ask again", errors.join("; "))
        }
        (503, _) if reply.message.as_deref() == Some("answer delayed") => {
            format!("{reason} It will be in the session {session}")
        }
        (502..=504, _) if reply.session_id.is_some() => format!(
            "the bot gave no answer ({reason}); the question is stored in the session {session}: ask again later"
        ),
        (429, _) => format!("the server was asked too often ({reason}): wait a little and ask again"),
        (503, _) => {
            format!("the server is busy, stops, or its database is away ({reason}): ask again in a moment")
        }
        _ => format!(
            "the server at {server} answered with status {status} ({reason}): see its log, or check --server"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_shown_with_their_links() {
        let reply: Reply = serde_json::from_value(json!({"data": [
            {"text": "One\n", "suggest_links": [{"title": "Page", "url": "/guide/a#b"}, {"url": 5}, 6]},
            {"text": "Two", "suggest_links": [{"title": "Far", "url": "https://far.example/"}]},
            {"text": "Three", "suggest_links": null},
        ]}))
        .unwrap();
        let server = Url::parse("http://127.0.0.1:3333").unwrap();
        let links = "\n  Page: http://127.0.0.1:3333/guide/a#b\n  Far: https://far.example/\n";
        let texts = "One\n\n\nTwo\n\nThree";
        assert_eq!(unshown(&reply.data, "", &server), format!("{texts}{links}"));
        assert_eq!(unshown(&reply.data, "One\n\n\nTwo\n\nThree", &server), links, "all of it was streamed");
        assert_eq!(unshown(&reply.data, "On", &server), format!("\n\n{texts}{links}"));
        assert_eq!(unshown(&[], "", &server), "");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let args = |session| Args {
            question: "?".to_owned(),
            session,
            bot: Some("b".to_owned()),
            server: None,
            json: false,
        };
        let server = Url::parse("http://h").unwrap();
        for (status, body, session, expected) in [
            (404, json!({}), Some(Uuid::nil()), "the server knows no conversation 00000000-"),
            (404, json!({}), None, "the server at http://h/ answered with status 404"),
            (
                400,
                json!({"errors": [{"field": "botId", "message": "x"}]}),
                None,
                "the server has no bot \"b\"",
            ),
            (
                400,
                json!({"errors": [{"field": "message", "message": "x"}]}),
                None,
                "the server refused the question (message: x)",
            ),
            (
                504,
                json!({"message": "bot unavailable", "error": "timeout", "session_id": "s"}),
                None,
                "the bot gave no answer (bot unavailable: timeout); the question is stored in the session s",
            ),
            (503, json!({"message": "m"}), None, "the server is busy, stops, or its database is away (m)"),
        ] {
            let reply: Reply = serde_json::from_value(body).unwrap();
            let found = refusal(status, &reply, &args(session), &server).to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
