//! Who calls, and what they may do: the only file that knows roles and bot scopes.
//!
//! A service method that needs a right takes its proof as an argument. A [`Reader`], a [`Writer`], an [`Asker`] and a
//! [`Monitor`] prove a right of the caller; a [`Readable`], a [`Writable`] and a [`Joined`] prove it for the value that
//! they hold. Only this module makes them, so that a method cannot be reached without the check.

use std::ops::Deref;

use sha2::{Digest, Sha256};
use wicara_model::{Api, Bots, Caller, Conversation, ConversationId, List, Message, Person, Role};
use wicara_store::{BotMessage, ListedConversation, Undo};

use crate::Service;
use crate::caller_cache::CredentialHash;
use crate::error::{Error, Result};

/// The credentials of a request.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A key wins over a session. `Some("")` is a malformed key, which is a wrong one.
    pub key: Option<String>,
    /// The tokens of the session cookies, in their order. A browser may hold several of one name, by paths and domains
    /// that a server cannot tell apart; the first one that is alive counts.
    pub sessions: Vec<String>,
}

/// How keys and session tokens are stored. They are random, so that a plain hash keeps them as well as a slow one.
pub(super) fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Whether an operation may be called without credentials: those of the Chatbot API may, where
/// `auth.anonymous = "chatbot-api"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousAccess {
    Never,
    IfChatbotApiOpen {
        /// Whether the request's `Host` is one of the server's own names. Where it is not, the caller may be a
        /// stranger's page in the browser of somebody inside the network (DNS rebinding).
        by_own_name: bool,
    },
}

/// May read conversations and messages of its bots.
#[derive(Debug, Clone)]
pub struct Reader {
    caller: Caller,
    bots: Bots,
}

/// May also write them.
#[derive(Debug, Clone)]
pub struct Writer {
    reader: Reader,
}

/// May ask questions.
#[derive(Debug, Clone)]
pub struct Asker {
    caller: Caller,
    /// The origin of the page of another site that asks.
    page: Option<String>,
}

/// May read the metrics, which cover all bots.
#[derive(Debug)]
pub struct Monitor(());

/// Proof that the caller may read the value: each conversation in it, or the message's, has one of the caller's bots.
#[derive(Debug, Clone)]
pub struct Readable<T>(T);

/// Proof that the caller may change or delete the value, and read it.
#[derive(Debug, Clone)]
pub struct Writable<T>(Readable<T>);

/// Proof that an asker takes part in a conversation: it may read the messages, except the operators' notes.
#[derive(Debug, Clone)]
pub struct Joined(Conversation);

impl<T> Readable<T> {
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Readable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Writable<T> {
    #[must_use]
    pub fn readable(&self) -> &Readable<T> {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0.0
    }
}

impl<T> Deref for Writable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl Deref for Joined {
    type Target = Conversation;

    fn deref(&self) -> &Conversation {
        &self.0
    }
}

impl Reader {
    /// Every account and every key may read; a visitor only where the Chatbot API is open, and `Forbidden` if it called
    /// the server by a name that is not the server's own.
    fn new(caller: Caller, anonymous: AnonymousAccess, chatbot_api_open: bool) -> Result<Self> {
        let bots = match &caller {
            Caller::Visitor => match anonymous {
                AnonymousAccess::IfChatbotApiOpen { by_own_name } if chatbot_api_open => {
                    if by_own_name {
                        Bots::All
                    } else {
                        return Err(Error::Forbidden);
                    }
                }
                AnonymousAccess::IfChatbotApiOpen { .. } | AnonymousAccess::Never => {
                    return Err(Error::Unauthenticated);
                }
            },
            Caller::Person(person) => person.bots.clone(),
            Caller::Program(program) => program.bots.clone(),
        };
        Ok(Self { caller, bots })
    }

    #[must_use]
    pub fn bots(&self) -> &Bots {
        &self.bots
    }

    /// Which document's answers this caller gets on the paths that two documents share.
    #[must_use]
    pub fn api(&self) -> Api {
        match &self.caller {
            Caller::Person(_) => Api::Conversation,
            Caller::Program(program) => program.api,
            Caller::Visitor => Api::Chatbot,
        }
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn conversation(&self, conversation: Conversation) -> Option<Readable<Conversation>> {
        self.bots.contain(&conversation.bot_id).then_some(Readable(conversation))
    }

    /// Conversations that the store found for the caller's bots; `None` if it found any other.
    pub(super) fn conversations(
        &self,
        list: List<ListedConversation>,
    ) -> Option<Readable<List<ListedConversation>>> {
        let is_readable = list.items.iter().all(|listed| self.bots.contain(&listed.conversation.bot_id));
        is_readable.then_some(Readable(list))
    }

    /// The right to read a conversation includes its messages.
    pub(super) fn message(&self, BotMessage { bot_id, message }: BotMessage) -> Option<Readable<Message>> {
        self.bots.contain(&bot_id).then_some(Readable(message))
    }
}

impl Writer {
    /// From role agent up. A visitor that may read may also write: the open Chatbot API includes deleting.
    fn new(reader: Reader) -> Result<Self> {
        let role = match &reader.caller {
            Caller::Person(person) => person.role,
            Caller::Program(program) => program.role,
            Caller::Visitor => Role::Agent,
        };
        if role >= Role::Agent { Ok(Self { reader }) } else { Err(Error::Forbidden) }
    }

    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Whether the caller may take conversations from others.
    #[must_use]
    pub(super) fn is_admin(&self) -> bool {
        match &self.reader.caller {
            Caller::Person(person) => person.role >= Role::Admin,
            Caller::Program(program) => program.role >= Role::Admin,
            Caller::Visitor => false,
        }
    }

