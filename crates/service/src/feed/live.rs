//! What happens now and is not stored: the text of answers while bots give them, and who types. Streams read it from here
//! when they are woken, each from where it is, so that a slow one holds nothing and one that joins late gets all of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wicara_model::{ConversationId, MessageId};

use super::view::EventKind;

/// Text of all answers under way that is kept for streams; beyond it, what comes is left out until one ends.
const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// Somebody who typed is forgotten after this time.
const TYPING: Duration = Duration::from_secs(6);
/// Within this time it counts once.
const TYPING_AGAIN: Duration = Duration::from_secs(3);
/// An answer of another node of which nothing was heard for so long is over: longer than any bot may take.
const SILENT: Duration = Duration::from_secs(15 * 60);
/// Conversations in which somebody types that are remembered at once.
const MAX_TYPING: usize = 10_000;

/// Who types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypingBy {
    Visitor,
    Agent,
}

impl TypingBy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Agent => "agent",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    Started {
        conversation_id: ConversationId,
        reply_to: MessageId,
    },
    /// `offset`: UTF-16 units of the text before.
    Delta {
        conversation_id: ConversationId,
        reply_to: MessageId,
        text: String,
        offset: usize,
    },
    Finished {
        conversation_id: ConversationId,
        reply_to: MessageId,
    },
    Typing {
        conversation_id: ConversationId,
        by: TypingBy,
    },
}

impl LiveEvent {
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Started { .. } => EventKind::AnswerStarted,
            Self::Delta { .. } => EventKind::AnswerDelta,
            Self::Finished { .. } => EventKind::AnswerFinished,
            Self::Typing { .. } => EventKind::Typing,
        }
    }
}

#[derive(Debug, Default)]
pub struct Live(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    answers: HashMap<ConversationId, Vec<Answer>>,
    /// Conversations with answers that began after the last look at the feed.
    hidden: Vec<(Instant, ConversationId)>,
    bytes: usize,
    typing: HashMap<(ConversationId, TypingBy), Typed>,
    typed: u64,
    /// Answers that this node has heard of.
    numbered: u64,
    /// Answers of this node whose beginning another node lacks.
    wanted: Vec<AnswerKey>,
}

type AnswerKey = (ConversationId, MessageId);

#[derive(Debug)]
struct Typed {
    at: Instant,
    /// Counts up, for all conversations together.
    number: u64,
    bot_id: Arc<str>,
    is_of_another: bool,
}

#[derive(Debug)]
struct Answer {
    /// Tells it from another attempt at the same question.
    number: u64,
    reply_to: MessageId,
    /// When this node heard of it first.
    since: Instant,
    bot_id: Arc<str>,
    text: String,
    /// Of another node, and when it was last heard of.
    of_another: Option<Instant>,
}

/// An answer under way; it ends when this is dropped.
#[derive(Debug)]
pub struct LiveAnswer {
    live: Arc<Live>,
    conversation_id: ConversationId,
    number: u64,
}

impl State {
    fn types(&self, conversation_id: ConversationId, by: TypingBy, now: Instant) -> bool {
        let last = self.typing.get(&(conversation_id, by));
        last.is_some_and(|typed| now.duration_since(typed.at) < TYPING_AGAIN)
    }

    /// Notes an answer; its number. `of_another`: when another node told of it.
    fn add(
        &mut self,
        conversation_id: ConversationId,
        reply_to: MessageId,
        bot_id: &str,
        of_another: Option<Instant>,
    ) -> u64 {
        self.numbered += 1;
        let (number, since) = (self.numbered, Instant::now());
        let answer =
            Answer { number, reply_to, since, bot_id: bot_id.into(), text: String::new(), of_another };
        self.answers.entry(conversation_id).or_default().push(answer);
        self.hidden.push((since, conversation_id));
        number
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start(
        self: &Arc<Self>,
        conversation_id: ConversationId,
        reply_to: MessageId,
        bot_id: &str,
    ) -> LiveAnswer {
        // An attempt of another node that this one follows, as after that one's end.
        self.finish_of_another(conversation_id, reply_to);
        let number = self.lock().add(conversation_id, reply_to, bot_id, None);
        LiveAnswer { live: Arc::clone(self), conversation_id, number }
    }

    /// Whether it was noted a moment ago that somebody types.
    pub fn types(&self, conversation_id: ConversationId, by: TypingBy) -> bool {
        self.lock().types(conversation_id, by, Instant::now())
    }

    /// Shows the answers of a conversation to those alone who may see the bot that it has now.
    pub fn move_to(&self, conversation_id: ConversationId, bot_id: &str) {
        let mut state = self.lock();
        let answers = state.answers.get_mut(&conversation_id).into_iter().flatten();
        answers.filter(|answer| &*answer.bot_id != bot_id).for_each(|answer| answer.bot_id = bot_id.into());
    }

    /// Ends the answers of a conversation that is deleted, for readers.
    pub fn end_all(&self, conversation_id: ConversationId) {
        self.end(conversation_id, |_| true);
    }

    /// Notes that somebody types; whether that is news.
    pub fn type_in(&self, conversation_id: ConversationId, bot_id: &str, by: TypingBy) -> bool {
        self.note_typing(conversation_id, bot_id, by, false)
    }

    /// Notes that somebody types at another node.
    pub fn type_in_of_another(&self, conversation_id: ConversationId, bot_id: &str, by: TypingBy) {
        self.note_typing(conversation_id, bot_id, by, true);
    }

    /// Adds text of an answer of another node; `false` where its beginning is missing.
    pub fn push_of_another(
        &self,
        conversation_id: ConversationId,
        reply_to: MessageId,
        bot_id: &str,
        offset: usize,
        text: &str,
    ) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let same = |answer: &&Answer| answer.reply_to == reply_to;
        match state.answers.get(&conversation_id).and_then(|answers| answers.iter().find(same)) {
            // This node asks by now.
            Some(answer) if answer.of_another.is_none() => return true,
            Some(_) => {}
            None => {
                state.add(conversation_id, reply_to, bot_id, Some(now));
            }
        }
        let State { answers, bytes, .. } = &mut *state;
        let answers = answers.entry(conversation_id).or_default();
        let Some(answer) = answers.iter_mut().find(|answer| answer.reply_to == reply_to) else { return true };
        answer.of_another = Some(now);
        let units = answer.text.encode_utf16().count();
        if offset < units && offset + text.encode_utf16().count() <= units {
            // Sent once more, for another node.
            return true;
        }
        if offset != units || *bytes + text.len() > MAX_TEXT_BYTES {
            return offset <= units;
        }
        answer.text.push_str(text);
        *bytes += text.len();
        true
    }

