//! A block of server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).

use std::io::Write;

use axum::body::Bytes;
use serde::Serialize;
use wicara_service::FeedCursor;

const DATA: &[u8] = b"\ndata: ";
const END: &[u8] = b"\n\n";

/// `event:`, `id:` where there is one, and one line of `data:`.
pub fn block<T: Serialize>(kind: &str, cursor: Option<&FeedCursor>, data: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(512);
    let _ = write!(bytes, "event: {kind}");
    if let Some(cursor) = cursor {
        let _ = write!(bytes, "\nid: {cursor}");
    }
    bytes.extend_from_slice(DATA);
    let start = bytes.len();
    serde_json::to_writer(&mut bytes, data).expect("plain data serialises");
    // A bot's payload is kept as it was sent, with line breaks between its tokens; within strings JSON has none.
    for byte in &mut bytes[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    bytes.extend_from_slice(END);
    // Many streams share it, for as long as it is in memory.
    bytes.shrink_to_fit();
    bytes.into()
}

/// A position alone: a heartbeat.
pub fn position(cursor: &FeedCursor) -> Bytes {
    format!("id: {cursor}\n\n").into()
}

/// The JSON of a [`block`].
pub fn json_of(block: &[u8]) -> &[u8] {
    let start = block.windows(DATA.len()).position(|bytes| bytes == DATA).map_or(0, |at| at + DATA.len());
    block[start..].strip_suffix(END).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wicara_model::Json;

    use super::*;

    #[test]
    fn data_is_one_line_whatever_a_bot_sent() {
        let payload = "{\r\n \"text\": \"a\\nb\u{2028}\" ,\r \"n\":\n1}";
        let payload = Json::parse(payload.to_owned()).unwrap();
        let block = block("message.created", None, &payload);
        let text = "event: message.created\ndata: {   \"text\": \"a\\nb\u{2028}\" ,  \"n\": 1}\n\n";
        assert_eq!(str::from_utf8(&block).unwrap(), text);
        assert_eq!(json_of(&block), &text.as_bytes()[29..text.len() - 2]);
    }
}
