//! Decodes the frames of a completion: the chunks of a streamed one, or a whole one in a single frame.

use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;
use wicara_model::{Answer, Json};
use wicara_outbound::sse::Frame;
use wicara_outbound::{ErrorText, shortly};

use super::completion::{self, Choice, End};
use crate::pieces::Pieces;
use crate::{AnswerStream, Error, StreamItem, failures};

const DONE: &str = "[DONE]";
/// How much longer than behind other ends more is waited for where an end may be none: some servers give a reason for the end
/// in every chunk.
const DOUBT: Duration = Duration::from_millis(1500);

/// Decodes the frames of a completion: tokens, then one answer with all of their text. What is not understood is left out.
pub fn decode(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> AnswerStream {
    let decoder = StreamDecoder {
        frames,
        text: String::new(),
        pieces: Pieces::default(),
        index: None,
        has_deltas: false,
        has_thoughts: false,
        whole_messages: 0,
        is_document: false,
        lost: None,
        not_understood: None,
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
    /// The choice that is read: the first that comes, because the request asks for one.
    index: Option<u64>,
    has_deltas: bool,
    has_thoughts: bool,
    /// The frames with a message in place of a piece of one. Some servers repeat the growing message in each.
    whole_messages: usize,
    /// A whole completion came as a document, not as an event.
    is_document: bool,
    /// A frame with a piece of the text that cannot be read.
    lost: Option<ErrorText>,
    /// The first frame that is nothing of a completion, for the operator.
    not_understood: Option<ErrorText>,
    end: End,
    /// When the answer's end was received. What follows is not waited for long: an error, `[DONE]`, or more text.
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
        if let Some(body) = self.lost.take().filter(|_| self.whole_messages == 0) {
            return Err(Error::NotJson { why: "a piece of it is not JSON".to_owned(), body });
        }
        // A completion in one frame is whole, also where its server gives no reason for its end.
        let is_one = self.whole_messages == 1 && !self.has_deltas;
        let is_whole = is_one && (self.end == End::Unsaid || self.is_document);
        if self.end != End::Finished && !is_whole {
            return Err(self.unreadable("it broke off"));
        }
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            let why = if self.has_thoughts { "it holds thoughts alone" } else { "it is empty" };
            return Err(self.unreadable(why));
        }
        Ok(Some((StreamItem::Answer(Answer::text(text)), self)))
    }

    fn unreadable(&mut self, why: &str) -> Error {
        let why = why.to_owned();
        match self.not_understood.take() {
            Some(body) => Error::NotJson { why, body },
            None => Error::Unreadable(why),
        }
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
            self.note(frame);
            let failure = failures::of_text(&frame.data);
            return failure.map_or_else(|| Ok(String::new()), |failure| Err(Error::Failed(failure)));
        };
        let choices = completion::read(&data)?;
        if choices.is_empty() {
            self.note(frame);
            return Ok(String::new());
        }
        let choice =
            choices.into_iter().find(|choice| *self.index.get_or_insert(choice.index) == choice.index);
        Ok(choice.map_or_else(String::new, |choice| self.choice(&choice, frame.is_bare)))
    }

    /// A frame that is nothing of a completion.
    fn note(&mut self, frame: &Frame) {
        if failures::is_mark(frame) {
            self.end = End::Finished;
            self.ended_at.get_or_insert_with(Instant::now);
            return;
        }
        let text = ErrorText::new(&frame.data);
        let is_broken =
            frame.data.trim_start().starts_with(['{', '[']) && Json::joinable(&frame.data).is_err();
        if is_broken && frame.data.contains("\"content\"") {
            self.lost.get_or_insert_with(|| text.clone());
        }
        self.not_understood.get_or_insert(text);
    }

    fn choice(&mut self, choice: &Choice, is_bare: bool) -> String {
        self.has_thoughts |= choice.delta.has_thoughts || choice.message.has_thoughts;
        let delta = choice.delta.text(&mut self.pieces);
        let token = if delta.is_empty() {
            self.message_token(choice)
        } else {
            self.has_deltas = true;
            delta
        };
        let now = Instant::now();
        let has_text = !token.is_empty();
        match choice.end {
            End::Finished => {
                let is_doubtful = !is_bare && (has_text || self.text.trim().is_empty());
                self.end = End::Finished;
                self.ended_at = Some(if is_doubtful { now + DOUBT } else { self.ended_at.unwrap_or(now) });
            }
            _ if self.end == End::Finished && has_text => self.ended_at = Some(now + DOUBT),
            _ if is_bare && self.whole_messages > 0 => {
                self.is_document = true;
                self.ended_at.get_or_insert(now);
            }
            End::Open if self.end == End::Unsaid => self.end = End::Open,
            End::Open | End::Unsaid => {}
        }
        token
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
