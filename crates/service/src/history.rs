//! What was said before a question, as its bot gets it.

use wicara_bots as bots;
use wicara_model::{Conversation, Message, MessageId, Speaker, Turn, role};

use crate::Service;

/// Before the text of people who answered, since several servers refuse names of speakers.
const BY_PEOPLE: &str = "[A human operator answered:] ";
/// Where people gave the conversation back.
const GIVEN_BACK: &str = "[The human operators gave the conversation back to you.]";

impl Service {
    /// The turns before a question, as many as the bot is configured to get. Where they cannot be read, the bot is
    /// called without them.
    pub(super) async fn question_history(
        &self,
        bot: &bots::ConfiguredBot,
        conversation: &Conversation,
        question: &Message,
    ) -> Vec<Turn> {
        if bot.history() == 0 || question.seq == 1 {
            return Vec::new();
        }
        let limit = i64::try_from(bot.history()).unwrap_or(i64::MAX);
        let history = self.store.message_history(question.conversation_id, question.id, limit).await;
        let history = history.unwrap_or_else(|error| {
            tracing::warn!(%error, "a bot is asked without what was said before");
            Vec::new()
        });
        turns(history, conversation.given_back_after)
    }
}

/// `given_back_after`: the newest message when people gave the conversation back, 0 if they never did.
fn turns(said: Vec<(MessageId, String, String)>, given_back_after: MessageId) -> Vec<Turn> {
    let given_back = || Turn { speaker: Speaker::Assistant, text: GIVEN_BACK.to_owned() };
    let mut turns = Vec::with_capacity(said.len() + 1);
    let mut is_told = given_back_after == MessageId(0);
    for (id, role, text) in said {
        if !is_told && id > given_back_after {
            turns.push(given_back());
            is_told = true;
        }
        turns.push(match role.as_str() {
            role::CLIENT => Turn { speaker: Speaker::User, text },
            role::AGENT => Turn { speaker: Speaker::Assistant, text: format!("{BY_PEOPLE}{text}") },
            _ => Turn { speaker: Speaker::Assistant, text },
        });
    }
    if !is_told {
        turns.push(given_back());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given_back_after: i64, said: &[(i64, &str, &str)]) -> Vec<String> {
        let said = said.iter().map(|&(id, role, text)| (MessageId(id), role.to_owned(), text.to_owned()));
        let turns = turns(said.collect(), MessageId(given_back_after));
        turns.into_iter().map(|turn| format!("{:?}: {}", turn.speaker, turn.text)).collect()
    }

    #[test]
    fn people_are_told_apart_from_the_bot() {
        let said =
            [(1, "client", "a"), (2, "bot", "b"), (3, "client", "c"), (4, "agent", "d"), (6, "client", "e")];
        let people = "Assistant: [A human operator answered:] d";
        let back = "Assistant: [The human operators gave the conversation back to you.]";
        assert_eq!(told(0, &said), ["User: a", "Assistant: b", "User: c", people, "User: e"]);
        assert_eq!(told(5, &said), ["User: a", "Assistant: b", "User: c", people, back, "User: e"]);
        assert_eq!(told(6, &said), ["User: a", "Assistant: b", "User: c", people, "User: e", back]);
        assert_eq!(told(6, &[]), [back]);
    }
}
