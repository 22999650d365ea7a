//! The conversations that a transaction has locked; writes the rows of those that it changed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wicara_model::{ConversationId, HandoverReason};

use crate::engine::{Executor, Result, Sql};
use crate::transaction::LockedConversation;

#[derive(Debug, Default)]
pub(in super::super) struct Conversations(BTreeMap<ConversationId, Option<LockedConversation>>);

impl Conversations {
    /// Whether it was locked, or found missing.
    pub fn knows(&self, id: ConversationId) -> bool {
        self.0.contains_key(&id)
    }

    /// `None`: the conversation does not exist.
    pub fn insert(&mut self, id: ConversationId, locked: Option<LockedConversation>) {
        self.0.insert(id, locked);
    }

    /// The next look-up reads it anew.
    pub fn forget(&mut self, id: ConversationId) {
        self.0.remove(&id);
    }

    pub fn get(&mut self, id: ConversationId) -> Option<&mut LockedConversation> {
        self.0.get_mut(&id)?.as_mut()
    }

    /// Those that were locked and are there, by id.
    pub(super) fn present(&self) -> Vec<ConversationId> {
        self.0.iter().filter(|(_, locked)| locked.is_some()).map(|(id, _)| *id).collect()
    }

    /// Writes the rows whose state the newest message does not carry: see [`LockedConversation::is_changed`].
    pub(super) async fn write(self, executor: &Executor<'_>) -> Result<()> {
        for locked in self.0.into_values().flatten().filter(|locked| locked.is_changed) {
            locked.write(executor).await?;
        }
        Ok(())
    }
}

impl LockedConversation {
    /// Writes the row with its whole state.
    pub async fn write(self, executor: &Executor<'_>) -> Result<()> {
        static UPDATE: LazyLock<Sql> = LazyLock::new(|| {
            let sql = "UPDATE conversations SET room = $2, integration_type = $3, bot_id = $4, user_id = $5, \
                 handler = $6, next_seq = $7, newest_id = $8, message_count = $9, note_count = $10, \
                 message_bytes = $11, updated_at = $12, assignee_id = $13, assignee_kind = $14, assignee_name = $15, \
                 handed_over_at = $16, handover_reason = $17, unclaimed_since = $18, given_back_after = $19, \
                 seen_by_visitor = $20 WHERE id = $1";
            Sql::both(sql)
        });
        let Self { conversation, next_seq, newest, .. } = self;
        let assignee = conversation.assignee.as_ref();
        let params = vec![
            conversation.id.into(),
            conversation.room.into(),
            conversation.integration_type.into(),
            conversation.bot_id.into(),
            conversation.user_id.into(),
            conversation.handler.as_str().into(),
            next_seq.into(),
            newest.into(),
            conversation.message_count.into(),
            conversation.note_count.into(),
            conversation.message_bytes.into(),
            conversation.updated_at.into(),
            assignee.map(|assignee| assignee.id.as_str()).into(),
            assignee.map(|assignee| assignee.kind.as_str()).into(),
            assignee.map(|assignee| assignee.name.as_str()).into(),
            conversation.handed_over_at.into(),
            conversation.handover_reason.map(HandoverReason::as_str).into(),
            conversation.unclaimed_since.into(),
            conversation.given_back_after.into(),
            conversation.seen_by_visitor.into(),
        ];
        executor.query(&*UPDATE, params).await.map(|_| ())
    }
}
