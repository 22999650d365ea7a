//! What a busy server does most often and without waiting for anything: `cargo bench --bench hot` says how long it
//! takes, `cargo test --bench hot` runs each once.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;
use uuid::Uuid;
use wicara_bots::AnswerStream;
use wicara_bots::bench_api::{decode_langflow, decode_openai};
use wicara_http::bench_api::{ChatListEntry, ChatMessage, Conversation as Room, Input, Question};
use wicara_model::{Conversation, ConversationId, Handler, Json, Message, MessageId, Timestamp, role};
use wicara_outbound::Error;
use wicara_outbound::sse::{Frame, Parser};
use wicara_search::{Query, Terms, excerpt, words};

fn main() {
    divan::main();
}

const FRAME_BYTES: usize = 1024 * 1024;
/// As bytes come from a socket.
const PIECE_BYTES: usize = 1400;

const QUESTION: &[u8] = r#"{"session_id":"1309c142-3535-45b2-acdf-8bfbe59c3b9a","message":"Bagaimana cara memperpanjang KTP? \"Hari ini\" – boleh?"}"#.as_bytes();
const ANSWER: &str = r#"{"text":"Bawa KTP lama dan kartu keluarga ke kantor kecamatan.","properties":{"source":{"id":"guide","display_name":"Guide","source":"guide"},"icon":"","allow_markdown":true,"state":"complete","text_color":"","background_color":""},"category":"message","id":"9c3f7f2e","flow_id":"b9b4a0a7","suggest_links":[{"title":"KTP","url":"/guide/ktp"}]}"#;
const RUN: &str = include_str!("../crates/bots/cassettes/langflow-1.13/v1-stream.txt");

fn conversation(messages: i64) -> (Conversation, Vec<Message>) {
    let at = Timestamp(1_752_470_016_351);
    let id = ConversationId(5);
    let conversation = Conversation {
        id,
        session_id: Uuid::from_u128(7),
        by_visitor: true,
        room: "website-5".into(),
        integration_type: "website".into(),
        bot_id: "guide".into(),
        user_id: None,
        handler: Handler::Bot,
        assignee: None,
        handed_over_at: None,
        handover_reason: None,
        unclaimed_since: None,
        given_back_after: MessageId(0),
        seen_by_visitor: MessageId(0),
        message_count: messages,
        note_count: 0,
        message_bytes: 0,
        created_at: at,
        updated_at: at,
    };
    let message = |seq: i64| Message {
        id: MessageId(seq),
        conversation_id: id,
        seq,
        role: if seq % 2 == 1 { role::CLIENT } else { role::BOT }.into(),
        kind: "text".into(),
        text: "Bagaimana cara memperpanjang KTP?".into(),
        payload: (seq % 2 == 0).then(|| Json::parse(ANSWER.into()).expect("it is JSON")),
        reply_to: (seq % 2 == 0).then(|| MessageId(seq - 1)),
        failure: None,
        feedback: None,
        author: None,
        time: None,
        created_at: at,
        updated_at: at,
    };
    (conversation, (1..=messages).map(message).collect())
}

fn write<T: Serialize>(buffer: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(buffer, value).expect("plain data serialises");
}

/// An entry of the Chatbot API's list.
#[divan::bench]
fn chat_list_entry_of_10_messages(bencher: Bencher) {
    let (conversation, messages) = conversation(10);
    bencher.with_inputs(Vec::new).bench_values(|mut buffer| {
        write(&mut buffer, &ChatListEntry::new(black_box(&conversation), &messages));
        buffer
    });
}

/// The messages of the Chatbot API's detail.
#[divan::bench]
fn chat_detail_of_2000_messages(bencher: Bencher) {
    let (_, messages) = conversation(2000);
    bencher.with_inputs(Vec::new).bench_values(|mut buffer| {
        for message in black_box(&messages) {
            write(&mut buffer, &ChatMessage::new(message));
        }
        buffer
    });
}

