//! A stream of the feed, block by block.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{PATIENCE, within};

pub struct Feed {
    pub headers: HeaderMap,
    /// The last `id:`, as a browser would send it when it comes back.
    pub position: Option<String>,
    /// The last `retry:`, in milliseconds.
    pub retry: Option<u64>,
    response: Response,
    buffer: Vec<u8>,
}

impl Feed {
    pub fn new(response: Response) -> Self {
        let headers = response.headers().clone();
        Self { headers, position: None, retry: None, response, buffer: Vec::new() }
    }

    /// The data of the next event; `None` at an orderly end of the stream. Heartbeats only move the position.
    pub async fn next(&mut self) -> Option<Value> {
        self.try_next().await.expect("the stream ends well")
    }

    /// The same of a server that may die: an error where the stream breaks off.
    pub async fn try_next(&mut self) -> Result<Option<Value>, reqwest::Error> {
        within(PATIENCE, "the next event", self.read()).await
    }

    /// The next block, which is a heartbeat: the position that it has.
    pub async fn heartbeat(&mut self) -> String {
        let block = within(PATIENCE, "a heartbeat", self.block()).await.unwrap().unwrap();
        let position = block.strip_prefix("id: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let position = position.unwrap_or_else(|| panic!("no heartbeat: {block}"));
        assert!(!position.contains('\n'), "{block}");
        position.to_owned()
    }

    /// The next block as it was sent; `None` at an orderly end of the stream.
    async fn block(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\n\n") {
                let block = self.buffer.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8(block).unwrap()));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert_eq!(self.buffer, b"", "nothing stands after the last event");
                    return Ok(None);
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Value>, reqwest::Error> {
        loop {
            let Some(block) = self.block().await? else { return Ok(None) };
            let (mut name, mut data) = (None, None);
            for line in block.lines().filter(|line| !line.is_empty()) {
                match line.split_once(": ").unwrap_or_else(|| panic!("no field: {line}")) {
                    ("event", event) => name = Some(event.to_owned()),
                    ("id", id) => self.position = Some(id.to_owned()),
                    ("retry", millis) => self.retry = Some(millis.parse().unwrap()),
                    ("data", json) => {
                        assert_eq!(data, None, "two lines of data");
                        data = Some(serde_json::from_str::<Value>(json).unwrap());
                    }
                    field => panic!("{field:?}"),
                }
            }
            if let Some(data) = data {
                assert_eq!(Some(data["kind"].as_str().unwrap()), name.as_deref());
                if let Some(cursor) = data["cursor"].as_str() {
                    assert_eq!(self.position.as_deref(), Some(cursor));
                }
                return Ok(Some(data));
            }
            assert!(self.position.is_some() && name.is_none(), "a block without data is a position");
        }
    }

    /// The events up to the first one of this kind.
    pub async fn up_to(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let Some(event) = self.next().await else { panic!("no {kind} after {events:#?}") };
            let is_it = event["kind"] == kind;
            events.push(event);
            if is_it {
                return events;
            }
        }
    }

    /// The first event of this kind.
    pub async fn first(&mut self, kind: &str) -> Value {
        self.up_to(kind).await.pop().unwrap()
    }

    /// The next so many events.
    pub async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let Some(event) = self.next().await else { panic!("no more than {events:#?}") };
            events.push(event);
        }
        events
    }

    /// All that is still to come, to an orderly end.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
