//! A streamed answer, event by event.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

pub struct Events {
    pub headers: HeaderMap,
    response: Response,
    buffer: Vec<u8>,
}

impl Events {
    pub fn new(response: Response) -> Self {
        Self { headers: response.headers().clone(), response, buffer: Vec::new() }
    }

    /// The next event's name and data; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\n\n") else {
                let chunk = self.response.chunk().await.expect("the stream ends well")?;
                self.buffer.extend_from_slice(&chunk);
                continue;
            };
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let lines = std::str::from_utf8(&event).unwrap().lines();
            let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
            // A comment has no fields.
            if let [("event", name), ("data", data)] = fields[..] {
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// All that is still to come.
    pub async fn rest(mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        assert_eq!(self.buffer, b"", "nothing stands after the last event");
        events
    }
}
