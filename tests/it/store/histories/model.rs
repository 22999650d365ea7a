//! What is stored, kept once more and without SQL: which outcome an append has to have, and what it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;
use wicara_model::{
    Conversation, ConversationId, Ending, Failure, FailureReason, Handler, Message, MessageId,
    NewConversation, NewMessage, Timestamp, role,
};
use wicara_store::{Append, Ask, Attempt, Claim, Error, IdempotencyKey, Outcome, PriorClaim, Stored, Target};

/// Seconds after which a key is forgotten.
pub const REMEMBERED: i64 = 24 * 60 * 60;
/// How long a key is said to be running that another request is just taking.
const JUST_TAKEN: Duration = Duration::from_secs(1);
/// Seconds that a test may take by the database's clock, which runs on beside the model's.
const TEST_TIME: i64 = 300;

#[derive(Default)]
pub struct Model {
    pub conversations: BTreeMap<ConversationId, Kept>,
    pub gone: Vec<ConversationId>,
    /// Messages that are still to be deleted, of conversations that are gone.
    pub following: BTreeMap<ConversationId, Vec<MessageId>>,
    pub asks: BTreeMap<MessageId, Asking>,
    pub keys: BTreeMap<IdempotencyKey, Key>,
    /// All that there ever were.
    pub attempts: Vec<(ConversationId, Attempt)>,
    /// How far readers have read.
    pub marks: BTreeMap<(String, ConversationId), MessageId>,
    /// How often the store was opened: each time it is another node.
    pub node: usize,
    /// The clock that keys age by.
    pub seconds: i64,
    ids: BTreeSet<MessageId>,
}

pub struct Kept {
    pub conversation: Conversation,
    /// When something else than an append changed it last, and the latest time of an append since.
    pub changed_at: Timestamp,
    pub latest: Timestamp,
    pub next_seq: i64,
    pub newest_id: MessageId,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asking {
    pub attempt: Uuid,
    pub node: usize,
    pub mark: Mark,
}

/// Whether an answer is still wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    Wanted,
    Stopped,
    HandedOver,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub body: [u8; 32],
    pub lease_until: i64,
    /// `None` where the request has not ended.
    pub ending: Option<Ending>,
    pub conversation: ConversationId,
    pub message: Option<MessageId>,
    pub created: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    Stored,
    Gone,
    Moved,
    Superseded,
    /// Its attempt is open, and people have the conversation.
    Stopped,
    /// Its session has a conversation already.
    Conflict,
    OtherBody,
    Done,
    Running {
        left: i64,
    },
    Resumed,
}

impl Kept {
    /// A conversation as it is found. Where the clocks of nodes differ, an append may say an earlier time than the one
    /// before it: the conversation then says either.
    pub fn assert_is(&self, found: &Conversation) {
        let times = self.conversation.updated_at..=self.latest;
        assert!(times.contains(&found.updated_at), "{:?} in {times:?}: {found:?}", found.updated_at);
        assert_eq!(*found, Conversation { updated_at: found.updated_at, ..self.conversation.clone() });
    }

    pub fn message(&mut self, id: MessageId) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id)
    }

    /// Something else than an append changes it.
    pub fn change(&mut self, at: Timestamp) {
        (self.changed_at, self.latest, self.conversation.updated_at) = (at, at, at);
    }

    /// Counts a message, or what it was before.
    pub fn count(&mut self, message: &Message, by: i64) {
        self.conversation.message_count += by;
        self.conversation.note_count += by * i64::from(message.is_note());
        self.conversation.message_bytes += by * i64::try_from(message.bytes()).unwrap();
    }
}

