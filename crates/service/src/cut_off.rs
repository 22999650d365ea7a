//! Answers that are not wanted any more, since they were stopped or people took the conversation: the bot's call ends, and
//! what had come until then is stored, once.

use wicara_model::{
    Answer, AnswerTime, Author, Conversation, ConversationId, Ending, FailureReason, Handler, Json,
    NewMessage, Object, QuestionIds,
};
use wicara_store::{self as store, Append, Ask, AskState, Outcome, Target};

use crate::answers::{RETRY_PAUSE, answered};
use crate::attempts::Attempt;
use crate::pending_answer::Answered;
use crate::{Error, Missing, Result, Service};

impl Service {
    /// Ends what this node's bots are answering in a conversation, unless it is still wanted. For every change that stops
    /// answers, by this node or another one.
    pub fn answers_stop(&self, conversation: ConversationId) {
        self.attempts.stop(conversation);
    }

    /// Waits until the answers of a running attempt are not wanted any more.
    pub(super) async fn answers_unwanted(
        &self,
        running: &Attempt,
        conversation: ConversationId,
        attempt: store::Attempt,
    ) {
        loop {
            running.stop_signal().await;
            loop {
                match self.store.ask_state(conversation, attempt).await {
                    Ok(AskState::Stopped | AskState::HandedOver) => return,
                    // It was about an earlier question; or the attempt was given up, and its answers may be stored late.
                    Ok(AskState::Wanted | AskState::Ended) => break,
                    Err(error) => {
                        tracing::debug!(%error, "whether an answer is wanted cannot be read");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Stores what had come of an answer that is not wanted any more: one answer object with all its text, or nothing.
    /// `time`: that it had taken.
    pub(super) async fn question_cut_off(
        &self,
        conversation: &Conversation,
        attempt: store::Attempt,
        text: String,
        time: AnswerTime,
    ) -> Result<Answered> {
        let question = QuestionIds::new(conversation, attempt.question);
        let state = self
            .retry_while_unavailable(text.len(), || self.store.ask_state(conversation.id, attempt))
            .await?;
        let messages: Vec<_> = partial_answer(&text)
            .map(|answer| NewMessage {
                author: Some(Author::bot(&conversation.bot_id)),
                time: Some(time),
                ..NewMessage::answer(answer, attempt.question)
            })
            .into_iter()
            .collect();
        // Where people have the conversation, the question waits for them.
        let is_failure = messages.is_empty() && state != AskState::HandedOver;
        let failure = is_failure.then_some(FailureReason::Stopped);
        let bytes = messages.iter().map(NewMessage::bytes).sum();
        let outcome = self.retry_while_unavailable(bytes, || {
            self.store.append(Append {
                at: self.clock.now(),
                target: Target::Existing(conversation.id),
                messages: messages.clone(),
                ask: Ask::CutOff { attempt, failure },
                claim: None,
            })
        });
        match outcome.await? {
            Outcome::Stored(stored) => {
                let ending =
                    if stored.handler == Handler::Human { Ending::ForPeople } else { Ending::Stopped };
                self.question_count_ending(conversation, ending);
                Ok(answered(conversation, attempt.question, stored.messages, ending))
            }
            Outcome::Gone | Outcome::Claimed(_) | Outcome::Moved => Err(Error::NotFound(Missing::Session)),
            Outcome::Superseded | Outcome::Stopped => {
                self.question_answered_elsewhere(question, conversation).await
            }
        }
    }
}

/// `None` where nothing had come.
fn partial_answer(text: &str) -> Option<Answer> {
    if text.is_empty() {
        return None;
    }
    let mut properties = Object::default();
    properties.set("state", Json::of("partial"));
    let mut object = Object::default();
    object.set("text", Json::of(text));
    object.set("properties", Json::of(&properties));
    Some(Answer::object(Json::of(&object)).unwrap_or_else(|| Answer::text(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_come_is_one_answer_object() {
        let answer = partial_answer("Halo \"x\"\n\nSatu").unwrap();
        assert_eq!(answer.text, "Halo \"x\"\n\nSatu");
        let payload = answer.payload.unwrap();
        assert_eq!(payload.as_str(), r#"{"text":"Halo \"x\"\n\nSatu","properties":{"state":"partial"}}"#);
        assert!(partial_answer("").is_none());
    }
}