    /// Whether the caller may open conversations with a bot, or move them to it.
    pub(super) fn has_bot(&self, bot_id: &str) -> bool {
        self.reader.bots.contain(bot_id)
    }

    pub(super) fn conversation(&self, conversation: Conversation) -> Option<Writable<Conversation>> {
        self.reader.conversation(conversation).map(Writable)
    }

    /// Proof without reading the conversation, for a writer of all bots; `None` for other writers.
    pub(super) fn any_conversation(&self, id: ConversationId) -> Option<Writable<ConversationId>> {
        (self.reader.bots == Bots::All).then_some(Writable(Readable(id)))
    }

    pub(super) fn message(&self, message: BotMessage) -> Option<Writable<Message>> {
        self.reader.message(message).map(Writable)
    }

    /// What was deleted of the writer's bots may be brought back.
    pub(super) fn undo(&self, undo: Undo) -> Option<Writable<Undo>> {
        self.has_bot(&undo.bot_id).then_some(Writable(Readable(undo)))
    }
}

impl Writable<Conversation> {
    #[must_use]
    pub fn id(&self) -> Writable<ConversationId> {
        Writable(Readable(self.id))
    }
}

impl Monitor {
    /// Programs of role admin, whatever their bots: metrics say nothing about single conversations. People read them
    /// through the program that collects them.
    fn new(caller: &Caller) -> Result<Self> {
        match caller {
            Caller::Visitor => Err(Error::Unauthenticated),
            Caller::Program(program) if program.role >= Role::Admin => Ok(Self(())),
            Caller::Program(_) | Caller::Person(_) => Err(Error::Forbidden),
        }
    }
}

impl Asker {
    /// Everybody may ask; callers differ in the bots and conversations that they reach.
    fn new(caller: Caller, page: Option<String>) -> Self {
        Self { caller, page }
    }

    /// The origin of the page that asks, where it is a page of another site than the server's own.
    pub(super) fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the bot is in the asker's scope. It may still be unknown, or closed to visitors.
    pub(super) fn sees_bot(&self, bot_id: &str) -> bool {
        match &self.caller {
            Caller::Visitor => true,
            Caller::Person(Person { bots, .. }) => bots.contain(bot_id),
            Caller::Program(program) => program.bots.contain(bot_id),
        }
    }

    /// Whether the asker may say of a conversation that it opens where it comes from: its channel, its user and its
    /// room. A program asks for somebody else.
    #[must_use]
    pub fn may_describe(&self) -> bool {
        matches!(self.caller, Caller::Program(_))
    }

    /// The conversation, if the asker may continue it.
    pub(super) fn join(&self, conversation: Conversation) -> Option<Joined> {
        self.reaches(&conversation).then_some(Joined(conversation))
    }

    /// Whether the asker may continue a conversation.
    pub(super) fn reaches(&self, conversation: &Conversation) -> bool {
        self.sees_bot(&conversation.bot_id) && (conversation.by_visitor || self.is_operator())
    }

    /// Agents and admins reach every conversation and bot in their scope. All other callers reach the same as visitors:
    /// conversations opened by a question, the default bot and public bots.
    pub(super) fn is_operator(&self) -> bool {
        match &self.caller {
            Caller::Visitor => false,
            Caller::Person(person) => person.role >= Role::Agent,
            Caller::Program(program) => program.role >= Role::Agent,
        }
    }
}

impl Service {
    /// The caller that the credentials belong to. A wrong key is `Unauthenticated`; an expired session makes a visitor.
    pub async fn caller_get(&self, credentials: &Credentials) -> Result<Caller> {
        if let Some(key) = &credentials.key {
            let hash = secret_hash(key);
            return self.known_caller(CredentialHash::Key(hash)).await?.ok_or(Error::Unauthenticated);
        }
        for session in &credentials.sessions {
            if let Some(person) = self.known_caller(CredentialHash::Session(secret_hash(session))).await? {
                return Ok(person);
            }
        }
        Ok(Caller::Visitor)
    }

