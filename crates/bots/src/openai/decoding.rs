//! Decodes the frames of a completion: the chunks of a streamed one, or a whole one in a single frame.

use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;
use wicara_model::{Answer, Json};
use wicara_outbound::sse::Frame;
use wicara_outbound::{ErrorText, shortly};

use super::completion::{self, Choice, End};
use crate::pieces::Pieces;
use crate::{AnswerStream, Error, StreamItem, failures};

const DONE: &str = "[DONE]";

/// Decodes the frames of a completion: tokens, then one answer with all of their text. What is not understood is left out.
pub fn decode(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> AnswerStream {
    let decoder = StreamDecoder {
        frames,
        text: String::new(),
        pieces: Pieces::default(),
        has_deltas: false,
        whole_messages: 0,
        end: End::Unsaid,
        ended_at: None,
        step: Step::Reading,
    };
    stream::try_unfold(decoder, StreamDecoder::next).boxed()
}

struct StreamDecoder<F> {
    frames: F,
    /// The text of all tokens so far.
    text: String,
    pieces: Pieces,
    has_deltas: bool,
    /// The frames with a message in place of a piece of one. Some servers repeat the growing message in each.
    whole_messages: usize,
    end: End,
    /// When a `finish_reason` was received. What follows is not waited for long: an error, or `[DONE]`.
    ended_at: Option<Instant>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reading,
    /// The answer comes next.
    Read,
    Answered,
}

impl<F: Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin> StreamDecoder<F> {
    /// The next item and the decoder's next state.
    async fn next(mut self) -> Result<Option<(StreamItem, Self)>, Error> {
        while self.step == Step::Reading {
            let token = match self.next_frame().await? {
                Some(frame) if frame.data.trim() == DONE => {
                    self.end = End::Finished;
                    self.step = Step::Read;
                    self.pieces.end().to_owned()
                }
                Some(frame) => self.read(&frame)?,
                None => {
                    self.step = Step::Read;
                    self.pieces.end().to_owned()
                }
            };
            if !token.is_empty() {
                self.text.push_str(&token);
                return Ok(Some((StreamItem::Token(token), self)));
            }
        }
        if self.step == Step::Answered {
            return Ok(None);
        }
        self.step = Step::Answered;
        // A completion in one frame is whole, also where its server gives no reason for its end.
        let is_whole = self.end == End::Unsaid && self.whole_messages == 1 && !self.has_deltas;
        if self.end != End::Finished && !is_whole {
            return Err(Error::Unreadable("it broke off".to_owned()));
        }
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return Err(Error::Unreadable("it is empty".to_owned()));
        }
        Ok(Some((StreamItem::Answer(Answer::text(text)), self)))
    }

    /// `None` at the end of the body, and once the answer is complete and nothing follows it soon.
    async fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        match self.ended_at {
            // The answer is complete, so a connection that breaks now is no failure.
            Some(ended_at) => Ok(shortly(self.frames.next(), ended_at).await.flatten().and_then(Result::ok)),
            None => Ok(self.frames.next().await.transpose()?),
        }
    }

    /// The next token; empty where the frame has none.
    fn read(&mut self, frame: &Frame) -> Result<String, Error> {
        if failures::is_error_event(&frame.event) {
            return Err(Error::Failed(ErrorText::new(&frame.data)));
        }
        let data = Json::joinable(&frame.data).ok().filter(|data| data.as_str().starts_with('{'));
        let Some(data) = data else {
            let failure = failures::of_text(&frame.data);
            return failure.map_or_else(|| Ok(String::new()), |failure| Err(Error::Failed(failure)));
        };
        let choice = completion::read(&data)?;
        let Some(choice) = choice else { return Ok(String::new()) };
        match choice.end {
            End::Finished => {
                self.end = End::Finished;
                self.ended_at.get_or_insert_with(Instant::now);
            }
            End::Open if self.end == End::Unsaid => self.end = End::Open,
            End::Open | End::Unsaid => {}
        }
        let delta = choice.delta.text(&mut self.pieces);
        if !delta.is_empty() {
            self.has_deltas = true;
            return Ok(delta);
        }
        Ok(self.message_token(&choice))
    }

    /// What a whole message adds to the text so far. Where the text came in pieces it adds nothing.
    fn message_token(&mut self, choice: &Choice) -> String {
        let mut pieces = Pieces::default();
        let message = choice.message.text(&mut pieces);
        if message.is_empty() || self.has_deltas {
            return String::new();
        }
        self.pieces = pieces;
        self.whole_messages += 1;
        if let Some(more) = message.strip_prefix(self.text.as_str()) {
            return more.to_owned();
        }
        // A message at the end may be what was streamed, tidied up.
        let is_last = choice.end == End::Finished && message.len() >= self.text.len() / 2;
        if is_last || self.text.starts_with(&message) { String::new() } else { message }
    }
}
