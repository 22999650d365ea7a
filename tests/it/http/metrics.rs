//! `/metrics`: figures that move as people expect, and whom they are shown to.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::{Chat, FORBIDDEN, UNAUTHENTICATED, raw};
use crate::support::app::{METRICS, PASSWORD};
use crate::support::{Answer, Engine, PATIENCE, TestApp, found, on_both_engines, until};

on_both_engines!(
    questions_are_counted_by_bot_and_outcome,
    writes_are_counted,
    the_feeds_lag_is_observed,
    callers_are_counted_by_whether_they_were_known
);

async fn scrape(app: &TestApp) -> String {
    let answer = app.metrics().get("/metrics").await;
    answer.has_status(200);
    answer.text
}

/// The value of a series; `None` where there is none.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

async fn ask(app: &TestApp, body: &Value) -> u16 {
    app.anonymous().post("/api/questions", body).await.status.as_u16()
}

async fn questions_are_counted_by_bot_and_outcome(engine: Engine) {
    let app = TestApp::with(engine, METRICS).await;
    assert_eq!(ask(&app, &json!({"message": "halo"})).await, 200);
    assert_eq!(ask(&app, &json!({"message": "status 500"})).await, 502);
    assert_eq!(ask(&app, &json!({"message": "{"})).await, 502);
    let gone = Chat::on(&app, "gone").await;
    assert_eq!(ask(&app, &json!({"message": "halo", "session_id": gone.session})).await, 502);
    let handed_over = Chat::on(&app, "echo").await;
    let path = format!("/api/conversation/{}", handed_over.id);
    app.person().patch(&path, &json!({"handler": "human"})).await.ok();
    assert_eq!(ask(&app, &json!({"message": "halo", "session_id": handed_over.session})).await, 200);

    let text = scrape(&app).await;
    for (bot, outcome) in [
        ("echo", "answered"),
        ("echo", "rejected"),
        ("echo", "unreadable"),
        ("-", "unconfigured"),
        ("echo", "human"),
    ] {
        let series = format!("wicara_questions_total{{bot=\"{bot}\",outcome=\"{outcome}\"}}");
        assert_eq!(value(&text, &series), Some(1.0), "{series}");
    }
    assert!(!text.contains("gone"), "{text}");
    // Failed calls have no time.
    for series in ["wicara_bot_first_token_seconds_count", "wicara_bot_answer_seconds_count"] {
        assert_eq!(value(&text, &format!("{series}{{bot=\"echo\"}}")), Some(1.0), "{series}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_with_the_same_key_is_the_same_question() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    let client = app.anonymous().with("idempotency-key", "0123456789abcdef");
    for _ in 0..3 {
        client.post("/api/questions", &json!({"message": "halo"})).await.ok();
    }
    let text = scrape(&app).await;
    let counted: Vec<_> = text.lines().filter(|line| line.starts_with("wicara_questions_total{")).collect();
    assert_eq!(counted, [r#"wicara_questions_total{bot="echo",outcome="answered"} 1"#]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_seen_while_they_wait_and_run() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bot = format!(
        "[[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"http://{}\"\npublic = true\nconcurrency = 1\n",
        silent.local_addr().unwrap()
    );
    let app = TestApp::with(Engine::Sqlite, &format!("{METRICS}{bot}")).await;
    let question = json!({"message": "halo", "botId": "slow"});
    let (first, second) = (app.anonymous(), app.anonymous());
    let asking = tokio::spawn({
        let question = question.clone();
        async move {
            tokio::join!(first.post("/api/questions", &question), second.post("/api/questions", &question))
        }
    });
    let under_way = |text: &str| {
        let series =
            ["calls_in_flight", "calls_waiting"].map(|what| format!("wicara_bot_{what}{{bot=\"slow\"}}"));
        series.map(|series| value(text, &series))
    };
    let text = found(PATIENCE, "one call runs and one waits", async || {
        assert!(!asking.is_finished());
        Some(scrape(&app).await).filter(|text| under_way(text) == [Some(1.0), Some(1.0)])
    })
    .await;
    // Neither counts the one that tells of them.
    for series in ["wicara_http_requests_in_flight", "wicara_http_connections_open"] {
        assert_eq!(value(&text, series), Some(2.0), "{series}");
    }
    drop(silent);
    asking.await.unwrap();
    let text = scrape(&app).await;
    assert_eq!(under_way(&text), [Some(0.0), Some(0.0)]);
    assert_eq!(value(&text, "wicara_http_requests_in_flight"), Some(0.0));
    let failed = "wicara_questions_total{bot=\"slow\",outcome=\"unreachable\"}";
    assert_eq!(value(&text, failed), Some(2.0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_template() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    let client = app.anonymous();
    let asked = client.post("/api/questions", &json!({"message": "halo"})).await.ok();
    let session = asked["session_id"].as_str().unwrap();
    for _ in 0..2 {
        client.get(&format!("/api/questions/{session}")).await.ok();
    }
    client.get(&format!("/api/nothing/{session}")).await;
    let odd = Method::from_bytes(b"PROPFIND").unwrap();
    client.send(odd, &format!("/api/questions/{session}"), None).await;

    let text = scrape(&app).await;
    for (route, method, status, count) in [
        ("/api/questions", "POST", 200, 1.0),
        ("/api/questions/{session_id}", "GET", 200, 2.0),
        ("/api/questions/{session_id}", "other", 405, 1.0),
        ("-", "GET", 404, 1.0),
    ] {
        let series = format!(
            "wicara_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}"
        );
        assert_eq!(value(&text, &series), Some(count), "{series}");
    }
    let times = "wicara_http_request_duration_seconds_count{route=\"/api/questions/{session_id}\"}";
    assert_eq!(value(&text, times), Some(3.0));
    assert!(!text.contains(session) && !text.contains("PROPFIND"), "{text}");
    app.stop().await;
}

async fn the_feeds_lag_is_observed(engine: Engine) {
    let app = TestApp::with(engine, METRICS).await;
    let person = app.person();
    let observed = async || value(&scrape(&app).await, "wicara_feed_lag_seconds_count").unwrap();
    let cursor = async || person.get("/api/message").await.header("x-wicara-cursor").unwrap().to_owned();
    let open = async || {
        let room = json!({"room": "r", "integrationType": "website"});
        person.post("/api/conversation", &room).await.ok();
    };
    let start = cursor().await;
    open().await;
    until(PATIENCE, "the server has seen it", async || cursor().await != start).await;
    // The first stream has it read again, long after its commit.
    let mut feed = person.follow("/api/events").await;
    assert_eq!(feed.next().await.unwrap()["kind"], "hello");
    assert_eq!(observed().await, 0.0);
    for count in [1.0, 2.0] {
        open().await;
        assert_eq!(feed.next().await.unwrap()["kind"], "conversation.created");
        until(PATIENCE, "its lag is observed", async || observed().await == count).await;
    }
    app.stop().await;
}

async fn callers_are_counted_by_whether_they_were_known(engine: Engine) {
    let app = TestApp::with(engine, METRICS).await;
    let program = app.program();
    let lookups = async || {
        let text = scrape(&app).await;
        let series = |result| format!("wicara_caller_cache_lookups_total{{result=\"{result}\"}}");
        ["hit", "miss"].map(|result| value(&text, &series(result)).unwrap())
    };
    let [hits, misses] = lookups().await;
    let requests = Cell::new(0.0);
    until(PATIENCE, "the program is known", async || {
        program.get("/api/conversation").await.ok();
        // Nobody is looked up for it.
        app.anonymous().post("/api/questions", &json!({"message": "halo"})).await.ok();
        requests.set(requests.get() + 1.0);
        lookups().await[0] > hits
    })
    .await;
    assert!(requests.get() > 1.0, "it was known before it came");
    assert_eq!(lookups().await, [hits + 1.0, misses + requests.get() - 1.0]);
    app.stop().await;
}

async fn writes_are_counted(engine: Engine) {
    let app = TestApp::with(engine, METRICS).await;
    let commits = async || value(&scrape(&app).await, "wicara_store_commits_total").unwrap();
    // A start deletes what has expired, beside the first requests.
    let before = found(PATIENCE, "the start's own commits are done", async || {
        let before = commits().await;
        sleep(Duration::from_millis(300)).await;
        (commits().await == before).then_some(before)
    })
    .await;
    assert_eq!(ask(&app, &json!({"message": "halo"})).await, 200);
    // The question and the answer.
    assert_eq!(commits().await, before + 2.0);
    let text = scrape(&app).await;
    for series in ["wicara_store_batch_size_count", "wicara_store_commit_duration_seconds_count"] {
        assert_eq!(value(&text, series), Some(before + 2.0), "{series}");
    }
    for series in ["wicara_store_queue_depth", "wicara_store_commit_failures_total"] {
        assert_eq!(value(&text, series), Some(0.0), "{series}");
    }

    let metrics = Metrics::default();
    let store = Store::open(&app.database.url, Duration::ZERO, &Random::System, &metrics).await.unwrap();
    let people = People::new(store, Clock::System, Random::System);
    let add = async || people.user_create("a@localhost", PASSWORD.into(), Role::Viewer, Bots::All).await;
    add().await.unwrap();
    add().await.unwrap_err();
    for series in ["wicara_store_commits_total", "wicara_store_commit_failures_total"] {
        assert_eq!(value(&metrics.text(), series), Some(1.0), "{series}");
    }
    app.stop().await;
}

/// Where the server stands behind a proxy, every request comes from the proxy's machine, and not every proxy says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_for_keys_of_administrators() {
    let app = TestApp::start(Engine::Sqlite).await;
    let (nobody, person) = (app.anonymous(), app.person());
    let admin = app.key(Role::Admin, Bots::All, Api::Chatbot).await;
    let limited = app.key(Role::Admin, Bots::Only(vec![]), Api::Conversation).await;
    let agent = app.key(Role::Agent, Bots::All, Api::Chatbot).await;
    for (header, value) in [
        ("accept", "*/*"),
        ("host", "127.0.0.1:3333"),
        ("host", "localhost"),
        ("host", "chat.example.org"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 proxy"),
    ] {
        let nobody = nobody.with(header, value);
        nobody.get("/metrics").await.is(401, UNAUTHENTICATED);
        for key in ["wrong", ""] {
            nobody.with("x-api-key", key).get("/metrics").await.is(401, UNAUTHENTICATED);
        }
        nobody.with("x-api-key", &agent).get("/metrics").await.is(403, FORBIDDEN);
        person.with(header, value).get("/metrics").await.is(403, FORBIDDEN);
        for (name, key) in [
            ("x-api-key", admin.clone()),
            ("api_key", limited.clone()),
            ("authorization", format!("Bearer {admin}")),
        ] {
            assert_shown(&nobody.with(name, &key).get("/metrics").await);
        }
    }
    nobody.post("/metrics", &json!({})).await.has_status(405);
    app.stop().await;
}

#[track_caller]
fn assert_shown(answer: &Answer) {
    answer.has_status(200);
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.text.ends_with("\n# EOF\n"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_their_own_shows_figures_without_a_key_and_nothing_else() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    let (metrics, key) = (app.metrics(), app.key(Role::Viewer, Bots::All, Api::Chatbot).await);
    for client in [
        metrics.clone(),
        metrics.with("x-api-key", "wrong"),
        metrics.with("x-api-key", &key),
        metrics.with("host", "localhost"),
    ] {
        assert_shown(&client.get("/metrics").await);
        let head = client.send(Method::HEAD, "/metrics", None).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    }
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let answer = metrics.send_json(method.clone(), "/metrics", "{}").await;
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method}");
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (405, &json!(405)), "{method}");
    }
    for path in
        ["/", "/metrics/", "/healthz", "/readyz", "/api/questions", "/api/conversation", "/docs", "/guide"]
    {
        let answer = metrics.with("x-api-key", &key).get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (404, &json!(404)), "{path}");
        assert!(answer.header("x-request-id").is_some() && answer.header("x-content-type-options").is_some());
    }
    // A page that has pointed its own name at this machine.
    metrics.with("host", "rebound.example").get("/metrics").await.is(403, FORBIDDEN);

    // None of that is traffic, and none of these connections a client's.
    let text = scrape(&app).await;
    assert!(!text.contains("wicara_http_requests_total{"), "{text}");
    for series in ["wicara_http_requests_in_flight", "wicara_http_connections_open"] {
        assert_eq!(value(&text, series), Some(0.0), "{series}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_others_reach_answers_by_any_name() {
    let app = TestApp::with(Engine::Sqlite, "server.metrics_listen = \"0.0.0.0:0\"\n").await;
    assert_shown(&app.metrics().with("host", "wicara.internal:9464").get("/metrics").await);
    app.stop().await;
}

/// Whoever comes to the address for the figures takes few places there, and none from the server's clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_the_address_for_figures_is_kept_small_and_goes_when_the_server_stops() {
    const CROWD: usize = 40;
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    let address = app.metrics().base().strip_prefix("http://").unwrap().to_owned();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(raw::answer(&mut stream).await.unwrap().status, 200);
        crowd.push(stream);
    }
    // Idle connections that nobody needs the room of stay for more than a minute.
    let ended = timeout(Duration::from_secs(50), crowd[0].read_u8()).await;
    assert!(ended.expect("the first makes room for the last").is_err());
    app.anonymous().get("/healthz").await.ok();
    app.stop().await;
    for stream in &mut crowd {
        stream.read_u8().await.unwrap_err();
    }
    TcpStream::connect(&address).await.unwrap_err();
}

/// The names of metrics in a text, without what a histogram's series add.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("wicara_") || word.starts_with("process_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_lists_what_there_is() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    assert_eq!(ask(&app, &json!({"message": "halo"})).await, 200);
    let text = scrape(&app).await;
    let shown: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    for page in ["metrics", "metrik"] {
        let page = app.anonymous().get(&format!("/guide/{page}")).await;
        page.has_status(200);
        assert_eq!(names(&page.text), shown);
    }
    app.stop().await;
}
