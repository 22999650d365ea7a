//! Decodes the frames of a run: the events of a streamed one, or a whole response in a single frame.

use std::collections::HashSet;
use std::vec;

use futures_util::stream::{self, Stream, StreamExt};
use serde_json::from_str;
use wicara_model::{Answer, Json, Object};
use wicara_outbound::{self as outbound, ErrorText, sse::Frame};

use super::answers;
use crate::pieces::Pieces;
use crate::{AnswerStream, Error, StreamItem, failures};

/// Decodes the frames of a run. What is not understood is left out.
pub fn decode(
    frames: impl Stream<Item = Result<Frame, outbound::Error>> + Unpin + Send + 'static,
) -> AnswerStream {
    let decoder = StreamDecoder {
        frames,
        streamed: None,
        last_message: None,
        seen_texts: HashSet::new(),
        lost: None,
        has_invalid_part: false,
        has_no_text: false,
        final_items: None,
    };
    stream::try_unfold(decoder, StreamDecoder::next).boxed()
}

struct StreamDecoder<F> {
    frames: F,
    streamed: Option<Streamed>,
    /// The flow's last message with a text. It holds the answer where the `end` event does not.
    last_message: Option<Answer>,
    /// The texts of the answers so far: a message that goes to several outputs is one answer.
    seen_texts: HashSet<String>,
    /// A token that cannot be read.
    lost: Option<ErrorText>,
    /// A part of the flow failed, without an `error` event.
    has_invalid_part: bool,
    /// A whole response without a text has come.
    has_no_text: bool,
    /// What is left to give once the run has ended; nothing is read after that.
    final_items: Option<vec::IntoIter<StreamItem>>,
}

/// The message whose tokens are passed on: the first with tokens. Tokens of other messages come interleaved with its own and
/// are dropped.
struct Streamed {
    id: String,
    text: String,
    pieces: Pieces,
    /// The message as it was added after its last token.
    whole: Option<Answer>,
}

impl<F: Stream<Item = Result<Frame, outbound::Error>> + Unpin> StreamDecoder<F> {
    /// The next item and the decoder's next state.
    async fn next(mut self) -> Result<Option<(StreamItem, Self)>, Error> {
        loop {
            if let Some(items) = &mut self.final_items {
                return Ok(items.next().map(|item| (item, self)));
            }
            let Some(frame) = self.frames.next().await.transpose()? else {
                let why = if self.has_no_text { "there is no text in it" } else { "it broke off" };
                return Err(Error::Unreadable(why.to_owned()));
            };
            if let Some(item) = self.decode_frame(&frame)? {
                return Ok(Some((item, self)));
            }
        }
    }

    fn decode_frame(&mut self, frame: &Frame) -> Result<Option<StreamItem>, Error> {
        let object = Json::joinable(&frame.data).and_then(|data| from_str::<Object>(data.as_str()));
        let is_error = failures::is_error_event(&frame.event);
        let Ok(object) = object else {
            let text = || ErrorText::new(&frame.data);
            let failure = if is_error { Some(text()) } else { failures::of_text(&frame.data) };
            if frame.data.contains("\"chunk\"") {
                self.lost.get_or_insert_with(text);
            }
            return failure.map_or(Ok(None), |failure| Err(Error::Failed(failure)));
        };
        if let Some(name) = object.get("event").and_then(Json::string) {
            let data = object.get("data").map_or("null", Json::as_str);
            if is_error || name.eq_ignore_ascii_case("error") {
                return Err(answers::failure(decodable(data).as_ref().map_or(data, Json::as_str)));
            }
            failures::check(&object)?;
            return self.event(&name, data);
        }
        if is_error {
            return Err(answers::failure(&frame.data));
        }
        match frame.event.as_str() {
            "" | "message" => self.whole_response(&frame.data),
            name => self.event(name, &frame.data),
        }
    }

