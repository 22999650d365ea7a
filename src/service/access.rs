//! Who may do what: the only place that knows roles and bot scopes.
//!
//! A service method that needs a right takes its proof as first argument: a [`Reader`], a [`Writer`], an
//! [`Asker`] or a [`Monitor`]. Only this module makes them, so that a method cannot be reached without the check.

use std::ops::Deref;

use crate::model::{Api, Bots, Caller, Conversation, Person, Role};

use super::error::{Error, Result};

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
pub struct Writer(Reader);

/// May ask questions.
#[derive(Debug, Clone)]
pub struct Asker {
    caller: Caller,
}

/// May see what the server counts, which is of all bots.
#[derive(Debug)]
pub struct Monitor(());

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
}

impl Writer {
    /// From role agent up. Where the Chatbot API stands open, its callers delete as its document shows it.
    pub(super) fn new(reader: Reader) -> Result<Self> {
        let role = match &reader.caller {
            Caller::Person(person) => person.role,
            Caller::Program(program) => program.role,
            Caller::Visitor => Role::Agent,
        };
        if role >= Role::Agent { Ok(Self(reader)) } else { Err(Error::Forbidden) }
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

impl Deref for Writer {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
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
