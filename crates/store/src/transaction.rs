//! The transaction that commands apply to. It hands out locked conversations and collects the effects of all commands,
//! so that no command can be committed without its effects.

use std::sync::LazyLock;

use wicara_model::{Conversation, ConversationId, MessageId};

use crate::effects::{Batch, Effects};
use crate::engine::{Executor, Result, Row, Sql, Value};
use crate::rows::{CONVERSATION, conversation_read};

/// A conversation that the transaction has locked, with the changes of the transaction's earlier commands.
#[derive(Debug, Clone)]
pub(super) struct LockedConversation {
    pub conversation: Conversation,
    /// The `seq` of the next message.
    pub next_seq: i64,
    /// The newest message, 0 if there is none.
    pub newest: MessageId,
    /// Whether its row has to be written, because the newest message does not carry its state.
    pub is_changed: bool,
}

pub(super) struct Transaction<'a> {
    pub executor: Executor<'a>,
    pub node: i64,
    pub effects: Effects,
    ids: Ids,
}

/// The last ids given out, on SQLite: read and written once in a transaction.
#[derive(Debug, Default)]
struct Ids(Option<Sequences>);

#[derive(Debug)]
struct Sequences {
    conversation: i64,
    message: i64,
}

impl<'a> Transaction<'a> {
    pub fn new(executor: Executor<'a>, node: i64) -> Self {
        Self { executor, node, effects: Effects::default(), ids: Ids::default() }
    }

    pub async fn query(&self, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        self.executor.query(sql, params).await
    }

    /// Runs a statement for many rows of parameters; without rows it does nothing.
    pub async fn query_many(&self, sql: impl Into<Sql>, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        self.executor.query_many(sql, rows).await
    }

    /// Locks a conversation; `None` if it does not exist (any more). A command that locks several must lock them in the
    /// order of their ids, or two transactions deadlock.
    pub async fn conversation(&mut self, id: ConversationId) -> Result<Option<&mut LockedConversation>> {
        if !self.effects.conversations.knows(id) {
            let locked = lock(&self.executor, id).await?;
            self.effects.conversations.insert(id, locked);
        }
        Ok(self.effects.conversations.get(id))
    }

    pub async fn conversation_id(&mut self) -> Result<ConversationId> {
        Ok(ConversationId(match self.executor {
            Executor::Postgres(_) => self.next_id("conversation_ids").await?,
            Executor::Sqlite(_) => {
                let sequences = self.sequences().await?;
                sequences.conversation += 1;
                sequences.conversation
            }
        }))
    }

    /// Must be called under the conversation's lock, so that within a conversation ids rise in the order of `seq`.
    pub async fn message_id(&mut self) -> Result<MessageId> {
        Ok(MessageId(match self.executor {
            Executor::Postgres(_) => self.next_id("message_ids").await?,
            Executor::Sqlite(_) => {
                let sequences = self.sequences().await?;
                sequences.message += 1;
                sequences.message
            }
        }))
    }

    async fn next_id(&self, sequence: &str) -> Result<i64> {
        let rows = self.query(format!("SELECT nextval('{sequence}')"), vec![]).await?;
        rows.into_iter().next().map_or(Ok(0), |row| row.int("sequences", "last"))
    }

    async fn sequences(&mut self) -> Result<&mut Sequences> {
        if self.ids.0.is_none() {
            const LAST: &str = "SELECT (SELECT last FROM sequences WHERE name = 'conversation_ids'), \
                 (SELECT last FROM sequences WHERE name = 'message_ids')";
            let row = self.query(LAST, vec![]).await?.into_iter().next();
            let mut columns = row.unwrap_or_else(|| Row(Vec::new())).columns("sequences");
            let (conversation, message) = (columns.int("last")?, columns.int("last")?);
            self.ids.0 = Some(Sequences { conversation, message });
        }
        Ok(self.ids.0.as_mut().expect("it was just set"))
    }

    /// Writes the effects of all commands. `batch`: the identity of the transaction on PostgreSQL. Returns the events that
    /// are to be sent with the COMMIT: see [`Effects::write`].
    pub async fn finish(self, batch: Option<Batch>) -> Result<Option<Vec<Value>>> {
        let Self { executor, effects, ids, .. } = self;
        let events = effects.write(&executor, batch).await?;
        if let Some(Sequences { conversation, message }) = ids.0 {
            let rows = [("conversation_ids", conversation), ("message_ids", message)];
            let rows = rows.map(|(name, last)| vec![name.into(), last.into()]);
            executor.query_many("UPDATE sequences SET last = $2 WHERE name = $1", rows.into()).await?;
        }
        Ok(events)
    }
}

async fn lock(executor: &Executor<'_>, id: ConversationId) -> Result<Option<LockedConversation>> {
    static READ: LazyLock<Sql> = LazyLock::new(|| {
        format!("SELECT next_seq, newest_id, {CONVERSATION} FROM conversation_states WHERE id = $1").into()
    });
    // A statement's snapshot is from before it waits for a lock: on PostgreSQL a second statement reads the state,
    // which the transaction that held the lock may have changed.
    if let Executor::Postgres(_) = executor {
        let lock = "SELECT id FROM conversations WHERE id = $1 FOR UPDATE";
        if executor.query(lock, vec![id.into()]).await?.is_empty() {
            return Ok(None);
        }
    }
    let rows = executor.query(&*READ, vec![id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut columns = row.columns("conversations");
    let next_seq = columns.int("next_seq")?;
    let newest = MessageId(columns.int("newest_id")?);
    Ok(Some(LockedConversation {
        conversation: conversation_read(&mut columns)?,
        next_seq,
        newest,
        is_changed: false,
    }))
}