impl Model {
    pub fn expected(&self, append: &Append) -> Expected {
        if let Some(claim) = &append.claim
            && let Some(key) = self.remembered(&claim.key)
        {
            return self.judged(key, claim);
        }
        let kept = match &append.target {
            Target::New(new) => {
                let is_taken = |kept: &Kept| kept.conversation.session_id == new.session_id;
                let is_taken = self.conversations.values().any(is_taken);
                return if is_taken { Expected::Conflict } else { Expected::Stored };
            }
            Target::Existing(id) => match self.conversations.get(id) {
                None => return Expected::Gone,
                Some(kept) => kept,
            },
        };
        let with_people = kept.conversation.handler == Handler::Human;
        let is_superseded = match &append.ask {
            Ask::Fails { attempt, .. } | Ask::Answers { attempt }
                if self.is_open(*attempt)
                    && (with_people || self.asks[&attempt.question].mark != Mark::Wanted) =>
            {
                return Expected::Stopped;
            }
            Ask::Fails { attempt, .. } | Ask::CutOff { attempt, .. } => !self.is_open(*attempt),
            Ask::Answers { attempt } => {
                !self.is_open(*attempt) && (with_people || !self.is_given_up(kept, attempt.question))
            }
            Ask::Opens { bot_id, .. } => {
                let Conversation { handler, bot_id: now, .. } = &kept.conversation;
                return if *handler == Handler::Bot && bot_id != now {
                    Expected::Moved
                } else {
                    Expected::Stored
                };
            }
            Ask::No => false,
        };
        if is_superseded { Expected::Superseded } else { Expected::Stored }
    }

    /// 0: answered, or a bot is at it; 1: the public waits; 2: it does, and its newest question has a failure.
    pub fn state(&self, kept: &Kept) -> i64 {
        let Some(said) = kept.messages.iter().rfind(|message| !message.is_note()) else { return 0 };
        let is_asked = kept.messages.iter().any(|message| self.asks.contains_key(&message.id));
        match said.failure {
            _ if said.role != role::CLIENT || is_asked => 0,
            None => 1,
            Some(_) => 2,
        }
    }

    pub fn remembered(&self, key: &IdempotencyKey) -> Option<&Key> {
        self.keys.get(key).filter(|key| self.seconds - key.created <= REMEMBERED)
    }

    fn judged(&self, key: &Key, claim: &Claim) -> Expected {
        let left = key.lease_until - self.seconds;
        let kept = self.conversations.get(&key.conversation);
        if key.body != claim.body {
            Expected::OtherBody
        } else if key.ending.is_some() {
            Expected::Done
        } else if left > 0 {
            Expected::Running { left }
        } else if kept.is_some_and(|kept| kept.messages.iter().any(|message| Some(message.id) == key.message))
        {
            let with_people = kept.is_some_and(|kept| kept.conversation.handler == Handler::Human);
            if with_people && claim.attempt.is_some() { Expected::Done } else { Expected::Resumed }
        } else {
            Expected::Gone
        }
    }

    pub fn is_open(&self, attempt: Attempt) -> bool {
        self.asks.get(&attempt.question).is_some_and(|asking| asking.attempt == attempt.id)
    }

    /// Whether a late answer is taken.
    fn is_given_up(&self, kept: &Kept, question: MessageId) -> bool {
        let is_bots = |failure: Failure| failure.reason != FailureReason::Stopped;
        let has_failed = |message: &Message| message.id == question && message.failure.is_some_and(is_bots);
        !self.asks.contains_key(&question) && kept.messages.iter().any(has_failed)
    }

