//! Appends that are sent together. Where two of them would race, so that either outcome were right, they are not put into
//! one group, but for equal keys and for answers to one question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;
use wicara_model::{
    AnswerTime, Author, AuthorKind, ConversationId, FailureReason, Json, MessageId, NewConversation,
    NewMessage, Timestamp,
};
use wicara_store::{Append, Ask, Attempt, Claim, Error, IdempotencyKey, Outcome, Target};

use super::model::Model;
use crate::support::Dice;

pub const BOTS: [&str; 3] = ["often", "seldom", "once"];
pub const KINDS: [&str; 2] = ["website", "telegram"];
pub const ROLES: [&str; 5] = ["client", "bot", "agent", "note", "robot"];
pub const TEXTS: [&str; 14] = [
    "",
    "halo",
    "apa kabar?",
    "👩‍👩‍👧‍👦 שלום",
    "'; --\n\"$1\"",
    "baik, terima kasih",
    "Kartu saya hilang, mohon dikirimkan yang baru",
    "Lost card: POL-358, cards are being renewed",
    "日本語のカードを送る。ภาษาไทย",
    "let kartu_hilang = send(\"card\", 358);",
    "مُحَمَّد kartu hilang kartu",
    "E\u{301}lan élan ÉLAN",
    "card hilang kartu card",
    "mengirim kiriman; sent, sending",
];
const BODIES: [u8; 2] = [1, 2];
/// Far from every sum of the times that pass in a history, so that the time a test takes makes no difference.
const LEASES: [u64; 2] = [11_000, 50_500];
/// Asked or answered by two in a group, where one is enough.
const TWICE: usize = 15;

pub struct Group<'a> {
    model: &'a Model,
    dice: &'a mut Dice,
    at: Timestamp,
    appends: Vec<Append>,
    /// Conversations of the group, and whether no other append may be to them.
    used: BTreeMap<ConversationId, bool>,
    keys: BTreeSet<IdempotencyKey>,
    settled: BTreeSet<MessageId>,
}

/// About so many appends.
pub fn group(model: &Model, dice: &mut Dice, at: Timestamp, size: usize) -> Vec<Append> {
    let mut group = Group {
        model,
        dice,
        at,
        appends: Vec::new(),
        used: BTreeMap::new(),
        keys: BTreeSet::new(),
        settled: BTreeSet::new(),
    };
    while group.appends.len() < size {
        match group.dice.below(16) {
            0..2 => group.open(),
            2..6 => group.say(),
            6..8 => group.ask(),
            8..11 => group.settle(),
            11 => group.settle_late(),
            12..14 => group.retry(),
            14 => group.say_into_nothing(),
            _ => group.again(),
        };
    }
    group.appends
}

/// Appends in an order in which their outcomes can have come about: what stored nothing for want of a conversation had
/// no part in it, and keys are looked into when all else is done.
pub fn in_order<'a>(
    group: &'a [Append],
    outcomes: &'a [Result<Outcome, Error>],
) -> Vec<(&'a Append, &'a Result<Outcome, Error>)> {
    let mut ordered: Vec<_> = group.iter().zip(outcomes).collect();
    ordered.sort_by_key(|(_, outcome)| match outcome {
        Ok(Outcome::Gone | Outcome::Moved | Outcome::Stopped) => 0,
        Ok(Outcome::Stored(_)) | Err(_) => 1,
        Ok(Outcome::Claimed(wicara_store::PriorClaim::Resumed { .. })) => 2,
        Ok(Outcome::Claimed(_) | Outcome::Superseded) => 3,
    });
    ordered
}

