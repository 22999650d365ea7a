//! Who may do what: the only place that knows roles and bot scopes.
//!
//! A service method that needs a right takes its proof as an argument. A [`Reader`], a [`Writer`], an [`Asker`] and a
//! [`Monitor`] say what a caller may do; a [`Readable`], a [`Writable`] and a [`Joined`] hold the one thing that it may
//! be done to. Only this module makes them, so that a method cannot be reached without the check.

use std::ops::Deref;

use wicara_model::{Api, Bots, Caller, Conversation, ConversationId, List, Message, Person, Role};
use wicara_store::BotMessage;

use crate::error::{Error, Result};

/// Whether an operation belongs to the Chatbot API, which `auth.anonymous = "chatbot-api"` opens to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Closed,
    ChatbotApi {
        /// Whether the server was called by a name of its own. Where not, it may be a page of a stranger that calls,
        /// from within a browser that reaches what the stranger does not.
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
}

/// May see what the server counts, which is of all bots.
#[derive(Debug)]
pub struct Monitor(());

/// Proof that the caller may read what it holds: each conversation in it, or the message's, has one of the caller's bots.
#[derive(Debug, Clone)]
pub struct Readable<T>(T);

/// Proof that the caller may also change or delete it.
#[derive(Debug, Clone)]
pub struct Writable<T>(Readable<T>);

/// Proof that an asker takes part in a conversation: its messages may be read, but for the operators' notes.
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

impl Joined {
    /// `None` for a note, or a message of another conversation.
    pub(super) fn message(&self, BotMessage { message, .. }: BotMessage) -> Option<Message> {
        (message.conversation_id == self.0.id && !message.is_note()).then_some(message)
    }
}

impl Reader {
    /// Everybody with an account or a key reads; callers without only where the Chatbot API stands open. `Forbidden`
    /// where it does and they called by another name.
    pub(super) fn new(caller: Caller, door: Door, chatbot_api_open: bool) -> Result<Self> {
        let bots = match &caller {
            Caller::Visitor => match door {
                Door::ChatbotApi { by_own_name: true } if chatbot_api_open => Bots::All,
                Door::ChatbotApi { by_own_name: false } if chatbot_api_open => return Err(Error::Forbidden),
                Door::ChatbotApi { .. } | Door::Closed => return Err(Error::Unauthenticated),
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

    /// Which of the two documents answers this caller on the shared paths.
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
    pub(super) fn conversations(&self, list: List<Conversation>) -> Option<Readable<List<Conversation>>> {
        let is_readable = list.items.iter().all(|conversation| self.bots.contain(&conversation.bot_id));
        is_readable.then_some(Readable(list))
    }

    /// The right to a message is the right to its conversation.
    pub(super) fn message(&self, BotMessage { bot_id, message }: BotMessage) -> Option<Readable<Message>> {
        self.bots.contain(&bot_id).then_some(Readable(message))
    }
}

impl Writer {
    /// From role agent up. Where the Chatbot API stands open, its callers delete as its document shows it.
    pub(super) fn new(reader: Reader) -> Result<Self> {
        let role = match &reader.caller {
            Caller::Person(person) => person.role,
            Caller::Program(program) => program.role,
            Caller::Visitor => Role::Agent,
        };
        if role >= Role::Agent { Ok(Self { reader }) } else { Err(Error::Forbidden) }
    }

    /// Who writes also reads.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Whether conversations may be opened on a bot, or moved to it.
    pub(super) fn has_bot(&self, bot_id: &str) -> bool {
        self.reader.bots.contain(bot_id)
    }

    pub(super) fn conversation(&self, conversation: Conversation) -> Option<Writable<Conversation>> {
        self.reader.conversation(conversation).map(Writable)
    }

    /// A conversation that was not read: a writer of all bots needs to know no more of it than its id.
    pub(super) fn any_conversation(&self, id: ConversationId) -> Option<Writable<ConversationId>> {
        (self.reader.bots == Bots::All).then_some(Writable(Readable(id)))
    }

    pub(super) fn message(&self, message: BotMessage) -> Option<Writable<Message>> {
        self.reader.message(message).map(Writable)
    }
}

impl Writable<Conversation> {
    #[must_use]
    pub fn id(&self) -> Writable<ConversationId> {
        Writable(Readable(self.id))
    }
}

impl Monitor {
    /// Programs of administrators, whatever their bots: what is counted says nothing of conversations. People see it
    /// through the program that collects it.
    pub(super) fn new(caller: &Caller) -> Result<Self> {
        match caller {
            Caller::Visitor => Err(Error::Unauthenticated),
            Caller::Program(program) if program.role >= Role::Admin => Ok(Self(())),
            Caller::Program(_) | Caller::Person(_) => Err(Error::Forbidden),
        }
    }
}

impl Asker {
    /// Everybody may ask; what they reach differs.
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller }
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether a conversation may be opened on this bot by name. 403 and 400 are the caller's to tell apart.
    pub(super) fn sees_bot(&self, bot_id: &str) -> bool {
        match &self.caller {
            Caller::Visitor => true,
            Caller::Person(Person { bots, .. }) => bots.contain(bot_id),
            Caller::Program(program) => program.bots.contain(bot_id),
        }
    }

    /// The conversation, if the asker may go on with it.
    pub(super) fn join(&self, conversation: Conversation) -> Option<Joined> {
        self.reaches(&conversation).then_some(Joined(conversation))
    }

    /// Whether the asker may go on with a conversation.
    pub(super) fn reaches(&self, conversation: &Conversation) -> bool {
        self.sees_bot(&conversation.bot_id) && (conversation.by_visitor || self.is_operator())
    }

    /// Agents and admins reach every conversation and bot in their scope; everybody else what visitors reach:
    /// conversations opened by a question, the default bot and public bots.
    pub(super) fn is_operator(&self) -> bool {
        match &self.caller {
            Caller::Visitor => false,
            Caller::Person(person) => person.role >= Role::Agent,
            Caller::Program(program) => program.role >= Role::Agent,
        }
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
        Reader::new(program(Role::Viewer, bots), Door::Closed, false).unwrap()
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
            author: None,
            time: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        BotMessage { bot_id: bot_id.into(), message }
    }

    #[test]
    fn what_is_of_another_bot_is_neither_read_nor_written() {
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
                let items = bots.iter().map(|bot| conversation(1, bot)).collect();
                reader.conversations(List { items, total: 2 }).is_some()
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
    fn a_visitor_reads_their_conversation_and_no_note() {
        let visitor = Asker::new(Caller::Visitor);
        assert!(visitor.join(Conversation { by_visitor: false, ..conversation(1, "a") }).is_none());
        let joined = visitor.join(conversation(1, "a")).unwrap();
        assert!(joined.message(message(1, "a", role::AGENT)).is_some());
        assert!(joined.message(message(1, "a", role::NOTE)).is_none());
        assert!(joined.message(message(2, "a", role::AGENT)).is_none());
    }
}