/// An entry of the Conversation API's list.
#[divan::bench]
fn conversation_list_entry(bencher: Bencher) {
    let (conversation, messages) = conversation(2);
    bencher.with_inputs(Vec::new).bench_values(|mut buffer| {
        write(&mut buffer, &Room::new(black_box(&conversation), messages.last(), Some(0)));
        buffer
    });
}

#[divan::bench]
fn question_body(bencher: Bencher) {
    bencher.bench(|| {
        let mut input = Input::read(black_box(QUESTION)).expect("it is an object");
        let question = Question::read(&mut input, false);
        input.finish().expect("it breaks no rule");
        question
    });
}

/// What a model says, in as many pieces as a long answer has.
fn completion() -> String {
    let piece = r#"data: {"id":"c","object":"chat.completion.chunk","created":1795323029,"model":"m","choices":[{"index":0,"delta":{"content":" kecamatan"}}]}"#;
    format!("{}data: [DONE]\n\n", format!("{piece}\n\n").repeat(500))
}

fn frames(body: &[u8]) -> Vec<Frame> {
    let (mut parser, mut frames) = (Parser::new(FRAME_BYTES), Vec::new());
    for piece in body.chunks(PIECE_BYTES) {
        parser.push(piece, &mut frames).expect("it is a stream");
    }
    frames
}

#[divan::bench]
fn frames_of_500_events(bencher: Bencher) {
    let body = completion();
    bencher.counter(BytesCount::of_str(&body)).bench(|| frames(black_box(body.as_bytes())));
}

#[divan::bench]
fn frames_of_bare_json(bencher: Bencher) {
    bencher.counter(BytesCount::of_str(RUN)).bench(|| frames(black_box(RUN.as_bytes())));
}

type Frames = stream::Iter<std::vec::IntoIter<Result<Frame, Error>>>;

/// Reads frames that are all there, to the end.
fn hear(bencher: Bencher, body: &str, hear: fn(Frames) -> AnswerStream) {
    let frames: Vec<_> = frames(body.as_bytes()).into_iter().map(Ok).collect();
    bencher.with_inputs(|| stream::iter(frames.clone())).bench_values(|frames| {
        let parts: Vec<_> = hear(frames).collect().now_or_never().expect("nothing is waited for");
        assert!(parts.len() > 1 && parts.iter().all(Result::is_ok), "{parts:?}");
        parts
    });
}

/// The chunks of an OpenAI-compatible API.
#[divan::bench]
fn answer_of_500_chunks(bencher: Bencher) {
    hear(bencher, &completion(), decode_openai);
}

#[divan::bench]
fn answer_of_a_langflow_run(bencher: Bencher) {
    hear(bencher, RUN, decode_langflow);
}

/// Texts of messages, from short to long ones; the pages are in English and in Indonesian.
const TEXTS: &[(&str, &str)] = &[
    ("a question", "Bagaimana cara memperpanjang KTP yang hilang?"),
    ("English", include_str!("../knowledge/en/03-asking-questions.md")),
    ("Indonesian", include_str!("../knowledge/id/03-mengajukan-pertanyaan.md")),
    ("Japanese", "窓口でパスポートを更新する方法を教えてください。"),
];

fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _)| *name)
}

fn text_of(name: &str) -> &'static str {
    TEXTS.iter().find(|(known, _)| *known == name).expect("it is one of them").1
}

/// Splitting and folding, by itself.
#[divan::bench(args = names())]
fn words_of(bencher: Bencher, name: &str) {
    let text = text_of(name);
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| words(black_box(text)).map(|word| word.surface.len()).sum::<usize>());
}

/// All that the index of a message needs.
#[divan::bench(args = names())]
fn terms_of(bencher: Bencher, name: &str) {
    let text = text_of(name);
    bencher.counter(BytesCount::of_str(text)).bench(|| Terms::of(black_box(text)));
}

#[divan::bench(args = names())]
fn excerpt_of(bencher: Bencher, name: &str) {
    let (text, query) =
        (text_of(name), Query::parse("kartu \"session id\" question*").expect("it is a query"));
    bencher.bench(|| excerpt(black_box(text), &query));
}