    fn event(&mut self, name: &str, data: &str) -> Result<Option<StreamItem>, Error> {
        if name == "token" {
            failures::check_json(data)?;
            return Ok(self.token(data).map(StreamItem::Token));
        }
        let data = decodable(data);
        let data = data.as_ref().map_or("null", Json::as_str);
        match name {
            "add_message" => self.message(data).map(|()| None),
            // v2: a component at an end of the flow has finished.
            "output" => {
                let answer = answers::of_component(data)?;
                let answer = answer.filter(|answer| self.seen_texts.insert(answer.text.clone()));
                Ok(answer.map(StreamItem::Answer))
            }
            "end_vertex" => {
                self.has_invalid_part |= answers::at(data, &["build_data", "valid"]) == Some("false");
                Ok(None)
            }
            "end" => self.end(data).map(|()| None),
            _ => Ok(None),
        }
    }

    fn token(&mut self, data: &str) -> Option<String> {
        let id = answers::string_at(data, &["id"]).unwrap_or_default();
        let chunk = answers::at(data, &["chunk"])?;
        let streamed = self.streamed.get_or_insert_with(|| Streamed {
            id: id.clone(),
            text: String::new(),
            pieces: Pieces::default(),
            whole: None,
        });
        if streamed.id != id {
            return None;
        }
        let text = streamed.pieces.next(chunk)?;
        streamed.text.push_str(&text);
        streamed.whole = None;
        (!text.is_empty()).then_some(text)
    }

    fn message(&mut self, data: &str) -> Result<(), Error> {
        let message = answers::of_message(data)?;
        let Some(answer) = message.answer.filter(|_| message.is_from_flow) else { return Ok(()) };
        if let Some(streamed) = self.streamed.as_mut().filter(|streamed| streamed.id == message.id) {
            streamed.whole = Some(answer.clone());
        }
        self.last_message = Some(answer);
        Ok(())
    }

    /// A whole response, or anything else that has no event's name.
    fn whole_response(&mut self, data: &str) -> Result<Option<StreamItem>, Error> {
        let data = decodable(data);
        let data = data.as_ref().map_or("null", Json::as_str);
        let found = answers::of_response(data)?;
        if found.is_empty() {
            answers::check_words(data)?;
            self.has_no_text = true;
        } else {
            self.finish(found);
        }
        Ok(None)
    }

    fn end(&mut self, data: &str) -> Result<(), Error> {
        failures::check_json(data)?;
        let found = match answers::at(data, &["result"]) {
            Some(response) => {
                let found = answers::of_response(response)?;
                if found.is_empty() {
                    answers::check_words(response)?;
                }
                found
            }
            None => Vec::new(),
        };
        if !found.is_empty() || !self.seen_texts.is_empty() {
            self.finish(found);
            return Ok(());
        }
        if self.has_invalid_part {
            return Err(Error::Failed(ErrorText::new("a part of the flow failed")));
        }
        // What was streamed whole is the answer, where the end does not repeat it.
        let streamed = self.streamed.as_mut().and_then(|streamed| {
            let text = streamed.text.clone() + streamed.pieces.end();
            let text = (!text.trim().is_empty()).then(|| Answer::text(text));
            streamed.whole.take().or(text.filter(|_| self.lost.is_none()))
        });
        let text = answers::string_at(data, &["text"]).filter(|text| !text.trim().is_empty());
        let is_whole = self.lost.is_none() || self.streamed.is_none();
        let last_message = self.last_message.take().filter(|_| is_whole);
        let answer = text.map(Answer::text).or(streamed).or(last_message);
        let answer = answer.ok_or_else(|| match self.lost.take() {
            Some(body) => Error::NotJson { why: "a piece of it is not JSON".to_owned(), body },
            None => Error::Unreadable("there is no text in it".to_owned()),
        })?;
        self.finish(vec![answer]);
        Ok(())
    }

    fn finish(&mut self, found: Vec<Answer>) {
        let rest = self.streamed.as_mut().map_or("", |streamed| streamed.pieces.end());
        let rest = (!rest.is_empty()).then(|| StreamItem::Token(rest.to_owned()));
        let items: Vec<_> = rest.into_iter().chain(found.into_iter().map(StreamItem::Answer)).collect();
        self.final_items = Some(items.into_iter());
    }
}

/// `None` where the data is no JSON.
fn decodable(data: &str) -> Option<Json> {
    Json::decodable(data).ok()
}