impl Group<'_> {
    /// Puts a conversation into the group; `None` where it cannot be.
    fn use_conversation(&mut self, id: ConversationId, alone: bool) -> Option<()> {
        match self.used.get(&id) {
            Some(is_alone) if *is_alone || alone => None,
            _ => {
                self.used.insert(id, alone);
                Some(())
            }
        }
    }

    /// One of the conversations that are there: the newer, the more often.
    fn conversation(&mut self) -> Option<ConversationId> {
        let ids: Vec<_> = self.model.conversations.keys().copied().collect();
        let newest = if self.dice.percent(50) { ids.len().min(4) } else { ids.len() };
        let id = self.dice.pick(&ids[ids.len() - newest..])?;
        self.use_conversation(id, false)?;
        Some(id)
    }

    fn new_conversation(&mut self) -> NewConversation {
        let dice = &mut *self.dice;
        let room = dice.percent(50).then(|| dice.word(&["r1", "r2"]));
        let user_id = dice.percent(30).then(|| dice.word(&["u1", "u2"]));
        NewConversation {
            session_id: dice.uuid(),
            by_visitor: dice.percent(50),
            room,
            integration_type: dice.word(&KINDS),
            bot_id: dice.word(&BOTS),
            user_id,
        }
    }

    fn message(&mut self) -> NewMessage {
        let dice = &mut *self.dice;
        let author = dice.percent(30).then(|| Author {
            id: dice.word(&["7", "key-3"]),
            kind: AuthorKind::Person,
            name: dice.word(&["ani", "Budi ś"]),
        });
        NewMessage {
            role: dice.word(&ROLES),
            kind: dice.word(&["text", "image"]),
            author,
            ..NewMessage::question(dice.word(&TEXTS))
        }
    }

    fn messages(&mut self, least: usize) -> Vec<NewMessage> {
        let count = least + self.dice.below(4 - least);
        (0..count).map(|_| self.message()).collect()
    }

    fn answers(&mut self, question: MessageId) -> Vec<NewMessage> {
        let mut answer = || {
            let text = self.dice.word(&TEXTS);
            let payload = self.dice.percent(60).then(|| payload(&text));
            let first_token_ms = self.dice.percent(50).then_some(3);
            let time = self.dice.percent(70).then_some(AnswerTime { first_token_ms, answer_ms: 40 });
            NewMessage {
                role: "bot".into(),
                payload,
                reply_to: Some(question),
                time,
                ..NewMessage::question(text)
            }
        };
        let answers = [answer(), answer()];
        answers[..self.dice.below(3)].to_vec()
    }

    fn push(&mut self, target: Target, messages: Vec<NewMessage>, ask: Ask, claim: Option<Claim>) {
        let jitter = i64::try_from(self.dice.below(40)).unwrap() - 20;
        self.keys.extend(claim.as_ref().map(|claim| claim.key.clone()));
        self.appends.push(Append { at: Timestamp(self.at.0 + jitter), target, messages, ask, claim });
    }

    fn claim(&mut self, lease: Option<Duration>, attempt: Option<Uuid>) -> Option<Claim> {
        let key = IdempotencyKey {
            scope: if attempt.is_some() { "questions" } else { "messages" }.into(),
            key: self.dice.uuid().to_string(),
        };
        self.dice.percent(50).then_some(Claim { key, body: [BODIES[0]; 32], lease, attempt })
    }

    fn lease(&mut self) -> Option<Duration> {
        self.dice.pick(&LEASES).map(Duration::from_secs)
    }

    fn open(&mut self) -> Option<()> {
        let mut new = self.new_conversation();
        let mut claim = self.claim(None, None);
        if self.dice.percent(4)
            && let Some(kept) = self.model.conversations.values().next()
        {
            // Such a command fails, and it alone.
            (new.session_id, claim) = (kept.conversation.session_id, None);
        }
        let messages = self.messages(0);
        self.push(Target::New(new), messages, Ask::No, claim);
        Some(())
    }

    fn say(&mut self) -> Option<()> {
        let id = self.conversation()?;
        let messages = self.messages(1);
        // A lease says nothing where no bot is asked.
        let lease = self.lease().filter(|_| self.dice.percent(20));
        let claim = self.claim(lease, None);
        self.push(Target::Existing(id), messages, Ask::No, claim);
        Some(())
    }

    fn say_into_nothing(&mut self) -> Option<()> {
        let never = ConversationId(i64::MAX / 2);
        let id = self.dice.pick(&self.model.gone).filter(|_| self.dice.percent(80)).unwrap_or(never);
        let messages = self.messages(0);
        let claim = self.claim(None, None);
        self.push(Target::Existing(id), messages, Ask::No, claim);
        Some(())
    }

    fn ask(&mut self) -> Option<()> {
        let (target, bot_id) = if self.dice.percent(40) {
            let new = self.new_conversation();
            let bot_id = new.bot_id.clone();
            (Target::New(new), bot_id)
        } else {
            let id = self.conversation()?;
            (Target::Existing(id), self.model.conversations[&id].conversation.bot_id.clone())
        };
        let bot_id = if self.dice.percent(20) { self.dice.word(&BOTS) } else { bot_id };
        let attempt = self.dice.uuid();
        let lease = self.lease();
        let claim = self.claim(lease, Some(attempt));
        let messages = self.messages(1);
        self.push(target, messages, Ask::Opens { attempt, bot_id }, claim);
        Some(())
    }

    fn push_end(&mut self, id: ConversationId, attempt: Attempt, fails: bool) {
        let reason = self.dice.pick(&[FailureReason::Timeout, FailureReason::Busy]).unwrap();
        let stopped = Some(FailureReason::Stopped);
        let (messages, ask) = match fails {
            true if self.dice.percent(30) => (Vec::new(), Ask::CutOff { attempt, failure: stopped }),
            true => (Vec::new(), Ask::Fails { attempt, reason }),
            false if self.dice.percent(20) => {
                (self.answers(attempt.question), Ask::CutOff { attempt, failure: None })
            }
            false => (self.answers(attempt.question), Ask::Answers { attempt }),
        };
        self.push(Target::Existing(id), messages, ask, None);
    }

    /// Ends an attempt that is under way, or tries to.
    fn settle(&mut self) -> Option<()> {
        let open: Vec<_> =
            self.model.asks.iter().map(|(question, asking)| (*question, asking.attempt)).collect();
        let (question, id) = self.dice.pick(&open)?;
        let right = Attempt { question, id };
        let wrong = Attempt { question, id: Uuid::from_u128(0) };
        let of = |(of, attempt): &&(ConversationId, Attempt)| {
            *attempt == right && self.model.conversations.contains_key(of)
        };
        let (id, _) = *self.model.attempts.iter().find(of)?;
        let ends: &[(Attempt, bool)] = match self.dice.below(10) {
            0 => &[(right, false), (right, false)],
            1 => &[(right, false), (right, true)],
            2 => &[(right, true), (right, false)],
            3 => &[(right, true), (right, false), (right, false)],
            4 => &[(wrong, false), (right, false)],
            5 => &[(wrong, true), (wrong, false)],
            6 => &[(right, true)],
            _ => &[(right, false)],
        };
        // What is stored late comes after all else of its group.
        self.use_conversation(id, ends.len() > 1)?;
        if self.settled.insert(question) {
            for (attempt, fails) in ends {
                self.push_end(id, *attempt, *fails);
            }
        }
        Some(())
    }

    /// Ends an attempt that was made at some time.
    fn settle_late(&mut self) -> Option<()> {
        let (id, attempt) = self.dice.pick(&self.model.attempts)?;
        self.use_conversation(id, true)?;
        let fails = self.dice.percent(20);
        self.push_end(id, attempt, fails);
        Some(())
    }

    /// Sends a key once more.
    fn retry(&mut self) -> Option<()> {
        let keys: Vec<_> = self.model.keys.keys().cloned().collect();
        let key = self.dice.pick(&keys)?;
        self.send_again(key)?;
        if self.dice.percent(TWICE) {
            let key = self.appends.last()?.claim.clone()?.key;
            self.send_again(key)?;
        }
        Some(())
    }

    /// Sends a key of the group once more.
    fn again(&mut self) -> Option<()> {
        let keys: Vec<_> = self.keys.iter().cloned().collect();
        let key = self.dice.pick(&keys)?;
        self.send_again(key)
    }

    fn send_again(&mut self, key: IdempotencyKey) -> Option<()> {
        let body = if self.dice.percent(80) { BODIES[0] } else { BODIES[1] };
        let is_question = key.scope == "questions";
        let attempt = is_question.then(|| self.dice.uuid());
        let lease = self.lease().filter(|_| is_question);
        let claim = Claim { key: key.clone(), body: [body; 32], lease, attempt };
        // Its question may be taken over, with its conversation as it is then.
        if let Some(known) = self.model.remembered(&key)
            && known.ending.is_none()
            && !self.keys.contains(&key)
        {
            self.use_conversation(known.conversation, true)?;
        }
        let (target, bot_id) = match self.conversation() {
            Some(id) if self.dice.percent(60) => {
                (Target::Existing(id), self.model.conversations[&id].conversation.bot_id.clone())
            }
            _ => {
                let new = self.new_conversation();
                let bot_id = new.bot_id.clone();
                (Target::New(new), bot_id)
            }
        };
        let ask = match attempt {
            Some(attempt) => Ask::Opens { attempt, bot_id },
            None => Ask::No,
        };
        let messages = self.messages(1);
        self.push(target, messages, ask, Some(claim));
        Some(())
    }
}

/// An answer object with this text.
pub fn payload(text: &str) -> Json {
    let text = Json::of(text);
    Json::parse(format!(r#"{{"text":{},"z":1.0,"a":[null]}}"#, text.as_str())).unwrap()
}

/// Those whose keys more than one of the group has.
pub fn raced(group: &[Append]) -> BTreeSet<IdempotencyKey> {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for claim in group.iter().filter_map(|append| append.claim.as_ref()) {
        if !once.insert(&claim.key) {
            twice.insert(claim.key.clone());
        }
    }
    twice
}
