//! Guards by transformation: a good recorded answer survives each oddity that real servers have, and each two of them at
//! once; a failure stays one, with an oddity too.

mod script;
mod style;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use proptest::option;
use proptest::prelude::any;
use proptest::sample::Index;
use serde_json::json;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::runtime;
use wicara_fuzz::fuzz;
use wicara_metrics::Metrics;
use wicara_model::{MessageId, Question};
use wicara_outbound::{self as outbound, in_utf8, sse, whole_text};
use wicara_platform::Random;

use crate::http::pointer::Pointer;
use crate::replay::{Recorded, ask, question, read_request, registry, respond};
use crate::{
    AnswerStream, Bot, ConfiguredBot, Error, Registry, Settings, StreamItem, http, langflow, openai, tokens,
};
use script::{Script, WRONG_BYTE};

const OPENAI: &str = "kind = 'openai'\nmodel = 'sample'";
const LANGFLOW: &str = "kind = 'langflow'\nflow = 'hours'";
const HTTP: &str = "kind = 'http'\nanswer = ''";
const HTTP_DEFAULT: &str = "kind = 'http'\nanswer = '/data/message'";
const HTTP_TEXT: &str = "kind = 'http'\nanswer = '/choices/0/message/content'";
const HTTP_OBJECT: &str = "kind = 'http'\nanswer = '/outputs/0/outputs/0/results/message'";

/// Recorded answers with the texts that they hold.
const GOOD: [(&str, &str, &[&str]); 17] = [
    (OPENAI, "litellm/stream.txt", &["Opening hours: 08.00 to 16.00, café 😀"]),
    (OPENAI, "litellm/stream-usage.txt", &["Opening hours: 08.00 to 16.00, café 😀"]),
    (OPENAI, "litellm/plain.txt", &["Opening hours: 08.00 to 16.00, café 😀"]),
    (LANGFLOW, "langflow-1.13/v1-stream.txt", &["Opening hours: 08.00 to 16.00 café 😀"]),
    (LANGFLOW, "langflow-1.13/v1-stream-without-tokens.txt", &["When do you open?"]),
    (LANGFLOW, "langflow-1.2/v1-stream.txt", &["Opening hours: 08.00 to 16.00 café 😀"]),
    (LANGFLOW, "langflow-1.13/v2-stream.txt", &["Opening hours: 08.00 to 16.00 café 😀"]),
    (LANGFLOW, "langflow-1.13/v2-stream-slow.txt", &["slept"]),
    (LANGFLOW, "langflow-1.13/v1-run.txt", &["When do you open?"]),
    (LANGFLOW, "langflow-1.2/v1-run.txt", &["When do you open?"]),
    (LANGFLOW, "langflow-1.13/v2-sync.txt", &["When do you open?"]),
    (HTTP, "rasa/text.txt", &["Opening hours: 08.00 to 16.00, café 😀", "On Fridays to 11.00."]),
    (HTTP, "rasa/buttons-custom.txt", &["Which counter?", ""]),
    (HTTP, "rasa/image.txt", &["Here is the map.", ""]),
    (HTTP_DEFAULT, "seeds/answer-objects.txt", &["Opening hours: 08.00 to 16.00, café 😀", ""]),
    (HTTP_TEXT, "litellm/plain.txt", &["Opening hours: 08.00 to 16.00, café 😀"]),
    (HTTP_OBJECT, "langflow-1.13/v1-run.txt", &["When do you open?"]),
];