    /// Checks what became of an append, and takes it over. `raced`: another one with its key was sent together with it.
    pub fn take(&mut self, append: &Append, outcome: &Result<Outcome, Error>, raced: bool) {
        let expected = self.expected(append);
        let claimed = match outcome {
            Ok(Outcome::Claimed(claimed)) => Some(claimed),
            _ => None,
        };
        let fits = match (expected, outcome, claimed) {
            (Expected::Stored, Ok(Outcome::Stored(stored)), _) => {
                self.store(append, stored);
                true
            }
            (Expected::Gone, Ok(Outcome::Gone), _)
            | (Expected::Moved, Ok(Outcome::Moved), _)
            | (Expected::Superseded, Ok(Outcome::Superseded), _)
            | (Expected::Stopped, Ok(Outcome::Stopped), _)
            | (Expected::Conflict, Err(Error::Conflict(_)), _)
            | (Expected::OtherBody, _, Some(PriorClaim::OtherBody)) => true,
            (Expected::Done, _, Some(PriorClaim::Done { conversation_id, message_id, ending })) => {
                // A question that nobody had answered waits for people.
                let key = self.keys.get_mut(&append.claim.as_ref().unwrap().key).unwrap();
                let expected = *key.ending.get_or_insert(Ending::ForPeople);
                key.lease_until = key.lease_until.min(self.seconds);
                (*conversation_id, *message_id, *ending) == (key.conversation, key.message, expected)
            }
            (Expected::Running { left }, _, Some(PriorClaim::Running { lease_left: said, .. }))
                if (left - TEST_TIME..=left).contains(&i64::try_from(said.as_secs()).unwrap()) =>
            {
                true
            }
            (Expected::Resumed, _, Some(PriorClaim::Resumed { conversation, question })) => {
                self.resume(append.claim.as_ref().unwrap(), conversation, question);
                true
            }
            // A request that meets another one with its key on the way does not wait for it: the other one may not be
            // stored yet, and is not where it turns out to have no conversation.
            (_, _, Some(PriorClaim::Running { lease_left, .. })) => raced && *lease_left <= JUST_TAKEN,
            _ => false,
        };
        assert!(fits, "{expected:?} and not {outcome:?}\nof {append:?}");
    }

    fn store(&mut self, append: &Append, stored: &Stored) {
        let Append { at, target, messages, ask, claim } = append;
        let id = stored.conversation_id;
        match target {
            Target::Existing(of) => assert_eq!(id, *of),
            Target::New(new) => self.open(id, new, *at),
        }
        let kept = self.conversations.get_mut(&id).unwrap();
        let handler = kept.conversation.handler;
        assert_eq!(stored.handler, handler);
        assert_eq!(stored.messages.len(), messages.len());
        for (new, message) in messages.iter().zip(&stored.messages) {
            assert_eq!(*message, expected_message(new, message.id, kept, *at));
            assert!(message.id > kept.newest_id, "ids rise with their places");
            assert!(self.ids.insert(message.id), "an id is given once");
            kept.newest_id = message.id;
            kept.next_seq += 1;
            kept.conversation.updated_at = kept.changed_at.max(*at);
            kept.latest = kept.latest.max(*at);
            kept.count(message, 1);
            kept.messages.push(message.clone());
        }
        let first = stored.messages.first().map(|message| message.id);
        match ask {
            Ask::Opens { attempt, .. } if handler == Handler::Bot => self.ask(id, first.unwrap(), *attempt),
            Ask::No | Ask::Opens { .. } => {}
            Ask::Answers { attempt } => {
                self.asks.remove(&attempt.question);
                self.conversations.get_mut(&id).unwrap().message(attempt.question).unwrap().failure = None;
                self.end(id, attempt.question, Some(Ending::Answered));
            }
            Ask::Fails { attempt, reason } => {
                self.fail(id, attempt.question, *reason, *at);
                self.end(id, attempt.question, None);
            }
            Ask::CutOff { attempt, failure } => {
                self.asks.remove(&attempt.question);
                if let Some(reason) = failure {
                    self.fail(id, attempt.question, *reason, *at);
                }
                let ending = if handler == Handler::Bot { Ending::Stopped } else { Ending::ForPeople };
                self.end(id, attempt.question, Some(ending));
            }
        }
        if let Some(Claim { key, body, lease, .. }) = claim {
            let asks_people = matches!(ask, Ask::Opens { .. }) && handler == Handler::Human;
            let ending = match (ask, lease) {
                (Ask::Opens { .. }, Some(_)) => asks_people.then_some(Ending::ForPeople),
                _ => Some(Ending::Answered),
            };
            let opens = matches!(ask, Ask::Opens { .. }) && handler == Handler::Bot;
            let lease = lease.filter(|_| opens).map(seconds);
            let key_row = Key {
                body: *body,
                lease_until: lease.map_or(0, |lease| self.seconds + lease),
                ending,
                conversation: id,
                message: first,
                created: self.seconds,
            };
            self.keys.insert(key.clone(), key_row);
        }
    }

