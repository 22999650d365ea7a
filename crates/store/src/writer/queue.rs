//! What stands before a writer: takes appends out of its channel by their number and bytes, and keeps those whose
//! conversation another session has locked.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wicara_metrics::StoreMetrics;
use wicara_model::{ConversationId, NewMessage};

use super::{BATCH, BATCH_BYTES, Job};
use crate::commands::Appending;
use crate::engine::Error;

/// How long an append is tried again whose conversation another session has locked.
pub(super) const LOCKED_TIME: Duration = Duration::from_secs(2);
/// How often it is, where nothing else is to be written.
pub(super) const LOCKED_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn conversation(appending: &Appending) -> Option<ConversationId> {
    appending.append.target.conversation()
}

pub(super) fn bytes(appending: &Appending) -> usize {
    appending.append.messages.iter().map(NewMessage::bytes).sum()
}

/// Why an append is refused whose conversation another session has locked.
pub(super) fn locked_too_long() -> Error {
    Error::Locked("another session has locked the conversation".into())
}

/// An append that waits, and since when its conversation is known to be locked.
pub(super) struct Waiting {
    pub appending: Appending,
    pub locked_since: Option<Instant>,
}

/// The appends of one writer.
pub(super) struct Queue {
    jobs: mpsc::Receiver<Job>,
    /// Taken out of the channel, in their order: first those whose conversations are locked.
    waiting: VecDeque<Waiting>,
    closing: Option<oneshot::Sender<()>>,
}

impl Queue {
    pub fn new(jobs: mpsc::Receiver<Job>) -> Self {
        Self { jobs, waiting: VecDeque::new(), closing: None }
    }

    /// The next batch; `None` when all is written and the queue is closed. Waits where there is nothing, or nothing but
    /// locked conversations.
    pub async fn next(&mut self, metrics: &StoreMetrics) -> Option<Vec<Waiting>> {
        if self.waiting.len() < BATCH {
            let mut jobs = Vec::new();
            let room = BATCH - self.waiting.len();
            if self.waiting.is_empty() {
                // Returns at once where the channel is closed and empty.
                self.jobs.recv_many(&mut jobs, room).await;
            } else if self.waiting.iter().all(|waiting| waiting.locked_since.is_some()) {
                let more = async {
                    // Nothing comes out of a channel that is closed and empty, at once.
                    if self.jobs.recv_many(&mut jobs, room).await == 0 {
                        std::future::pending::<()>().await;
                    }
                };
                let _ = tokio::time::timeout(LOCKED_PAUSE, more).await;
            } else {
                while jobs.len() < room
                    && let Ok(job) = self.jobs.try_recv()
                {
                    jobs.push(job);
                }
            }
            metrics.dequeued(jobs.iter().filter(|job| !matches!(job, Job::Close(_))).count());
            for job in jobs {
                match job {
                    Job::Append(appending) => {
                        self.waiting.push_back(Waiting { appending, locked_since: None })
                    }
                    Job::Close(done) => {
                        // What is in the channel already is written; no more comes.
                        self.jobs.close();
                        self.closing = Some(done);
                    }
                    Job::Change(change) | Job::Alone(change) => {
                        change.answer(Err(Error::Database("a change came to the appends".into())));
                    }
                }
            }
        } else if self.waiting.iter().all(|waiting| waiting.locked_since.is_some()) {
            tokio::time::sleep(LOCKED_PAUSE).await;
        }
        let mut batch = Vec::with_capacity(self.waiting.len().min(BATCH));
        let mut size = 0;
        while let Some(first) = self.waiting.front() {
            size += bytes(&first.appending);
            if batch.len() == BATCH || (size > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        let is_over = self.jobs.is_closed() && self.jobs.is_empty();
        (!is_over || !batch.is_empty()).then_some(batch)
    }

    /// Appends whose conversations are locked go to the front, so that nothing in their conversations overtakes them;
    /// those that were tried for long enough are refused.
    pub fn put_back(&mut self, locked: Vec<Waiting>) {
        let now = Instant::now();
        for Waiting { appending, locked_since } in locked.into_iter().rev() {
            let since = locked_since.unwrap_or(now);
            if now.duration_since(since) >= LOCKED_TIME {
                appending.answer(Err(locked_too_long()));
            } else {
                self.waiting.push_front(Waiting { appending, locked_since: Some(since) });
            }
        }
    }

    /// To be told when all is done.
    pub fn closing(self) -> Option<oneshot::Sender<()>> {
        self.closing
    }
}
