//! The feed: what changed, in the order of commits. Readers find it complete up to the number that a read has reached,
//! since numbers are given under a lock that is held until the commit is visible.

use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::mpsc;
use wicara_model::{Event, EventNumber, Timestamp};

use crate::Store;
use crate::effects::{FIRST_KIND_FOR_SERVERS, change_read};
use crate::engine::{DatabaseClock, Error, Lane, Result, Sql, millis};
use crate::transaction::Transaction;

/// Rows of the database in one read: events on SQLite, batches of up to a few thousand events on PostgreSQL.
const EVENTS_READ: usize = 1024;
const BATCHES_READ: usize = 32;

/// Events after a number.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// In the order of their numbers.
    pub events: Vec<Event>,
    /// The number up to which `events` is complete.
    pub reached: EventNumber,
    /// Whether there were more events than the read returned.
    pub has_more: bool,
    /// The newest event of the database.
    pub head: EventNumber,
    /// The number before the oldest event that is kept.
    pub dropped: EventNumber,
}

/// Which events a read returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsOf {
    All,
    /// Those for the servers themselves ([`Change::is_for_servers`](wicara_model::Change::is_for_servers)); on
    /// PostgreSQL with others of the same batches.
    Servers,
}

impl Store {
    /// The events after a number, oldest first.
    pub async fn event_list(&self, after: EventNumber, of: EventsOf) -> Result<EventPage> {
        let of_all = of == EventsOf::All;
        let params = vec![after.into(), of_all.into()];
        let rows = self.inner.reads.query(Lane::Continuation, &*LIST, params).await?;
        let limit = if self.is_shared() { BATCHES_READ } else { EVENTS_READ };
        let mut page =
            EventPage { events: Vec::new(), reached: after, has_more: false, head: after, dropped: after };
        // Of the database's rows; on PostgreSQL each is a batch.
        let (mut count, mut last_read) = (0, after);
        for row in rows {
            let mut columns = row.columns("events");
            page.head = EventNumber(columns.int("head")?);
            page.dropped = EventNumber(columns.int("dropped")?);
            let Some(last) = columns.opt_int("last")?.map(EventNumber) else { break };
            if last > last_read {
                (count, last_read) = (count + 1, last);
            }
            let (number, at) = (EventNumber(columns.int("number")?), Timestamp(columns.int("at")?));
            if number > after
                && let Some(change) = change_read(&mut columns)?
            {
                page.events.push(Event { number, at, change });
            }
        }
        page.has_more = count == limit;
        page.reached = if page.has_more { last_read } else { page.head };
        Ok(page)
    }

    /// The random word that names this database's feed, with what tells copies of the database apart: PostgreSQL's system,
    /// timeline and database where the role may read them, SQLite's file.
    pub async fn event_epoch(&self) -> Result<String> {
        let sql = Sql::per_dialect(
            "SELECT epoch || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database()) || ' ' || \
                 CASE WHEN has_function_privilege('pg_control_system()', 'execute') \
                 THEN (SELECT CAST(system_identifier AS text) FROM pg_control_system()) ELSE '' END || ' ' || \
                 CASE WHEN has_function_privilege('pg_control_checkpoint()', 'execute') \
                 THEN (SELECT CAST(timeline_id AS text) FROM pg_control_checkpoint()) ELSE '' END FROM feed",
            "SELECT epoch FROM feed",
        );
        let rows = self.inner.reads.query(Lane::Continuation, sql, vec![]).await?;
        let word =
            rows.into_iter().next().map_or(Ok(String::new()), |row| row.columns("feed").text("epoch"))?;
        Ok(match &self.inner.file {
            Some(path) => {
                let file = std::fs::metadata(path).map_err(|error| Error::Unavailable(error.to_string()))?;
                format!("{word} {} {}", file.dev(), file.ino())
            }
            None => word,
        })
    }

    /// Waits until this process has committed something, or was told that another node has, since the last call returned.
    /// For one task alone.
    pub async fn committed(&self) {
        self.inner.writer.committed().follower.notified().await;
    }

