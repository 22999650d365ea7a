//! A batch whose answer got lost is looked up by its number, never guessed: the look-up takes the number where the call has
//! not done so, so that the call stores nothing when it comes later.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use crate::engine::postgres::Server;
use crate::engine::{Error, Result, Row};

/// The constraint of `node_batches` that says that a batch's number is taken.
pub(super) const NUMBER_TAKEN: &str = "node_batches_pkey";
/// How long a lost answer is looked up while the next batches wait. After it they are written, and it is looked up beside
/// them.
pub(super) const LOOK_UP_AT_ONCE: Duration = Duration::from_secs(1);
/// How long it is looked up before its callers are told that the outcome is not known. The last look may take as long
/// again as connecting and one statement do.
pub(super) const IN_DOUBT: Duration = Duration::from_secs(20);
const IN_DOUBT_PAUSE: Duration = Duration::from_millis(200);

/// Why a batch is refused whose answer got lost, and which is known not to be committed.
pub(super) fn lost() -> Error {
    Error::Unavailable("the connection was lost".into())
}

/// A batch whose answer got lost.
pub(super) struct Doubt {
    pub shared: Shared,
    pub server: Server,
    pub number: i64,
}

/// Each with whether the batch is committed, and what it returned.
const LOOK_UP: &str =
    "SELECT o_committed, o_outcomes, o_conversations, o_messages, o_seqs FROM wicara_look_up_1($1, $2)";

impl Doubt {
    /// What the batch returned, if it is committed. `OutcomeUnknown` where that cannot be found out in time.
    pub async fn look_up(&self, time: Duration) -> Result<Option<Vec<Row>>> {
        let Self { shared, server, number } = self;
        let begin = Instant::now();
        loop {
            let found = async {
                let connection = server.connect_by_key().await?;
                connection.query(LOOK_UP, &[shared.node.into(), (*number).into()]).await
            };
            // At once, the next batches wait behind it.
            let found = match timeout(time.max(LOOK_UP_AT_ONCE), found).await {
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
                    if time == IN_DOUBT {
                        shared.numbers.settle(*number);
                    }
                    return Err(Error::OutcomeUnknown(format!("a commit cannot be looked up: {error}")));
                }
                Err(_) => sleep(IN_DOUBT_PAUSE).await,
            }
        }
    }
}
