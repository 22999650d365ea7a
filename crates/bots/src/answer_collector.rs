//! Collects the answers of one call to a bot, within limits, and passes their text on as it arrives.

use wicara_model::Answer;

use crate::thoughts::{ThoughtFilter, without_thoughts};
use crate::{Error, StreamItem, tokens};

/// The most answers to one question: each is stored as a message of its own.
pub const MAX_ANSWERS: usize = 100;
/// Stands between the texts of two answers where they are streamed as one text.
pub const ANSWER_SEPARATOR: &str = "\n\n";

/// The answers of one call so far.
pub struct AnswerCollector<'a> {
    tokens: &'a dyn tokens::Sink,
    /// A limit for all answers together, and the same limit for all tokens together.
    max_bytes: usize,
    hides_thoughts: bool,
    /// For the text of the answer under way.
    thoughts: ThoughtFilter,
    /// An answer of thoughts alone was left out.
    has_only_thoughts: bool,
    answers: Vec<Answer>,
    answer_bytes: usize,
    token_bytes: usize,
    has_begun: bool,
    /// The sink has text of the answer under way, so the complete answer is not sent to it again.
    streams_answer: bool,
}

impl<'a> AnswerCollector<'a> {
    /// The limit holds for thoughts too, whether they are left out or not.
    pub fn new(tokens: &'a dyn tokens::Sink, max_bytes: usize, hides_thoughts: bool) -> Self {
        Self {
            tokens,
            max_bytes,
            hides_thoughts,
            thoughts: ThoughtFilter::default(),
            has_only_thoughts: false,
            answers: Vec::new(),
            answer_bytes: 0,
            token_bytes: 0,
            has_begun: false,
            streams_answer: false,
        }
    }

    /// Whether the bot sent anything: from then on a retry would stream the same text twice.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// At the end of the bot's stream: an error where there is no complete answer.
    pub fn check_answered(&self) -> Result<(), Error> {
        let why = match self.has_only_thoughts {
            _ if !self.answers.is_empty() => return Ok(()),
            true => "it holds thoughts alone, and hide_thoughts leaves them out",
            false => "it is empty",
        };
        Err(Error::Unreadable(why.to_owned()))
    }

    pub fn into_answers(self) -> Vec<Answer> {
        self.answers
    }

    /// Adds the next item of the bot's stream. After an error nothing may be added.
    pub fn add(&mut self, item: StreamItem) -> Result<(), Error> {
        self.has_begun = true;
        match item {
            StreamItem::Token(text) => {
                self.token_bytes += text.len();
                if self.token_bytes > self.max_bytes {
                    return Err(Error::too_large(self.max_bytes));
                }
                let text = if self.hides_thoughts { self.thoughts.next(&text) } else { text };
                self.send(&text);
            }
            StreamItem::Answer(answer) => {
                self.answer_bytes += answer.bytes;
                if self.answers.len() == MAX_ANSWERS {
                    return Err(Error::Unreadable(format!("it has more than {MAX_ANSWERS} parts")));
                }
                if self.answer_bytes > self.max_bytes {
                    return Err(Error::too_large(self.max_bytes));
                }
                let rest = std::mem::take(&mut self.thoughts).end();
                self.send(&rest);
                let answer = if self.hides_thoughts { without_thoughts(answer) } else { Some(answer) };
                let streams_answer = std::mem::take(&mut self.streams_answer);
                let Some(answer) = answer else {
                    self.has_only_thoughts = true;
                    return Ok(());
                };
                if !streams_answer {
                    self.send(&answer.text);
                }
                self.streams_answer = false;
                self.answers.push(answer);
            }
        }
        Ok(())
    }

    fn send(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.streams_answer && !self.answers.is_empty() {
            self.tokens.send(ANSWER_SEPARATOR);
        }
        self.streams_answer = true;
        self.tokens.send(text);
    }
}
