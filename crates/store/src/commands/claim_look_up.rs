//! The look-up for a request whose idempotency key was taken before: returns what the first request stored, or lets
//! this one take over its question where the first failed or was lost.

use std::time::Duration;

use wicara_model::{ConversationId, Ending, Handler, MessageId};

use super::append::{KEY_BUSY, Outcome};
use crate::Store;
use crate::effects::ending;
use crate::engine::{DatabaseClock, Lane, Result, Row, Sql, Value, millis};
use crate::idempotency::{Claim, PriorClaim, REMEMBERED};
use crate::rows::{MESSAGE, message_read};
use crate::transaction::Transaction;

impl Store {
    /// Most retries only read the result of the first request, which needs no transaction and no slot in the writer's
    /// queue.
    pub(super) async fn claim_look_up(&self, claim: Claim) -> Result<Outcome> {
        let rows = self.inner.reads.query(Lane::Continuation, read(""), key(&claim)).await?;
        if let KeyState::Taken(prior) = key_state(KeyRow::of(rows)?, &claim) {
            return Ok(Outcome::Claimed(prior));
        }
        self.change(None, move |transaction| {
            let claim = claim.clone();
            Box::pin(look_up(transaction, claim))
        })
        .await
    }
}

/// Takes over the question of the first request, unless another retry has done so meanwhile. Where people have the
/// conversation, nobody asks a bot, and the request has ended.
async fn look_up(transaction: &mut Transaction<'_>, claim: Claim) -> Result<Outcome> {
    let row = match key_state(KeyRow::of(transaction.query(read(""), key(&claim)).await?)?, &claim) {
        KeyState::Taken(prior) => return Ok(Outcome::Claimed(prior)),
        KeyState::Free(row) => row,
    };
    // Everywhere the conversation is locked before the key, so that two transactions cannot deadlock. The key is read
    // again under both locks.
    let Some(id) = row.conversation_id else { return Ok(Outcome::Gone) };
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Outcome::Gone) };
    let conversation = locked.conversation.clone();
    let row = match key_state(KeyRow::of(transaction.query(read(" FOR UPDATE"), key(&claim)).await?)?, &claim)
    {
        KeyState::Taken(prior) => return Ok(Outcome::Claimed(prior)),
        KeyState::Free(row) => row,
    };
    let Some(question_id) = row.message_id else { return Ok(Outcome::Gone) };
    if claim.attempt.is_some() && conversation.handler == Handler::Human {
        let ending = Ending::ForPeople;
        transaction.effects.keys.ended(id, question_id, ending);
        let message_id = Some(question_id);
        return Ok(Outcome::Claimed(PriorClaim::Done { conversation_id: id, message_id, ending }));
    }
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let question = transaction.query(sql, vec![question_id.into()]).await?;
    let Some(question) = question.into_iter().next() else { return Ok(Outcome::Gone) };
    let mut question = message_read(&mut question.columns("messages"))?;

    let mut params = key(&claim);
    params.push(claim.lease.map(millis).into());
    // Without a lease `lease_until` is 0, a time that is over.
    let extend = |now| {
        format!("UPDATE idempotency SET lease_until = coalesce({now} + $3, 0) WHERE scope = $1 AND key = $2")
    };
    let sql = Sql::per_dialect(extend(DatabaseClock::POSTGRES), extend(DatabaseClock::SQLITE));
    transaction.query(sql, params).await?;
    if let Some(attempt) = claim.attempt {
        let sql =
            "UPDATE messages SET failure = NULL, failed_at = NULL WHERE id = $1 AND failure IS NOT NULL";
        transaction.query(sql, vec![question_id.into()]).await?;
        if question.failure.take().is_some() {
            transaction.effects.events.message_updated(&conversation, question_id, question.is_note());
        }
        let node = transaction.node;
        transaction.effects.asks.open(id, question_id, node, attempt);
    }
    Ok(Outcome::Claimed(PriorClaim::Resumed { conversation, question }))
}

fn key(claim: &Claim) -> Vec<Value> {
    vec![claim.key.scope.as_str().into(), claim.key.key.as_str().into()]
}

/// A row of `idempotency`.
struct KeyRow {
    /// SHA-256 of the first request's body.
    body: Vec<u8>,
    /// Milliseconds until the lease is over; not above 0 where it is over or there is none.
    lease_left: i64,
    conversation_id: Option<ConversationId>,
    message_id: Option<MessageId>,
    /// `None` where it has not.
    ending: Option<Ending>,
}

/// What a later request may do with a key.
enum KeyState {
    Taken(PriorClaim),
    /// The first request failed or was lost: the later one may take over its question.
    Free(KeyRow),
}

/// `lock`: the locking clause for PostgreSQL. SQLite has one writer and needs none.
fn read(lock: &str) -> Sql {
    let read = |now| {
        format!(
            "SELECT body, lease_until - {now}, conversation_id, message_id, done FROM idempotency \
             WHERE scope = $1 AND key = $2 AND created_at >= {now} - {}",
            millis(REMEMBERED)
        )
    };
    Sql::per_dialect(read(DatabaseClock::POSTGRES) + lock, read(DatabaseClock::SQLITE))
}

impl KeyRow {
    /// `None` where the key is not stored, because the request that took it was not committed after all, or is older
    /// than 24 hours.
    fn of(rows: Vec<Row>) -> Result<Option<Self>> {
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let mut columns = row.columns("idempotency");
        Ok(Some(Self {
            body: columns.bytes("body")?,
            lease_left: columns.int("lease_until")?,
            conversation_id: columns.opt_int("conversation_id")?.map(ConversationId),
            message_id: columns.opt_int("message_id")?.map(MessageId),
            ending: ending(columns.int("done")?),
        }))
    }
}

fn key_state(row: Option<KeyRow>, claim: &Claim) -> KeyState {
    let Some(row) = row else {
        return KeyState::Taken(PriorClaim::Running { lease_left: KEY_BUSY, stored: None });
    };
    if row.body != claim.body {
        return KeyState::Taken(PriorClaim::OtherBody);
    }
    match (row.ending, row.conversation_id) {
        (Some(ending), Some(conversation_id)) => {
            KeyState::Taken(PriorClaim::Done { conversation_id, message_id: row.message_id, ending })
        }
        _ if row.lease_left > 0 => KeyState::Taken(PriorClaim::Running {
            lease_left: Duration::from_millis(row.lease_left.unsigned_abs()),
            stored: row.conversation_id.zip(row.message_id),
        }),
        _ => KeyState::Free(row),
    }
}