    pub fn finish_of_another(&self, conversation_id: ConversationId, reply_to: MessageId) {
        self.end(conversation_id, |answer| answer.reply_to == reply_to && answer.of_another.is_some());
    }

    /// Forgets answers of nodes that have not been heard of, and who typed.
    pub fn forget_silent(&self) {
        let now = Instant::now();
        let ids: Vec<_> = {
            let mut state = self.lock();
            state.typing.retain(|_, typed| now.duration_since(typed.at) < TYPING);
            state.answers.keys().copied().collect()
        };
        let is_silent = |answer: &Answer| answer.of_another.is_some_and(|at| now.duration_since(at) > SILENT);
        ids.into_iter().for_each(|id| self.end(id, is_silent));
    }

    /// The conversations with answers that a look at the feed, begun then, allows to be shown.
    pub fn take_shown(&self, looked: Instant) -> Vec<ConversationId> {
        let hidden = &mut self.lock().hidden;
        hidden.extract_if(.., |(since, _)| *since <= looked).map(|(_, id)| id).collect()
    }

    pub fn want(&self, answer: AnswerKey) {
        let mut state = self.lock();
        if state.answers.contains_key(&answer.0) && !state.wanted.contains(&answer) {
            state.wanted.push(answer);
        }
    }

    pub fn take_wanted(&self) -> Vec<AnswerKey> {
        std::mem::take(&mut self.lock().wanted)
    }

    fn end(&self, conversation_id: ConversationId, ends: impl Fn(&Answer) -> bool) {
        let mut state = self.lock();
        let State { answers, bytes, .. } = &mut *state;
        let Some(of_conversation) = answers.get_mut(&conversation_id) else { return };
        of_conversation.retain(|answer| {
            let ended = ends(answer);
            if ended {
                *bytes -= answer.text.len();
            }
            !ended
        });
        if of_conversation.is_empty() {
            answers.remove(&conversation_id);
        }
    }

    fn note_typing(
        &self,
        conversation_id: ConversationId,
        bot_id: &str,
        by: TypingBy,
        is_of_another: bool,
    ) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        if state.types(conversation_id, by, now) {
            return false;
        }
        if state.typing.len() >= MAX_TYPING {
            state.typing.retain(|_, typed| now.duration_since(typed.at) < TYPING);
        }
        if state.typing.len() < MAX_TYPING {
            state.typed += 1;
            let typed = Typed { at: now, number: state.typed, bot_id: bot_id.into(), is_of_another };
            state.typing.insert((conversation_id, by), typed);
        }
        true
    }
}

impl LiveAnswer {
    pub fn conversation(&self) -> ConversationId {
        self.conversation_id
    }

    pub fn push(&self, text: &str) {
        let mut state = self.live.lock();
        if state.bytes + text.len() > MAX_TEXT_BYTES {
            return;
        }
        let answers = state.answers.get_mut(&self.conversation_id).into_iter().flatten();
        if let Some(answer) = answers.into_iter().find(|answer| answer.number == self.number) {
            answer.text.push_str(text);
            state.bytes += text.len();
        }
    }
}

impl Drop for LiveAnswer {
    fn drop(&mut self) {
        self.live.end(self.conversation_id, |answer| answer.number == self.number);
    }
}