    /// The program of a key, or the person of a session that is alive.
    async fn known_caller(&self, hash: CredentialHash) -> Result<Option<Caller>> {
        let now = self.clock.now();
        // What this process changed itself is known at once.
        self.callers.follow(self.store.access_changes());
        let known = self.callers.get(hash, self.feed.verified_at(), now);
        self.metrics.http.feed.caller_looked_up(known.is_some());
        if known.is_some() {
            return Ok(known);
        }
        let begun = self.callers.begin();
        let found = match hash {
            CredentialHash::Key(hash) => {
                let key = self.store.key_get_by_hash(hash).await?;
                key.map(|key| (Caller::Program(key.program), None))
            }
            CredentialHash::Session(hash) => {
                let session = self.store.session_get(hash, now).await?;
                session.map(|session| (Caller::Person(session.user.person), Some(session.expires_at)))
            }
        };
        Ok(found.map(|(caller, expires_at)| {
            self.callers.insert(begun, hash, caller.clone(), expires_at);
            caller
        }))
    }

    pub fn reader(&self, caller: Caller, anonymous: AnonymousAccess) -> Result<Reader> {
        Reader::new(caller, anonymous, self.settings.chatbot_api_open)
    }

    pub fn writer(&self, reader: Reader) -> Result<Writer> {
        Writer::new(reader)
    }

    /// `page`: the origin of the page that asks, where it is a page of another site.
    #[must_use]
    pub fn asker(&self, caller: Caller, page: Option<String>) -> Asker {
        Asker::new(caller, page)
    }

    pub fn monitor(&self, caller: &Caller) -> Result<Monitor> {
        Monitor::new(caller)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wicara_model::{Api, Handler, KeyId, MessageId, NewMessage, Program, Timestamp, role};

    use super::*;

    fn program(role: Role, bots: Bots) -> Caller {
        Caller::Program(Program { id: KeyId(1), name: "p".into(), role, bots, api: Api::Chatbot })
    }

    fn reader(bots: Bots) -> Reader {
        Reader::new(program(Role::Viewer, bots), AnonymousAccess::Never, false).unwrap()
    }

    fn conversation(id: i64, bot_id: &str) -> Conversation {
        Conversation {
            id: ConversationId(id),
            session_id: Uuid::nil(),
            by_visitor: true,
            room: String::new(),
            integration_type: String::new(),
            bot_id: bot_id.into(),
            user_id: None,
            handler: Handler::Bot,
            assignee: None,
            handed_over_at: None,
            handover_reason: None,
            unclaimed_since: None,
            given_back_after: MessageId(0),
            seen_by_visitor: MessageId(0),
            message_count: 1,
            note_count: 0,
            message_bytes: 1,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn message(conversation_id: i64, bot_id: &str, role: &str) -> BotMessage {
        let NewMessage { kind, text, payload, reply_to, .. } = NewMessage::question("x".into());
        let message = Message {
            id: MessageId(1),
            conversation_id: ConversationId(conversation_id),
            seq: 1,
            role: role.into(),
            kind,
            text,
            payload,
            reply_to,
            failure: None,
            feedback: None,
            author: None,
            time: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        BotMessage { bot_id: bot_id.into(), message }
    }

    #[test]
    fn another_bots_conversations_are_neither_read_nor_written() {
        for (bots, is_seen) in [
            (Bots::All, true),
            (Bots::Only(vec!["a".into(), "b".into()]), true),
            (Bots::Only(vec!["b".into()]), false),
            (Bots::Only(vec![]), false),
        ] {
            let reader = reader(bots.clone());
            let writer =
                Writer::new(Reader { caller: program(Role::Agent, bots), ..reader.clone() }).unwrap();
            let list = |bots: &[&str]| {
                let listed =
                    |bot: &&str| ListedConversation { conversation: conversation(1, bot), messages: None };
                let items = bots.iter().map(listed).collect();
                reader.conversations(List { items, total: 2, walked: None }).is_some()
            };
            assert_eq!(reader.conversation(conversation(1, "a")).is_some(), is_seen);
            assert_eq!(writer.conversation(conversation(1, "a")).is_some(), is_seen);
            assert_eq!(reader.message(message(1, "a", role::NOTE)).is_some(), is_seen);
            assert_eq!(writer.message(message(1, "a", role::NOTE)).is_some(), is_seen);
            assert_eq!((list(&["a", "b"]), list(&[])), (is_seen, true));
            let sees_all = *reader.bots() == Bots::All;
            assert_eq!(writer.any_conversation(ConversationId(1)).is_some(), sees_all);
        }
    }

    #[test]
    fn a_visitor_joins_only_conversations_of_visitors() {
        let visitor = Asker::new(Caller::Visitor, None);
        assert!(visitor.join(Conversation { by_visitor: false, ..conversation(1, "a") }).is_none());
        assert!(visitor.join(conversation(1, "a")).is_some());
    }
}
