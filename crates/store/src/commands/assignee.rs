//! Who may have a conversation: the rights of the operator who claims it, and what becomes of the conversations of one who is
//! removed.

use wicara_model::{Author, AuthorKind, ConversationId, Role, Timestamp};

use super::conversation_release::put_into_queue;
use crate::engine::{Result, Sql};
use crate::rows::bots_read;
use crate::transaction::Transaction;

/// Whether a person or a program is there and may answer in a bot's conversations. `lock`: it stays so until the commit.
pub(super) async fn may_have(
    transaction: &Transaction<'_>,
    author: &Author,
    bot_id: &str,
    lock: bool,
) -> Result<bool> {
    let (table, id) = match author.kind {
        AuthorKind::Person => ("users", author.id.as_str()),
        AuthorKind::Program => ("keys", author.id.trim_start_matches("key-")),
        AuthorKind::Bot => return Ok(false),
    };
    let Ok(id) = id.parse::<i64>() else { return Ok(false) };
    let read = format!("SELECT role, bots FROM {table} WHERE id = $1");
    let sql = Sql::per_dialect(format!("{read}{}", if lock { " FOR SHARE" } else { "" }), read);
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(false);
    };
    let mut columns = row.columns("users");
    let role: Role = columns.word("role")?;
    Ok(role >= Role::Agent && bots_read(&mut columns)?.contain(bot_id))
}

/// Puts the conversations of somebody who must not have them any more into the queue.
///
/// Claims lock the conversation before they lock the row of who claims: the caller does this before it changes that row, and
/// again afterwards, for what was claimed in between.
pub(crate) async fn release_all(
    transaction: &mut Transaction<'_>,
    assignee: &str,
    at: Timestamp,
) -> Result<()> {
    let sql = "SELECT id FROM conversations WHERE assignee_id = $1 ORDER BY id";
    for row in transaction.query(sql, vec![assignee.into()]).await? {
        let id = ConversationId(row.int("conversations", "id")?);
        if let Some(locked) = transaction.conversation(id).await?
            && locked.conversation.assignee.as_ref().is_some_and(|author| author.id == assignee)
        {
            put_into_queue(transaction, id, at);
        }
    }
    Ok(())
}