    /// Sends messages to the other nodes of the database, and hands theirs to `received`, until it is dropped. They may get
    /// lost. A message has at most [`MAX_BUS_MESSAGE`] bytes. SQLite has no other nodes.
    pub async fn bus_run(&self, outgoing: mpsc::Receiver<String>, received: impl Fn(&str)) {
        let Some(bus) = &self.inner.bus else { return std::future::pending().await };
        let committed = self.inner.writer.committed();
        let received = |message: &str| match message {
            "" => committed.follower.notify_one(),
            message => received(message),
        };
        bus.run(outgoing, || committed.bus.notified(), received).await
    }

    /// Drops the oldest events that were stored longer ago than `keep`, by the database's clock, but never the newest. In
    /// steps, so that every transaction is short.
    pub async fn event_expire(&self, keep: Duration) -> Result<()> {
        while self
            .change_queued(None, move |transaction| Box::pin(async move { expire(transaction, keep).await }))
            .await?
        {}
        Ok(())
    }
}

/// Drops a step; whether there may be more.
async fn expire(transaction: &Transaction<'_>, keep: Duration) -> Result<bool> {
    let rows = transaction.query(&*EXPIRE, vec![millis(keep).into()]).await?;
    let dropped = rows.into_iter().map(|row| row.int("events", "last")).collect::<Result<Vec<_>>>()?;
    let Some(&last) = dropped.iter().max() else { return Ok(false) };
    transaction.query("UPDATE feed SET dropped = $1", vec![last.into()]).await?;
    Ok(dropped.len() == EXPIRED_AT_ONCE)
}

/// Rows dropped in one transaction.
const EXPIRED_AT_ONCE: usize = 2000;

static LIST: LazyLock<Sql> = LazyLock::new(|| {
    // One row at least, for the head; the head and the events are of one snapshot.
    Sql::per_dialect(
        format!(
            "SELECT bounds.head, bounds.dropped, batch.last, batch.last - cardinality(batch.kind) + ordinal AS number, \
                 batch.at, event.kind, event.conversation_id, event.message_id, event.audience, event.audience_before, \
                 event.shown \
             FROM (SELECT coalesce((SELECT max(last) FROM event_batches), 0) AS head, \
                 dropped FROM feed) AS bounds \
             LEFT JOIN LATERAL (SELECT * FROM event_batches WHERE last > $1 AND (for_servers = 1 OR $2 = CAST(1 AS bigint)) \
                 ORDER BY last LIMIT {BATCHES_READ}) AS batch ON true \
             LEFT JOIN LATERAL unnest(batch.kind, batch.conversation_id, batch.message_id, batch.audience, \
                 batch.audience_before, batch.shown) WITH ORDINALITY AS event (kind, conversation_id, message_id, audience, \
                 audience_before, shown, ordinal) ON true \
             ORDER BY batch.last, ordinal"
        ),
        format!(
            "SELECT bounds.head, bounds.dropped, number AS last, number, at, kind, conversation_id, message_id, audience, \
                 audience_before, shown \
             FROM (SELECT coalesce((SELECT max(number) FROM events), 0) AS head, \
                 dropped FROM feed) AS bounds \
             LEFT JOIN (SELECT * FROM events WHERE number > $1 AND (kind >= {FIRST_KIND_FOR_SERVERS} OR $2 = 1) \
                 ORDER BY number LIMIT {EVENTS_READ}) AS event ON true \
             ORDER BY number"
        ),
    )
});

static EXPIRE: LazyLock<Sql> = LazyLock::new(|| {
    let (postgres, sqlite) = (DatabaseClock::POSTGRES, DatabaseClock::SQLITE);
    Sql::per_dialect(
        format!(
            "DELETE FROM event_batches WHERE last = ANY(ARRAY(SELECT last FROM event_batches WHERE last > (SELECT dropped FROM feed) \
                 ORDER BY last LIMIT {EXPIRED_AT_ONCE})) AND at < {postgres} - $1 AND last < (SELECT max(last) FROM event_batches) \
             RETURNING last"
        ),
        format!(
            "DELETE FROM events WHERE number IN (SELECT number FROM events WHERE number > (SELECT dropped FROM feed) \
                 ORDER BY number LIMIT {EXPIRED_AT_ONCE}) \
                 AND at < {sqlite} - $1 AND number < (SELECT max(number) FROM events) RETURNING number"
        ),
    )
});
