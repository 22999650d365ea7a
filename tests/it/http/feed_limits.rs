//! Streams in numbers: their limits, readers that do not read, clients that leave, and a server that stops.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::future::{join_all, select_all};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wicara_model::{Api, Bots, Role};

use super::Chat;
use super::questions::ask;
use crate::support::app::METRICS;
use crate::support::{Client, Engine, Feed, PATIENCE, TestApp, found, on_both_engines, until, within};

on_both_engines!(
    streams_are_limited_for_each_caller_and_for_all,
    a_client_that_leaves_gives_its_place_back,
    a_reader_that_does_not_read_is_cut_off_and_comes_back,
    a_crowd_from_far_behind_gets_everything_once,
    streams_end_when_the_server_stops,
    an_idle_stream_is_told_its_position,
);

const EVENTS: &str = "/api/events";

async fn opened(client: &Client, path: &str) -> Feed {
    let mut feed = client.follow(path).await;
    assert_eq!(feed.next().await.unwrap()["kind"], "hello");
    feed
}

async fn streams_are_limited_for_each_caller_and_for_all(engine: Engine) {
    let limits = format!("limits.streams = 4\nlimits.streams_per_caller = 2\n{METRICS}");
    let app = TestApp::with(engine, &limits).await;
    let chat = Chat::on(&app, "echo").await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    let of_visitor = format!("/api/questions/{}/events", chat.session);
    let mut held = Vec::new();
    for (client, path) in [(&person, EVENTS), (&visitor, &of_visitor)] {
        held.push(opened(client, path).await);
        held.push(opened(client, path).await);
        let refused = client.get(path).await;
        refused.has_status(429);
        assert!(refused.header("retry-after").is_some());
    }
    let refused = program.get(EVENTS).await;
    refused.has_status(503);
    assert!(refused.header("retry-after").is_some());
    // A page that has something takes no place, one that waits does.
    let json = person.with("accept", "application/json");
    json.get(EVENTS).await.ok();
    json.get(&format!("{EVENTS}?wait=30")).await.has_status(429);
    let metrics = app.metrics().get("/metrics").await.text;
    for line in
        ["wicara_feed_streams_open{reader=\"operator\"} 2", "wicara_feed_streams_open{reader=\"visitor\"} 2"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    // Other requests go on.
    ask(&visitor, "halo").await.ok();
    drop(held);
    found(PATIENCE, "there is a place again", async || {
        let mut feed = program.try_follow(EVENTS).await.unwrap()?;
        feed.next().await
    })
    .await;
    app.stop().await;
}

async fn a_client_that_leaves_gives_its_place_back(engine: Engine) {
    let app = TestApp::with(engine, "limits.streams_per_caller = 1\n").await;
    let person = app.person();
    for _ in 0..5 {
        let feed =
            found(PATIENCE, "there is a place", async || person.try_follow(EVENTS).await.unwrap()).await;
        drop(feed);
    }
    app.stop().await;
}

/// A stream over a socket with small buffers, of which nothing is read yet.
async fn unread(app: &TestApp, key: &str, query: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream =
        socket.connect(app.base.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
    let request = format!("GET {EVENTS}?{query} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The cursors of all events that came whole.
fn cursors(body: &str) -> Vec<String> {
    let whole = body.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let events = whole.split("\n\n").filter(|block| block.contains("event: message.created\n"));
    let id =
        |block: &str| block.lines().find_map(|line| line.strip_prefix("id: ").map(str::to_owned)).unwrap();
    events.map(id).collect()
}

/// The body of a response that was cut, without the sizes of its chunks.
fn unchunked(mut bytes: &[u8]) -> String {
    let head = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    bytes = &bytes[head..];
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let chunk = &bytes[end + 2..];
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        bytes = chunk.get(size + 2..).unwrap_or_default();
    }
    String::from_utf8_lossy(&body).into_owned()
}

async fn a_reader_that_does_not_read_is_cut_off_and_comes_back(engine: Engine) {
    // More than the kernel takes for a client that does not read.
    const MESSAGES: usize = 80;
    let app = TestApp::with(engine, METRICS).await;
    let person = app.person();
    let key = app.key(Role::Viewer, Bots::All, Api::Chatbot).await;
    let start = person.with("accept", "application/json").get(EVENTS).await.ok();
    let start = start["cursor"].as_str().unwrap();
    let mut stream = unread(&app, &key, &format!("after={start}&kinds=message.created")).await;
    let mut quick = opened(&person, &format!("{EVENTS}?kinds=message.created")).await;
    let room = json!({"room": "r", "integrationType": "website"});
    let room = person.post("/api/conversation", &room).await.ok()["data"]["id"].clone();
    let text = "x".repeat(60_000);
    let message = json!({"message": text, "type": "text", "role": "agent", "conversationId": room});
    let mut expected = Vec::new();
    for _ in 0..MESSAGES {
        person.post("/api/message", &message).await.ok();
        // Another reader is not held up.
        expected.push(quick.next().await.unwrap()["cursor"].as_str().unwrap().to_owned());
    }
    until(PATIENCE, "it is cut off", async || {
        let metrics = app.metrics().get("/metrics").await.text;
        metrics.lines().any(|line| line == "wicara_feed_readers_cut_off_total 1")
    })
    .await;
    let mut bytes = Vec::new();
    let _ = within(PATIENCE, "the connection ends", stream.read_to_end(&mut bytes)).await;
    let mut got = cursors(&unchunked(&bytes));
    assert!(got.len() < MESSAGES, "{}", got.len());
    // What came is a part of it without gaps, and its last position leads to the rest.
    let program = app.anonymous().with("x-api-key", &key);
    let after = got.last().map_or(start, String::as_str).to_owned();
    let mut feed = opened(&program, &format!("{EVENTS}?kinds=message.created&after={after}")).await;
    while got.len() < MESSAGES {
        got.push(feed.next().await.unwrap()["cursor"].as_str().unwrap().to_owned());
    }
    assert_eq!(got, expected);
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), MESSAGES);
    drop((quick, feed));
    app.stop().await;
}

async fn a_crowd_from_far_behind_gets_everything_once(engine: Engine) {
    // More events than a node reads from before its first reader, and more bytes than a step of a stream has.
    const SMALL: usize = 2_300;
    const LARGE: usize = 20;
    let app = TestApp::start(engine).await;
    let person = app.person();
    let json = person.with("accept", "application/json");
    let start = json.get(EVENTS).await.ok()["cursor"].as_str().unwrap().to_owned();
    let room = json!({"room": "r", "integrationType": "website"});
    let room = person.post("/api/conversation", &room).await.ok()["data"]["id"].clone();
    let say = async |text: String| {
        let message = json!({"message": text, "type": "text", "role": "agent", "conversationId": &room});
        let stored = person.post("/api/message", &message).await.ok();
        stored["data"]["id"].as_str().unwrap().to_owned()
    };
    let texts = (0..LARGE).map(|_| "x".repeat(60_000)).chain((0..SMALL).map(|number| number.to_string()));
    let stored: Vec<String> = stream::iter(texts).map(say).buffer_unordered(16).collect().await;
    let stored: BTreeSet<_> = stored.into_iter().collect();

    let app = TestApp::on(app.stop().await, "").await;
    let person = app.person();
    let json = person.with("accept", "application/json");
    let query = format!("{EVENTS}?kinds=message.created");
    let id = |event: &Value| event["message"]["id"].as_str().unwrap().to_owned();
    let streamed = (0..8).map(|_| async {
        let mut feed = opened(&person, &format!("{query}&after={start}")).await;
        feed.take(stored.len()).await.iter().map(id).collect::<Vec<_>>()
    });
    let paged = async {
        let (mut position, mut ids) = (start.clone(), Vec::new());
        loop {
            let page = json.get(&format!("{query}&limit=500&after={position}")).await.ok();
            let events = page["data"].as_array().unwrap();
            if events.is_empty() {
                return ids;
            }
            ids.extend(events.iter().map(id));
            page["cursor"].as_str().unwrap().clone_into(&mut position);
        }
    };
    let (streamed, paged) = tokio::join!(join_all(streamed), paged);
    assert_eq!(paged.len(), stored.len());
    assert_eq!(paged.iter().cloned().collect::<BTreeSet<_>>(), stored);
    for streamed in streamed {
        assert_eq!(streamed, paged);
    }
    app.stop().await;
}

async fn streams_end_when_the_server_stops(engine: Engine) {
    let app = TestApp::with(engine, METRICS).await;
    let chat = Chat::on(&app, "echo").await;
    let mut feeds = Vec::new();
    for _ in 0..20 {
        feeds.push(opened(&app.person(), EVENTS).await);
        feeds.push(opened(&app.anonymous(), &format!("/api/questions/{}/events", chat.session)).await);
    }
    let waiting = app.person().with("accept", "application/json");
    let waiting = tokio::spawn(async move { waiting.get(&format!("{EVENTS}?wait=30")).await });
    until(PATIENCE, "a page waits", async || {
        let metrics = app.metrics().get("/metrics").await.text;
        metrics.lines().any(|line| line == "wicara_http_requests_in_flight 1")
    })
    .await;
    within(PATIENCE, "the server stops", app.stop()).await;
    for feed in feeds {
        let rest: Vec<Value> = feed.rest().await;
        assert_eq!(rest, [] as [Value; 0]);
    }
    let answer = waiting.await.unwrap();
    assert_eq!(answer.ok()["data"], json!([]));
}

/// Every 15 seconds, whose moments are spread over the streams: of so many, one's comes each second.
async fn an_idle_stream_is_told_its_position(engine: Engine) {
    const STREAMS: usize = 15;
    let app = TestApp::start(engine).await;
    let (chat, visitor) = (Chat::on(&app, "b").await, app.anonymous());
    let program = app.program_with(Role::Viewer, Bots::Only(vec!["b".into()]), Api::Conversation).await;
    let thread = format!("/api/questions/{}/events", chat.session);
    for (client, path) in [(&program, EVENTS), (&visitor, &thread)] {
        let mut feeds = Vec::new();
        for _ in 0..STREAMS {
            feeds.push(opened(client, path).await);
        }
        // What its reader may not see, it is told of as well: a position that has nothing before it to catch up with.
        ask(&visitor, "halo").await.ok();
        let head = client.with("accept", "application/json").get(path).await.ok()["cursor"].clone();
        let mut beats = Vec::new();
        for feed in &mut feeds {
            beats.push(Box::pin(feed.heartbeat()));
        }
        let (position, ..) = select_all(beats).await;
        assert_eq!(position, head.as_str().unwrap(), "{path}");
        // It leads on from there.
        let mut feed = opened(client, &format!("{path}?after={position}")).await;
        let message = json!({"message": "next", "type": "text", "role": "agent", "conversationId": chat.id});
        app.person().post("/api/message", &message).await.ok();
        assert_eq!(feed.next().await.unwrap()["kind"], "message.created", "{path}");
    }
    app.stop().await;
}