type Change = (&'static str, fn(&mut Script));

/// What does an answer no harm.
const ODDITIES: &[Change] = &[
    ("declared as JSON", |script| script.content_type = "application/json"),
    ("declared as plain text", |script| script.content_type = "text/plain"),
    ("declared as a stream", |script| script.content_type = "text/event-stream"),
    ("declared as a page", |script| script.content_type = "text/html"),
    ("identity", |script| script.headers = "Content-Encoding: Identity\r\n"),
    ("a byte order mark", |script| script.start.insert(0, '\u{feff}')),
    ("UTF-16", |script| script.is_utf16 = true),
    ("white space before it", |script| script.start.push_str(" \n\n")),
    ("CR LF", |script| script.line_end = "\r\n"),
    ("CR", |script| script.line_end = "\r"),
    ("one line end between events", |script| script.line_ends_between = 1),
    ("more line ends between events", |script| script.line_ends_between = 4),
    ("no line end at the end", |script| script.line_ends_at_end = 0),
    ("one line end at the end", |script| script.line_ends_at_end = 1),
    ("comments", |script| script.insert_lines(": ping")),
    ("pings", |script| script.insert_lines("event: ping\ndata: ping")),
    ("ids and pauses", |script| script.insert_lines("id: 7\nretry: 10")),
    ("broken data", |script| script.insert_data(r#"{"choices":[{"delta":{"rol"#)),
    ("no encoding, in words", |script| script.headers = "Content-Encoding: utf-8, none\r\n"),
    ("an odd name of data", |script| script.field = "\u{feff}DATA : data: \u{feff}"),
    ("nearly JSON", |script| script.style.is_nearly_json = true),
    ("line ends in strings", |script| script.style.has_line_ends = true),
    ("a byte that is no UTF-8", |script| {
        script.insert_lines(&format!(": {WRONG_BYTE}\nid: {WRONG_BYTE}"));
        script.add_field("note", &format!("\"{WRONG_BYTE}\""));
    }),
    ("something behind it", |script| script.behind = "\n{\"done\":true};"),
    ("another choice", Script::add_choice),
    ("another mark for its end", |script| script.end_with_mark("[END]")),
    ("a field for its end", |script| script.end_with_mark(r#"{"done":true}"#)),
    ("a word for no end", Script::name_no_end),
    ("a tool's output", |script| {
        script.insert_data(r#"{"choices":[{"index":0,"delta":{"role":"tool","content":"RAHASIA"}}]}"#)
    }),
    ("unknown data", |script| {
        script.insert_data(r#"{"event":"heartbeat","type":"ping","data":{"chunk":5}}"#)
    }),
    ("data that is no object", |script| script.insert_data("[]")),
    ("names that stand twice", |script| script.style.repeats_names = true),
    ("another order of names", |script| script.style.reverses = true),
    ("escapes", |script| script.style.escapes = true),
    ("spaces", |script| script.style.spaces = true),
    ("an empty error", |script| script.add_field("error", "{}")),
    ("an error of null", |script| script.add_field("error", r#"{"message":null,"code":""}"#)),
    ("an error that says success", |script| script.add_field("Error", r#"{"code":"0","message":"OK"}"#)),
    ("no error near the answer", |script| script.add_on_way(100, "error_msg", "\"success\"")),
    ("a code beside a text", Script::add_codes),
    ("unknown fields", |script| script.add_field("x", r#"{"content":[],"text":null,"deep":[[[[]]]]}"#)),
    ("content in parts", Script::put_content_in_parts),
    ("a pair cut in two", Script::cut_pairs),
    ("in one event", Script::wrap),
    ("thoughts", Script::add_thoughts),
    ("byte by byte", |script| script.chunk_bytes = 1),
    ("seven bytes at once", |script| script.chunk_bytes = 7),
    ("no end of the body", |script| script.hangs = true),
    ("closed without an end", |script| script.closes = true),
];

/// What makes a failure of an answer.
const FAILURES: &[Change] = &[
    ("an error at the start", |script| script.insert_failure(0)),
    ("an error in the middle", |script| script.insert_failure(50)),
    ("an error before the end", |script| script.insert_failure(90)),
    ("an error as a text", |script| script.add_field("error", "\"away\"")),
    ("an error as an object", |script| script.add_field("error", r#"{"error":{"code":502}}"#)),
    ("errors as a list", |script| script.add_field("errors", r#"[{"message":"away"}]"#)),
    ("a server's error in the middle", |script| {
        script.insert_part(50, json!({"type": "server_error", "message": "away"}))
    }),
    ("an error by its event's name", Script::insert_error_event),
    ("an error on the way", |script| script.add_on_way(50, "error", r#"{"code":502}"#)),
    ("an error under another name", |script| script.add_on_way(100, "ErrMsg", "\"away\"")),
    ("no success near the answer", |script| script.add_on_way(100, "success", "false")),
    ("an error in the first part", Script::put_error_inside),
    ("an error for its end", |script| script.end_in_failure("error")),
    ("another failure for its end", |script| script.end_in_failure("server_disconnected")),
    ("a status in words", |script| script.add_on_way(100, "status", "\"502 Bad Gateway\"")),
    ("a piece that cannot be read", Script::insert_broken_piece),
    ("cut off", Script::cut_off),
    ("a status of failure", |script| script.status = 500),
];

/// A bot of each kind, and the server that they ask: it finds each question's answer by its key.
struct Bots {
    registries: HashMap<&'static str, Registry>,
    scripts: Arc<Mutex<HashMap<String, Sent>>>,
    asked: AtomicI64,
}

#[derive(Clone)]
struct Sent {
    recorded: Recorded,
    chunk_bytes: usize,
}

impl Bots {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let scripts: Arc<Mutex<HashMap<String, Sent>>> = Arc::default();
        let answers = Arc::clone(&scripts);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let mut socket = BufReader::new(socket);
                    let request = read_request(&mut socket).await.unwrap();
                    let (_, key) = request.head.split_once("idempotency-key: ").unwrap();
                    let sent = answers.lock().unwrap()[key.lines().next().unwrap()].clone();
                    respond(&mut socket, &sent.recorded, sent.chunk_bytes).await.unwrap();
                });
            }
        });
        let more = "retries = 0\ntimeout_seconds = 120\nconcurrency = 1000\nbreaker_failures = 0";
        let bots = [OPENAI, LANGFLOW, HTTP, HTTP_DEFAULT, HTTP_TEXT, HTTP_OBJECT]
            .map(|settings| (settings, registry(&format!("{settings}\nurl = '{url}'\n{more}"))));
        Self { registries: bots.into(), scripts, asked: AtomicI64::new(0) }
    }

    /// The texts of the answers, or the error.
    async fn answer(&self, settings: &str, script: &Script) -> Result<Vec<String>, Error> {
        let id = MessageId(self.asked.fetch_add(1, Ordering::Relaxed));
        let question = Question { id, ..question("When do you open?") };
        let sent = Sent { recorded: script.recorded(), chunk_bytes: script.chunk_bytes };
        let key = question.key().to_string();
        self.scripts.lock().unwrap().insert(key.clone(), sent);
        let (answers, _) = ask(&self.registries[settings], question).await;
        self.scripts.lock().unwrap().remove(&key);
        answers.map(|answers| answers.into_iter().map(|answer| answer.text).collect())
    }

    /// Asks for the recorded answer with these changes, over a connection.
    async fn check(&self, good: usize, changes: &[Change], survives: bool) {
        let (settings, name, texts) = GOOD[good];
        let script = changed(good, changes);
        let found = self.answer(settings, &script).await;
        let is_right =
            if survives { found.as_ref().is_ok_and(|found| *found == texts) } else { found.is_err() };
        let names: Vec<_> = changes.iter().map(|(name, _)| name).collect();
        assert!(is_right, "{name}, {names:?}: {found:?}\n{script}");
    }
}

/// A bot with these settings that reads the body of a script.
struct Reader(Sent, &'static str);

impl Bot for Reader {
    fn ask(&self, _: Question) -> AnswerStream {
        const MAX_BYTES: usize = 5 << 20;
        let Self(Sent { recorded, chunk_bytes }, settings) = self;
        let chunks: Vec<_> =
            recorded.body.chunks(*chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let end = match (recorded.hangs, recorded.closes) {
            (true, _) => stream::pending().boxed(),
            (_, true) => stream::iter([Err(outbound::Error::Unreachable("closed".to_owned()))]).boxed(),
            _ => stream::empty().boxed(),
        };
        let chunks = in_utf8(recorded.content_type.parse().ok(), stream::iter(chunks).chain(end));
        match *settings {
            OPENAI => openai::decode(sse::frames(chunks, MAX_BYTES)),
            LANGFLOW => langflow::decode(sse::frames(chunks, MAX_BYTES)),
            settings => {
                let answers = async move {
                    let text = whole_text(chunks, MAX_BYTES).await?;
                    http::decode(&text, &Pointer::parse(script::answer(settings).unwrap()).unwrap())
                };
                stream::once(answers)
                    .map_ok(|answers| stream::iter(answers).map(|answer| Ok(StreamItem::Answer(answer))))
                    .try_flatten()
                    .boxed()
            }
        }
    }
}

/// Reads the recorded answer with these changes. `chunk_bytes`: in place of what the changes say.
async fn check(good: usize, changes: &[Change], chunk_bytes: Option<usize>, survives: bool) {
    let (bot, name, texts) = GOOD[good];
    let script = changed(good, changes);
    if script.status != 200 {
        return;
    }
    let sent = Sent { recorded: script.recorded(), chunk_bytes: chunk_bytes.unwrap_or(script.chunk_bytes) };
    let settings =
        "id = 'a'\nkind = 'http'\nurl = 'http://localhost'\nretries = 0\nbreaker_failures = 0".parse();
    let settings = Settings::from_table(settings.unwrap()).unwrap();
    let bot = ConfiguredBot::with_bot(
        &settings,
        Box::new(Reader(sent, bot)),
        Random::System,
        Metrics::default().bot("a"),
    );
    let found = bot.ask(question("When do you open?"), &tokens::channel::<()>().0).await;
    let found = found.map(|answers| answers.into_iter().map(|answer| answer.text).collect::<Vec<_>>());
    let is_right = if survives { found.as_ref().is_ok_and(|found| *found == texts) } else { found.is_err() };
    let names: Vec<_> = changes.iter().map(|(name, _)| name).collect();
    assert!(is_right, "{name}, {names:?}: {found:?}\n{script}");
}

fn changed(good: usize, changes: &[Change]) -> Script {
    let (settings, name, _) = GOOD[good];
    let mut script = Script::of(name, settings);
    for (_, change) in changes {
        change(&mut script);
    }
    script
}

async fn at_once(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases).buffer_unordered(32).collect::<Vec<_>>().await;
}

#[tokio::test]
async fn over_a_connection_an_answer_survives_each_oddity_and_each_failure_stays_one() {
    let bots = &Bots::start().await;
    let changes =
        ODDITIES.iter().map(|oddity| (oddity, true)).chain(FAILURES.iter().map(|failure| (failure, false)));
    let cases = changes.flat_map(|(change, survives)| {
        (0..GOOD.len()).map(move |good| async move { bots.check(good, &[*change], survives).await })
    });
    at_once(cases).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_survives_each_two_oddities() {
    let pairs = ODDITIES
        .iter()
        .enumerate()
        .flat_map(|(index, one)| ODDITIES[index + 1..].iter().map(move |other| [*one, *other]));
    for changes in pairs {
        for good in 0..GOOD.len() {
            check(good, &changes, None, true).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_stays_one_with_each_oddity() {
    for failure in FAILURES {
        for oddity in ODDITIES {
            for good in 0..GOOD.len() {
                check(good, &[*oddity, *failure], None, false).await;
            }
        }
    }
}

#[test]
fn fuzz_two_oddities_and_perhaps_a_failure_in_any_pieces() {
    let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let case = (any::<Index>(), any::<Index>(), any::<Index>(), option::of(any::<Index>()), 1..300usize);
    fuzz("oddities", case, |(good, one, other, failure, chunk_bytes)| {
        let [one, other] = [one, other].map(|index| ODDITIES[index.index(ODDITIES.len())]);
        let failure = failure.map(|index| FAILURES[index.index(FAILURES.len())]);
        let other = (one.0 != other.0).then_some(other);
        let changes: Vec<Change> = [Some(one), other, failure].into_iter().flatten().collect();
        let check = check(good.index(GOOD.len()), &changes, Some(chunk_bytes), failure.is_none());
        runtime.block_on(check);
    });
}
