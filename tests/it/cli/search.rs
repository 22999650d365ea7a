//! `wicara search`.

use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::place::{Place, Run, finished};
use crate::support::{Client, Engine, on_both_engines};

on_both_engines!(what_was_said_is_found);

fn search(place: &Place, key: &str, server: &str, arguments: &[&str]) -> Run {
    let mut command = place.command(&[&["search", "--server", server], arguments].concat());
    finished(command.env("WICARA_KEY", key))
}

fn new_key(place: &Place, arguments: &[&str]) -> String {
    let added = place.run(&[&["key", "add"], arguments].concat()).done();
    added.trim_end().lines().last().unwrap().to_owned()
}

/// The lines without the time that each begins with.
fn lines(run: &Run) -> Vec<&str> {
    run.out.lines().map(|line| &line["2026-11-30 10:20:30  ".len()..]).collect()
}

async fn what_was_said_is_found(engine: Engine) {
    let place = Place::new(engine, "").await;
    let server = place.serve();
    let key = new_key(&place, &["all", "--role", "agent", "--api", "conversation"]);
    let client = Client::new(&server.base).with("x-api-key", &key);
    let mut of = Vec::new();
    for (bot, texts) in [
        ("guide", &[("client", "Kartu saya\nhilang."), ("note", "kartu: blokir \u{1b}[2J")][..]),
        ("other", &[("bot", "Kartu dikirim."), ("client", "Terima kasih")]),
    ] {
        let new = json!({"room": "r", "integrationType": "website", "botId": bot});
        let id = client.post("/api/conversation", new).await.ok()["data"]["id"].clone();
        for (role, text) in texts {
            let new = json!({"message": text, "type": "text", "role": role, "conversationId": id});
            client.post("/api/message", new).await.ok();
        }
        of.push(id.as_str().unwrap().to_owned());
    }
    let [guide, other] = &of[..] else { unreachable!() };
    let found = |arguments: &[&str]| {
        let run = search(&place, &key, &server.base, arguments);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        run
    };

    let run = found(&["kartu"]);
    let newest = format!("conversation {other}  bot: Kartu dikirim.");
    let expected = [
        newest.clone(),
        format!("conversation {guide}  note: kartu: blokir [2J"),
        format!("conversation {guide}  client: Kartu saya hilang."),
    ];
    assert_eq!(lines(&run), expected);
    assert_eq!(run.err, "3 messages found.\n");

    let run = found(&["kartu", "--limit", "1"]);
    assert_eq!(lines(&run), [&*newest]);
    assert_eq!(run.err, "1 of 3 messages shown, the newest. More of them: --limit 3\n");
    assert_eq!(lines(&found(&["kartu", "--bot", "other"])), [&*newest]);
    assert_eq!(lines(&found(&["-hilang kartu -blokir"])), [&*newest]);

    let run = found(&["kartu blokir", "--json"]);
    let hit: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&hit["message"], &hit["highlights"]),
        (&json!("kartu: blokir \u{1b}[2J"), &json!([[0, 5], [7, 13]]))
    );
    assert!(run.out.ends_with("}\n") && !run.out.contains('\u{1b}'), "{}", run.out);

    for arguments in [&["rekening"][..], &["rekening", "--json"], &["?!"]] {
        let run = found(arguments);
        assert_eq!((run.out.as_str(), run.err.as_str()), ("", "Nothing found.\n"), "{arguments:?}");
    }
    // A key sees its own bots alone.
    let key = new_key(&place, &["website", "--bots", "guide"]);
    for (bot, count) in [("guide", 2), ("other", 0)] {
        let run = search(&place, &key, &server.base, &["kartu", "--bot", bot]);
        assert_eq!(run.done().lines().count(), count, "{bot}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_search_is_said() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    let key = new_key(&place, &["all"]);
    let base = server.base.clone();
    for missing in ["", "\n"] {
        let said = search(&place, missing, &base, &["halo"]).failed(2);
        assert!(said.contains("WICARA_KEY is not set") && said.contains("wicara key add"), "{said}");
    }
    let unknown = search(&place, "wk-unknown", &base, &["halo"]).failed(1);
    assert!(unknown.contains("does not know the key") && !unknown.contains("wk-unknown"), "{unknown}");
    let many = "a ".repeat(17);
    let long = "a".repeat(201);
    for (query, expected) in [("-halo", "- before"), (&*many, "more than 16"), (&*long, "200 characters")] {
        let said = search(&place, &key, &base, &[query]).failed(2);
        assert!(said.contains(expected), "{said}");
    }
    server.terminate();
    let gone = search(&place, &key, &base, &["halo"]).failed(1);
    assert!(gone.contains("no server answers") && gone.contains("wicara serve"), "{gone}");
}

/// A server that answers each page as it is told.
struct Pages(MockServer);

impl Pages {
    async fn new() -> Self {
        Self(MockServer::start().await)
    }

    /// `cursor`: of the request.
    async fn answer(&self, cursor: Option<&str>, limit: &str, messages: &[&str], pagination: Value) {
        let hit = |message: &&str| {
            json!({"message": message, "role": "client", "conversationId": "5",
                "createdAt": "2026-11-30T10:20:30.456+00:00", "excerpt": message, "highlights": [[0, 1]]})
        };
        let data: Vec<_> = messages.iter().map(hit).collect();
        let asked = Mock::given(method("GET")).and(path("/under/api/message"));
        let asked = asked.and(header("authorization", "Bearer k")).and(query_param("q", "a+b &c"));
        let asked = asked.and(query_param("limit", limit));
        let asked = match cursor {
            Some(cursor) => asked.and(query_param("cursor", cursor)),
            None => asked.and(query_param_is_missing("cursor")),
        };
        let body = json!({"status": 200, "data": data, "pagination": pagination});
        asked.respond_with(ResponseTemplate::new(200).set_body_json(body)).mount(&self.0).await;
    }

    fn search(&self, place: &Place, arguments: &[&str]) -> Run {
        search(place, "k", &format!("{}/under/", self.0.uri()), &[&["a+b &c"], arguments].concat())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_reads_on_from_pages_that_are_not_full_and_tells_what_may_be_missing() {
    let place = Place::with_config("");
    let pages = Pages::new().await;
    let pagination = |next: Option<&str>| {
        json!({"totalItems": 10_000, "totalIsExact": false, "nextCursor": next,
            "indexedFrom": "2026-10-01T00:00:00.000+00:00"})
    };
    pages.answer(None, "20", &["one", "two"], pagination(Some("0-1"))).await;
    pages.answer(Some("0-1"), "18", &[], pagination(Some("0-2"))).await;
    pages.answer(Some("0-2"), "18", &["three"], pagination(None)).await;
    let run = pages.search(&place, &[]);
    let texts =
        ["one", "two", "three"].map(|text| format!("2026-11-30 10:20:30  conversation 5  client: {text}\n"));
    let indexing =
        "Messages from before 2026-10-01 00:00:00 are still being made searchable: some may be missing.\n";
    assert_eq!((run.status.code(), run.out.as_str()), (Some(0), texts.concat().as_str()), "{run:?}");
    assert_eq!(run.err, format!("{indexing}3 messages found.\n"));

    // More than one page holds, and more than are asked for.
    let hundred = ["x"; 100];
    pages.answer(None, "100", &hundred, pagination(Some("0-3"))).await;
    pages.answer(Some("0-3"), "50", &hundred[..50], pagination(Some("0-4"))).await;
    let run = pages.search(&place, &["--limit", "150", "--json"]);
    assert_eq!(run.out.lines().count(), 150, "{run:?}");
    let more = "150 of 10,000 or more messages shown, the newest. More of them: --limit 1500\n";
    assert_eq!(run.err, format!("{indexing}{more}"));
}

/// It would show all messages as if they had been found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_know_searches_is_told_from_one_that_does() {
    let (place, pages) = (Place::with_config(""), Pages::new().await);
    pages.answer(None, "20", &["one"], json!({"totalItems": 1})).await;
    let said = pages.search(&place, &[]).failed(1);
    assert!(said.contains("cannot search: upgrade it"), "{said}");
}