/// What a stream has shown of the answers under way.
#[derive(Debug, Default)]
pub struct LiveShown {
    answers: Vec<AnswerShown>,
    typed: u64,
}

#[derive(Debug)]
struct AnswerShown {
    number: u64,
    conversation_id: ConversationId,
    reply_to: MessageId,
    bytes: usize,
    /// UTF-16 units.
    units: usize,
}

impl LiveShown {
    /// What is new since the last call. `conversations`: empty for all. `looked`: when the last look at the feed began; an
    /// answer is shown after it, so that its question comes first. `shows`: by the conversation and its bot.
    pub fn advance(
        &mut self,
        live: &Live,
        conversations: &[ConversationId],
        looked: Option<Instant>,
        shows: impl Fn(ConversationId, &str) -> bool,
    ) -> Vec<LiveEvent> {
        let state = live.lock();
        let mut events = Vec::new();
        self.finish(&state, &mut events, &shows);
        let mut advance = |id: ConversationId, answers: &[Answer]| {
            let is_shown = |answer: &&Answer| Some(answer.since) <= looked && shows(id, &answer.bot_id);
            for answer in answers.iter().filter(is_shown) {
                self.show(id, answer, &mut events);
            }
        };
        if conversations.is_empty() {
            state.answers.iter().for_each(|(id, answers)| advance(*id, answers));
        } else {
            for id in conversations {
                if let Some(answers) = state.answers.get(id) {
                    advance(*id, answers);
                }
            }
        }
        let now = Instant::now();
        let mut typing = |id: ConversationId| {
            for by in [TypingBy::Visitor, TypingBy::Agent] {
                if let Some(typed) = state.typing.get(&(id, by))
                    && typed.number > self.typed
                    && now.duration_since(typed.at) < TYPING
                    && shows(id, &typed.bot_id)
                {
                    events.push(LiveEvent::Typing { conversation_id: id, by });
                }
            }
        };
        if conversations.is_empty() {
            let ids: BTreeSet<_> = state.typing.keys().map(|(id, _)| *id).collect();
            ids.into_iter().for_each(&mut typing);
        } else {
            conversations.iter().copied().for_each(&mut typing);
        }
        self.typed = state.typed;
        events
    }

    /// What is new of this node's own answers and typing, with the bot.
    pub fn advance_own(&mut self, live: &Live) -> Vec<(LiveEvent, Arc<str>)> {
        let state = live.lock();
        let mut events = Vec::new();
        self.finish(&state, &mut events, |_, _| true);
        let mut news: Vec<_> = events.drain(..).map(|event| (event, Arc::from(""))).collect();
        for (id, answers) in &state.answers {
            for answer in answers.iter().filter(|answer| answer.of_another.is_none()) {
                self.show(*id, answer, &mut events);
                news.extend(events.drain(..).map(|event| (event, Arc::clone(&answer.bot_id))));
            }
        }
        for ((id, by), typed) in &state.typing {
            if typed.number > self.typed && !typed.is_of_another {
                let event = LiveEvent::Typing { conversation_id: *id, by: *by };
                news.push((event, Arc::clone(&typed.bot_id)));
            }
        }
        self.typed = state.typed;
        news
    }

    /// Shows an answer from its beginning once more.
    pub fn forget(&mut self, (conversation_id, reply_to): AnswerKey) {
        self.answers.retain(|shown| (shown.conversation_id, shown.reply_to) != (conversation_id, reply_to));
    }

    /// Takes those off that have ended, or are not shown any more.
    fn finish(
        &mut self,
        state: &State,
        events: &mut Vec<LiveEvent>,
        shows: impl Fn(ConversationId, &str) -> bool,
    ) {
        self.answers.retain(|shown| {
            let AnswerShown { number, conversation_id, reply_to, .. } = *shown;
            let answers = state.answers.get(&conversation_id).into_iter().flatten();
            let is_shown =
                |answer: &Answer| answer.number == number && shows(conversation_id, &answer.bot_id);
            let goes_on = answers.into_iter().any(is_shown);
            if !goes_on {
                events.push(LiveEvent::Finished { conversation_id, reply_to });
            }
            goes_on
        });
    }

    fn show(&mut self, conversation_id: ConversationId, answer: &Answer, events: &mut Vec<LiveEvent>) {
        let (number, reply_to) = (answer.number, answer.reply_to);
        let shown = match self.answers.iter_mut().find(|shown| shown.number == number) {
            Some(shown) => shown,
            None => {
                events.push(LiveEvent::Started { conversation_id, reply_to });
                self.answers.push(AnswerShown { number, conversation_id, reply_to, bytes: 0, units: 0 });
                self.answers.last_mut().expect("it was just pushed")
            }
        };
        let text = &answer.text[shown.bytes..];
        if !text.is_empty() {
            let offset = shown.units;
            shown.bytes += text.len();
            shown.units += text.encode_utf16().count();
            events.push(LiveEvent::Delta { conversation_id, reply_to, text: text.to_owned(), offset });
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
