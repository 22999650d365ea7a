//! The events of a transaction's commands. They get their numbers last: on PostgreSQL together with the COMMIT, by a function
//! that holds a lock until the commit is visible; on SQLite the one writer gives them.

use std::sync::LazyLock;

use wicara_model::{Change, Conversation, ConversationId, MessageId};

use crate::engine::{Columns, DatabaseClock, Executor, Result, Sql, Value, value};

#[derive(Debug, Default)]
pub(in super::super) struct Events(Vec<Change>);

/// Adds the events of a batch on PostgreSQL: only ever sent together with the COMMIT, since the lock that it takes is the
/// one that all servers wait for.
pub(in super::super) const ADD: &str = "SELECT wicara_feed_4($1, $2, $3, $4, $5, $6, $7)";

/// The numbers of the kinds in the database. `wicara_append_…` of PostgreSQL has the first, the fourth and the fifth.
mod kind {
    pub const CONVERSATION_CREATED: i64 = 1;
    pub const CONVERSATION_UPDATED: i64 = 2;
    pub const CONVERSATION_DELETED: i64 = 3;
    pub const MESSAGE_CREATED: i64 = 4;
    pub const MESSAGE_UPDATED: i64 = 5;
    pub const MESSAGE_DELETED: i64 = 6;
    pub const SEEN: i64 = 7;
    /// From here on the kinds are for the servers themselves.
    pub const ACCESS: i64 = 100;
    pub const ANSWERS_STOPPED: i64 = 101;
}
pub(in super::super) use kind::ACCESS as FIRST_KIND_FOR_SERVERS;

impl Events {
    pub fn add(&mut self, change: Change) {
        self.0.push(change);
    }

    pub fn message_created(&mut self, conversation: &Conversation, id: MessageId, is_note: bool) {
        let (conversation_id, bot_id) = (conversation.id, conversation.bot_id.clone());
        self.add(Change::MessageCreated { id, conversation_id, bot_id, is_shown: !is_note });
    }

    /// A change that makes no note of a message, and no message of a note.
    pub fn message_updated(&mut self, conversation: &Conversation, id: MessageId, is_note: bool) {
        let (conversation_id, bot_id) = (conversation.id, conversation.bot_id.clone());
        let (was_shown, is_shown) = (!is_note, !is_note);
        self.add(Change::MessageUpdated { id, conversation_id, bot_id, was_shown, is_shown });
    }

    /// Several updates of a conversation that follow each other are one: a command may change it in steps.
    pub fn conversation_updated(&mut self, before: &Conversation, bot_id: &str) {
        if let Some(Change::ConversationUpdated { id, bot_id: last, .. }) = self.0.last_mut()
            && *id == before.id
        {
            bot_id.clone_into(last);
            return;
        }
        let (id, bot_before) = (before.id, before.bot_id.clone());
        self.add(Change::ConversationUpdated { id, bot_before, bot_id: bot_id.to_owned() });
    }

    /// `reader`: the id of a person or a program, as [`Caller::id`](wicara_model::Caller::id) has it.
    pub fn access_changed(&mut self, reader: String) {
        self.add(Change::Access { reader });
    }

    /// The parameters of [`ADD`]; `None` where there are no events.
    pub fn into_params(self) -> Option<Vec<Value>> {
        if self.0.is_empty() {
            return None;
        }
        let for_servers = self.0.iter().any(Change::is_for_servers);
        let mut params = vec![for_servers.into()];
        params.extend(value::columns(self.0.into_iter().map(columns).collect()));
        Some(params)
    }

    /// Writes them on SQLite. On PostgreSQL they are written with the COMMIT.
    pub(super) async fn write_sqlite(self, executor: &Executor<'_>) -> Result<()> {
        static INSERT: LazyLock<Sql> = LazyLock::new(|| {
            Sql::both(format!(
                "INSERT INTO events (at, kind, conversation_id, message_id, audience, audience_before, shown) \
                 VALUES ({}, $1, $2, $3, $4, $5, $6)",
                DatabaseClock::SQLITE
            ))
        });
        executor.query_many(&*INSERT, self.0.into_iter().map(columns).collect()).await.map(|_| ())
    }
}