    fn open(&mut self, id: ConversationId, new: &NewConversation, at: Timestamp) {
        let conversation = new.open(id, at);
        let (next_seq, newest_id) = (1, MessageId(0));
        let kept =
            Kept { conversation, changed_at: at, latest: at, next_seq, newest_id, messages: Vec::new() };
        assert!(!self.gone.contains(&id), "an id is given once");
        assert!(self.conversations.insert(id, kept).is_none(), "an id is given once");
    }

    fn ask(&mut self, conversation: ConversationId, question: MessageId, attempt: Uuid) {
        self.asks.insert(question, Asking { attempt, node: self.node, mark: Mark::Wanted });
        self.attempts.push((conversation, Attempt { question, id: attempt }));
    }

    fn keys_of(
        &mut self,
        conversation: ConversationId,
        question: MessageId,
    ) -> impl Iterator<Item = &mut Key> {
        let is_of = move |key: &&mut Key| {
            key.ending.is_none() && (key.conversation, key.message) == (conversation, Some(question))
        };
        self.keys.values_mut().filter(is_of)
    }

    pub fn fail(&mut self, id: ConversationId, question: MessageId, reason: FailureReason, at: Timestamp) {
        self.asks.remove(&question);
        let message = self.conversations.get_mut(&id).unwrap().message(question).unwrap();
        message.failure = Some(Failure { reason, at });
        message.updated_at = at;
    }

    /// Ends the requests of a question; `None`: a retry takes over.
    pub fn end(&mut self, id: ConversationId, question: MessageId, ending: Option<Ending>) {
        for key in self.keys_of(id, question) {
            (key.ending, key.lease_until) = (ending, 0);
        }
    }

    /// The answers that are being given in a conversation are not wanted any more.
    pub fn stop(&mut self, id: ConversationId, mark: Mark) {
        let Some(kept) = self.conversations.get(&id) else { return };
        for message in &kept.messages {
            if let Some(asking) = self.asks.get_mut(&message.id)
                && asking.mark == Mark::Wanted
            {
                asking.mark = mark;
            }
        }
    }

    fn resume(&mut self, claim: &Claim, conversation: &Conversation, question: &Message) {
        let now = self.seconds;
        let key = self.keys.get_mut(&claim.key).unwrap();
        key.lease_until = claim.lease.map_or(0, |lease| now + seconds(lease));
        let kept = self.conversations.get_mut(&key.conversation).unwrap();
        kept.assert_is(conversation);
        let message = kept.message(key.message.unwrap()).unwrap();
        message.failure = None;
        assert_eq!(question, message);
        let (conversation, question) = (conversation.id, question.id);
        self.ask(conversation, question, claim.attempt.unwrap());
    }
}

fn seconds(lease: Duration) -> i64 {
    i64::try_from(lease.as_secs()).unwrap()
}

fn expected_message(new: &NewMessage, id: MessageId, kept: &Kept, at: Timestamp) -> Message {
    let NewMessage { role, kind, text, payload, reply_to, author, time } = new.clone();
    Message {
        id,
        conversation_id: kept.conversation.id,
        seq: kept.next_seq,
        role,
        kind,
        text,
        payload,
        reply_to,
        failure: None,
        feedback: None,
        author,
        time,
        created_at: at,
        updated_at: at,
    }
}
