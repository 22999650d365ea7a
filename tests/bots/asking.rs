//! Asks a bot in each way that there is, through the program itself.

use std::fs;
use std::path::Path;
use std::process::Output;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use xtask::wicara::{Server, Wicara};

use crate::events::Events;
use crate::{from_xtask, server};

/// Fewer pieces are no stream.
const PIECES: usize = 3;
/// How all keys begin, Langflow's too.
const KEY_START: &str = "sk-";
const TRACEBACK: &str = "Traceback";

/// A running server with the bots.
pub struct Asking {
    wicara: Wicara,
    server: Server,
    client: Client,
    /// May read everything.
    key: String,
}

/// A bot that gives no answer.
pub struct Failing {
    pub id: &'static str,
    /// Why, as it is stored with the question.
    pub reason: &'static str,
    /// What it says of it, where it does: for the operator alone.
    pub said: Option<&'static str>,
}

impl Asking {
    /// `bots`: the inside of each `[[bot]]`. All of them may be asked by visitors.
    pub fn start(name: &str, bots: &[String]) -> Self {
        let folder = Path::new(&from_xtask("WICARA_BOTS_FOLDER")).join(name);
        fs::create_dir(&folder).unwrap();
        let mut config =
            "[server]\nlisten = \"127.0.0.1:0\"\n[auth]\nadmin_password = \"correct-horse\"\n".to_owned();
        for (number, bot) in bots.iter().enumerate() {
            config +=
                &format!("[[bot]]\n{bot}\ndefault = {}\npublic = true\nbreaker_failures = 0\n", number == 0);
        }
        let wicara = Wicara {
            program: env!("CARGO_BIN_EXE_wicara").into(),
            config: folder.join("wicara.toml"),
            folder,
            store: "sqlite:wicara.db".to_owned(),
        };
        fs::write(&wicara.config, config).unwrap();
        let server = wicara.serve().unwrap();
        let key = wicara.key_add("reader", &["--api", "conversation"]).unwrap();
        let client = wicara_outbound::client_for(&server.url.parse().unwrap()).build().unwrap();
        Self { wicara, server, client, key }
    }

    /// The bot answers with the text that `answer` makes of the question, in pieces.
    pub async fn answers(&self, id: &str, answer: impl Fn(&str) -> String) {
        let tried = self.tried(id, "When do you open?");
        assert!(tried.status.success(), "{tried:?}");
        let expected = answer("When do you open?") + "\n";
        assert_eq!(String::from_utf8(tried.stdout).unwrap(), expected);

        let question = "Bukanya jam berapa, \"café\" 😀?";
        let mut events = self.streamed(id, question).await;
        assert_eq!(events.headers["content-type"], "text/event-stream");
        let (name, session) = events.next().await.unwrap();
        assert_eq!(name, "session");
        let mut rest = events.rest().await;
        let (name, message) = rest.pop().unwrap();
        assert_eq!((name.as_str(), &message["status"]), ("message", &json!(200)), "{message}");
        assert_eq!(texts(&message["data"]), [answer(question)]);
        assert!(rest.iter().all(|(name, _)| name == "token") && rest.len() >= PIECES, "{rest:?}");
        let pieces: String = rest.iter().map(|(_, token)| token["text"].as_str().unwrap()).collect();
        assert_eq!(pieces, answer(question));

        let session = session["session_id"].as_str().unwrap();
        let thread =
            self.got(self.client.get(format!("{}/api/questions/{session}", self.server.url))).await.1;
        assert_eq!(texts(&thread["data"]["messages"]), [question.to_owned(), answer(question)]);

        let (status, answered) = self.got(self.question(id, question)).await;
        assert_eq!((status, texts(&answered["data"])), (200, vec![answer(question)]));
        self.not_logged(&[question, &answer(question), KEY_START]);
    }

    /// The bot gives no answer, and what it says of that reaches the operator alone.
    pub async fn fails(&self, failing: &Failing) {
        let Failing { id, reason, said } = *failing;
        let tried = self.tried(id, "When do you open?");
        assert_eq!(tried.status.code(), Some(1), "{tried:?}");
        let told = String::from_utf8(tried.stderr).unwrap();
        assert!(told.contains(said.unwrap_or(id)), "{told}");

        let question = format!("Why does {id} fail?");
        let events = self.streamed(id, &question).await.rest().await;
        let (name, error) = events.last().unwrap();
        assert_eq!((name.as_str(), &error["status"]), ("error", &json!(502)), "{error}");
        assert_eq!((events[0].0.as_str(), &error["session_id"]), ("session", &events[0].1["session_id"]));
        let (status, refused) = self.got(self.question(id, &question)).await;
        assert_eq!((status, &refused["message"]), (502, &json!("bot unavailable")), "{refused}");

        let stored = self.client.get(format!("{}/api/message?limit=100", self.server.url));
        let stored = self.got(stored.header("x-api-key", &self.key)).await.1;
        let asked =
            stored["data"].as_array().unwrap().iter().filter(|message| message["message"] == question);
        let reasons: Vec<_> = asked.map(|message| &message["failure"]["reason"]).collect();
        assert_eq!(reasons, [reason, reason], "{stored}");

        let shown = format!("{events:?}{refused}{stored}");
        for private in [said.unwrap_or(TRACEBACK), TRACEBACK, KEY_START, &server()] {
            assert!(!shown.contains(private), "{private}: {shown}");
        }
        self.not_logged(&[&question, said.unwrap_or(TRACEBACK), TRACEBACK, KEY_START]);
    }

    fn not_logged(&self, texts: &[&str]) {
        let log = fs::read_to_string(self.wicara.log()).unwrap();
        let logged: Vec<_> = texts.iter().filter(|text| log.contains(**text)).collect();
        assert!(logged.is_empty(), "{logged:?}: {log}");
    }

    fn tried(&self, id: &str, question: &str) -> Output {
        self.wicara.command().args(["bot", "try", id, question]).output().unwrap()
    }

    async fn streamed(&self, id: &str, question: &str) -> Events {
        let response =
            self.question(id, question).header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    fn question(&self, id: &str, question: &str) -> RequestBuilder {
        let body = json!({"message": question, "botId": id}).to_string();
        let request = self.client.post(format!("{}/api/questions", self.server.url));
        request.header("content-type", "application/json").body(body)
    }

    async fn got(&self, request: RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }
}

fn texts(messages: &Value) -> Vec<String> {
    messages.as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}
