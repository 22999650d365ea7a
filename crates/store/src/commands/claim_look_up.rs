//! A request whose idempotency key was taken before: what the first one left, or its question to be taken over.

use std::time::Duration;

use wicara_model::{ConversationId, MessageId};

use super::append::{KEY_BUSY, Outcome};
use crate::Store;
use crate::engine::{DatabaseClock, Lane, Result, Row, Sql, Value, millis};
use crate::idempotency::{Claim, Claimed, REMEMBERED};
use crate::messages::{MESSAGE, message_read};
use crate::transaction::Transaction;

impl Store {
    /// Most retries only learn what became of the first request: that is read, and no transaction waits for others.
    pub(super) async fn claim_look_up(&self, claim: Claim) -> Result<Outcome> {
        let rows = self.inner.reads.query(Lane::Rest, read(""), key(&claim)).await?;
        if let Judged::Claimed(claimed) = judge(Seen::of(rows)?, &claim) {
            return Ok(Outcome::Claimed(claimed));
        }
        self.change(None, move |transaction| {
            let claim = claim.clone();
            Box::pin(look_up(transaction, claim))
        })
        .await
    }
}

/// Takes the first request's question over, unless another one has done so meanwhile.
async fn look_up(transaction: &mut Transaction<'_>, claim: Claim) -> Result<Outcome> {
    let seen = match judge(Seen::of(transaction.query(read(""), key(&claim)).await?)?, &claim) {
        Judged::Claimed(claimed) => return Ok(Outcome::Claimed(claimed)),
        Judged::Free(seen) => seen,
    };
    // The conversation is locked before the key, as everywhere, and the key read again under both locks.
    let Some(id) = seen.conversation_id else { return Ok(Outcome::Gone) };
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Outcome::Gone) };
    let conversation = locked.conversation.clone();
    let seen = match judge(Seen::of(transaction.query(read(" FOR UPDATE"), key(&claim)).await?)?, &claim) {
        Judged::Claimed(claimed) => return Ok(Outcome::Claimed(claimed)),
        Judged::Free(seen) => seen,
    };
    let Some(question_id) = seen.message_id else { return Ok(Outcome::Gone) };
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let question = transaction.query(sql, vec![question_id.into()]).await?;
    let Some(question) = question.into_iter().next() else { return Ok(Outcome::Gone) };
    let mut question = message_read(&mut question.columns("messages"))?;

    let mut params = key(&claim);
    params.push(claim.lease.map(millis).into());
    let extend = |now| {
        format!("UPDATE idempotency SET lease_until = coalesce({now} + $3, 0) WHERE scope = $1 AND key = $2")
    };
    let sql = Sql::each(extend(DatabaseClock::POSTGRES), extend(DatabaseClock::SQLITE));
    transaction.query(sql, params).await?;
    if let Some(attempt) = claim.attempt {
        let sql =
            "UPDATE messages SET failure = NULL, failed_at = NULL WHERE id = $1 AND failure IS NOT NULL";
        transaction.query(sql, vec![question_id.into()]).await?;
        question.failure = None;
        let node = transaction.node;
        transaction.effects.asks.open(question_id, node, attempt);
    }
    Ok(Outcome::Claimed(Claimed::Resumed { conversation, question }))
}

fn key(claim: &Claim) -> Vec<Value> {
    vec![claim.key.scope.as_str().into(), claim.key.key.as_str().into()]
}

/// A key's row.
struct Seen {
    body: Vec<u8>,
    /// Milliseconds until its lease is over.
    left: i64,
    conversation_id: Option<ConversationId>,
    message_id: Option<MessageId>,
    is_done: bool,
}

/// What a key says to a later request.
enum Judged {
    Claimed(Claimed),
    /// Its request failed or was lost: the later one may take over.
    Free(Seen),
}

/// `lock`: of PostgreSQL.
fn read(lock: &str) -> Sql {
    let read = |now| {
        format!(
            "SELECT body, lease_until - {now}, conversation_id, message_id, done FROM idempotency \
             WHERE scope = $1 AND key = $2 AND created_at >= {now} - {}",
            millis(REMEMBERED)
        )
    };
    Sql::each(read(DatabaseClock::POSTGRES) + lock, read(DatabaseClock::SQLITE))
}

impl Seen {
    /// `None` where the key was just about to be stored, by a request that then was not; one that is forgotten may be left.
    fn of(rows: Vec<Row>) -> Result<Option<Self>> {
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let mut columns = row.columns("idempotency");
        Ok(Some(Self {
            body: columns.bytes("body")?,
            left: columns.int("lease_until")?,
            conversation_id: columns.opt_int("conversation_id")?.map(ConversationId),
            message_id: columns.opt_int("message_id")?.map(MessageId),
            is_done: columns.int("done")? != 0,
        }))
    }
}

fn judge(seen: Option<Seen>, claim: &Claim) -> Judged {
    let Some(seen) = seen else { return Judged::Claimed(Claimed::Running { left: KEY_BUSY }) };
    if seen.body != claim.body {
        return Judged::Claimed(Claimed::OtherBody);
    }
    match (seen.is_done, seen.conversation_id) {
        (true, Some(conversation_id)) => {
            Judged::Claimed(Claimed::Done { conversation_id, message_id: seen.message_id })
        }
        _ if seen.left > 0 => {
            Judged::Claimed(Claimed::Running { left: Duration::from_millis(seen.left.unsigned_abs()) })
        }
        _ => Judged::Free(seen),
    }
}
