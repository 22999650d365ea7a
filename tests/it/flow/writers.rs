//! Writers that know what was acknowledged, and what has to be tried again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use wicara_model::{Bots, ConversationId, Message};
use wicara_store::{Detail, MessageChunk, Store};

/// What takes longer than this hangs.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);

/// One client that writes messages, each with a key of its own, and tries again what was not acknowledged.
pub struct Writer {
    number: usize,
    conversation: i64,
    key: String,
    sent: usize,
    /// Ids and texts, in the order in which they were acknowledged.
    pub acknowledged: Vec<(i64, String)>,
    /// Answers with 503.
    pub refused: usize,
    http: reqwest::Client,
}

impl Writer {
    pub fn new(number: usize, conversation: i64, key: String) -> Self {
        wicara_platform::tls::install();
        let http = reqwest::Client::builder().no_proxy().timeout(LONGEST_ANSWER).build().unwrap();
        Self { number, conversation, key, sent: 0, acknowledged: Vec::new(), refused: 0, http }
    }

    fn text(&self) -> String {
        format!("writer {} message {}", self.number, self.sent)
    }

    /// Sends the next message, or the last one again if it was not acknowledged; whether it was now.
    pub async fn send(&mut self, base: &str) -> bool {
        let text = self.text();
        let body = json!({
            "message": text, "type": "text", "role": "client", "conversationId": self.conversation.to_string()
        });
        let request = self
            .http
            .post(format!("{base}/api/message"))
            .header("x-api-key", &self.key)
            .header("content-type", "application/json")
            .header("idempotency-key", text.replace(' ', "-"))
            .body(body.to_string());
        let Ok(response) = request.send().await else { return false };
        let status = response.status();
        if status != StatusCode::OK {
            let retry_after = response.headers().contains_key("retry-after");
            let answer = response.text().await.unwrap_or_default();
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && retry_after, "{status} {answer}");
            self.refused += 1;
            return false;
        }
        let Ok(answer) = response.text().await else { return false };
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["data"]["message"], text);
        self.acknowledged.push((answer["data"]["id"].as_str().unwrap().parse().unwrap(), text));
        self.sent += 1;
        true
    }

    /// Sends until nothing is acknowledged any more; counts what was.
    pub async fn send_until_refused(mut self, base: String, count: Arc<AtomicUsize>) -> Self {
        while self.send(&base).await {
            count.fetch_add(1, Ordering::SeqCst);
        }
        self
    }
}

/// Everything acknowledged is there, once, with the id it was acknowledged with, in order; and nothing else is.
pub async fn assert_nothing_lost_or_doubled(store: &Store, writers: &[Writer]) {
    let conversations: HashSet<i64> = writers.iter().map(|writer| writer.conversation).collect();
    let mut stored: HashMap<i64, Message> = HashMap::new();
    for id in conversations {
        let id = ConversationId(id);
        let Detail { conversation, chunk, .. } = store.detail_get(&Bots::All, id).await.unwrap().unwrap();
        let MessageChunk { mut messages, mut remaining } = chunk;
        while let Some(after) = remaining {
            let chunk = store.message_chunk(id, after).await.unwrap();
            messages.extend(chunk.messages);
            remaining = chunk.remaining;
        }
        let count = i64::try_from(messages.len()).unwrap();
        assert_eq!(conversation.message_count, count);
        let places: Vec<_> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(places, (1..=count).collect::<Vec<_>>(), "dense places in the order of the ids");
        stored.extend(messages.into_iter().map(|message| (message.id.0, message)));
    }
    for writer in writers {
        assert!(writer.acknowledged.is_sorted(), "a writer's messages are in the order it sent them");
        for (id, text) in &writer.acknowledged {
            let message = stored.remove(id).unwrap_or_else(|| panic!("{text:?} is lost"));
            assert_eq!(message.text, *text);
            assert_eq!(message.conversation_id.0, writer.conversation);
        }
    }
    assert!(stored.is_empty(), "stored twice or never sent: {stored:?}");
}
