//! Batches in doubt: the answer to the commit got lost, so that it is not known whether the batch is committed. The
//! look-up asks by the batch's number. If no batch is stored under that number, the look-up takes it (marks it void),
//! so that the call stores nothing if it arrives later.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use crate::engine::postgres::Server;
use crate::engine::{Error, Result, Row};

/// The constraint of `node_batches` that a batch violates when its number is taken.
pub(super) const NUMBER_TAKEN: &str = "node_batches_pkey";
/// How long the next batches wait for a look-up. After that they are written, and the look-up goes on beside them.
pub(super) const BLOCKING_LOOK_UP_TIME: Duration = Duration::from_secs(1);
/// How long a look-up is retried before the callers get `OutcomeUnknown`. The last attempt may add the time-outs of
/// connecting and of one statement.
pub(super) const IN_DOUBT_TIME: Duration = Duration::from_secs(20);
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

/// The error for a batch whose answer got lost and whose look-up found that it is not committed.
pub(super) fn not_committed() -> Error {
    Error::Unavailable("the connection was lost".into())
}

/// A batch whose commit was not answered.
pub(super) struct InDoubt {
    pub shared: Shared,
    pub server: Server,
    pub number: i64,
}

/// Returns whether the batch is committed, and the columns that its call returned.
const LOOK_UP: &str =
    "SELECT o_committed, o_outcomes, o_conversations, o_messages, o_seqs FROM wicara_look_up_1($1, $2)";

impl InDoubt {
    /// The rows that the batch's call returned, `None` if it is not committed. `OutcomeUnknown` where the database does
    /// not answer within `time`.
    pub async fn look_up(&self, time: Duration) -> Result<Option<Vec<Row>>> {
        let Self { shared, server, number } = self;
        let begin = Instant::now();
        loop {
            let found = async {
                let connection = server.connect_by_key().await?;
                connection.query(LOOK_UP, &[shared.node.into(), (*number).into()]).await
            };
            // In the blocking look-up the next batches wait for this statement.
            let found = match timeout(time.max(BLOCKING_LOOK_UP_TIME), found).await {
                Ok(found) => found,
                Err(_) => Err(Error::Unavailable("the database does not answer".into())),
            };
            match found {
                Ok(rows) => {
                    shared.numbers.settle(*number);
                    let Some(row) = rows.into_iter().next() else { return Ok(None) };
                    let (committed, returned) = row.split_first();
                    return match committed.columns("node_batches").opt_int("void")? {
                        Some(0) => Ok(None),
                        Some(_) => Ok(Some(vec![returned])),
                        None => Err(Error::OutcomeUnknown("this node was forgotten".into())),
                    };
                }
                Err(error) if begin.elapsed() >= time => {
                    if time == IN_DOUBT_TIME {
                        shared.numbers.settle(*number);
                    }
                    return Err(Error::OutcomeUnknown(format!("a commit cannot be looked up: {error}")));
                }
                Err(_) => sleep(LOOK_UP_PAUSE).await,
            }
        }
    }
}