/// Kind, conversation, message, audience, audience before, and who is shown it.
fn columns(change: Change) -> Vec<Value> {
    let shown = |before: bool, after: bool| 2 * i64::from(before) + i64::from(after);
    let (kind, conversation, message, audience, before, shown) = match change {
        Change::ConversationCreated { id, bot_id, is_restored } => {
            (kind::CONVERSATION_CREATED, Some(id), None, Some(bot_id), None, shown(is_restored, true))
        }
        Change::ConversationUpdated { id, bot_before, bot_id } => {
            (kind::CONVERSATION_UPDATED, Some(id), None, Some(bot_id), Some(bot_before), shown(true, true))
        }
        Change::ConversationDeleted { id, bot_before } => {
            (kind::CONVERSATION_DELETED, Some(id), None, None, Some(bot_before), shown(true, false))
        }
        Change::MessageCreated { id, conversation_id, bot_id, is_shown } => (
            kind::MESSAGE_CREATED,
            Some(conversation_id),
            Some(id),
            Some(bot_id),
            None,
            shown(false, is_shown),
        ),
        Change::MessageUpdated { id, conversation_id, bot_id, was_shown, is_shown } => {
            let before = Some(bot_id.clone());
            let shown = shown(was_shown, is_shown);
            (kind::MESSAGE_UPDATED, Some(conversation_id), Some(id), Some(bot_id), before, shown)
        }
        Change::MessageDeleted { id, conversation_id, bot_id, was_shown } => (
            kind::MESSAGE_DELETED,
            Some(conversation_id),
            Some(id),
            None,
            Some(bot_id),
            shown(was_shown, false),
        ),
        Change::Seen { reader, conversation_id, up_to } => {
            (kind::SEEN, Some(conversation_id), Some(up_to), Some(reader), None, 0)
        }
        Change::Access { reader } => (kind::ACCESS, None, None, Some(reader), None, 0),
        Change::AnswersStopped { conversation_id } => {
            (kind::ANSWERS_STOPPED, Some(conversation_id), None, None, None, 0)
        }
    };
    vec![kind.into(), conversation.into(), message.into(), audience.into(), before.into(), shown.into()]
}

/// Reads what [`columns`] writes, from the columns `kind`, `conversation_id`, `message_id`, `audience`, `audience_before`
/// and `shown`. `None` for a kind of a later version.
pub(in super::super) fn change_read(columns: &mut Columns) -> Result<Option<Change>> {
    let kind = columns.int("kind")?;
    let conversation = columns.opt_int("conversation_id")?.map(ConversationId);
    let message = columns.opt_int("message_id")?.map(MessageId);
    let audience = columns.opt_text("audience")?;
    let before = columns.opt_text("audience_before")?;
    let shown = columns.int("shown")?;
    let (was_shown, is_shown) = (shown & 2 != 0, shown & 1 != 0);
    Ok(Some(match (kind, conversation, message, audience, before) {
        (kind::CONVERSATION_CREATED, Some(id), _, Some(bot_id), _) => {
            Change::ConversationCreated { id, bot_id, is_restored: was_shown }
        }
        (kind::CONVERSATION_UPDATED, Some(id), _, Some(bot_id), Some(bot_before)) => {
            Change::ConversationUpdated { id, bot_before, bot_id }
        }
        (kind::CONVERSATION_DELETED, Some(id), _, _, Some(bot_before)) => {
            Change::ConversationDeleted { id, bot_before }
        }
        (kind::MESSAGE_CREATED, Some(conversation_id), Some(id), Some(bot_id), _) => {
            Change::MessageCreated { id, conversation_id, bot_id, is_shown }
        }
        (kind::MESSAGE_UPDATED, Some(conversation_id), Some(id), Some(bot_id), _) => {
            Change::MessageUpdated { id, conversation_id, bot_id, was_shown, is_shown }
        }
        (kind::MESSAGE_DELETED, Some(conversation_id), Some(id), _, Some(bot_id)) => {
            Change::MessageDeleted { id, conversation_id, bot_id, was_shown }
        }
        (kind::SEEN, Some(conversation_id), Some(up_to), Some(reader), _) => {
            Change::Seen { reader, conversation_id, up_to }
        }
        (kind::ACCESS, _, _, Some(reader), _) => Change::Access { reader },
        (kind::ANSWERS_STOPPED, Some(conversation_id), ..) => Change::AnswersStopped { conversation_id },
        _ => return Ok(None),
    }))
}
