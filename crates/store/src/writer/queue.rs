//! The queue of appends on PostgreSQL: forms batches bounded by number and bytes. Appends whose conversation another
//! database session has locked come back to it for another try.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wicara_metrics::StoreMetrics;
use wicara_model::{ConversationId, NewMessage};

use super::{BATCH, BATCH_BYTES, WriteRequest};
use crate::commands::PendingAppend;
use crate::engine::Error;

/// How long a command is retried while another session locks its conversation.
pub(super) const LOCKED_TIME: Duration = Duration::from_secs(2);
/// The pause between two tries where no other command waits.
pub(super) const LOCKED_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn conversation(append: &PendingAppend) -> Option<ConversationId> {
    append.append.target.conversation()
}

pub(super) fn bytes(append: &PendingAppend) -> usize {
    append.append.messages.iter().map(NewMessage::bytes).sum()
}

/// The error for a command whose conversation stayed locked for [`LOCKED_TIME`].
pub(super) fn locked_too_long() -> Error {
    Error::Locked("another session has locked the conversation".into())
}

/// An append in the queue.
pub(super) struct QueuedAppend {
    pub pending: PendingAppend,
    /// When a try first met the lock of another session on its conversation.
    pub locked_since: Option<Instant>,
}

/// The appends of one writer.
pub(super) struct Queue {
    requests: mpsc::Receiver<WriteRequest>,
    /// Appends taken from the channel, in order; those whose conversations are locked come first.
    waiting: VecDeque<QueuedAppend>,
    closing: Option<oneshot::Sender<()>>,
}

impl Queue {
    pub fn new(requests: mpsc::Receiver<WriteRequest>) -> Self {
        Self { requests, waiting: VecDeque::new(), closing: None }
    }

    /// The next batch; `None` when the queue is closed and empty. Waits while the queue is empty, and for
    /// [`LOCKED_PAUSE`] where all queued appends have locked conversations. The batch may be empty.
    pub async fn next(&mut self, metrics: &StoreMetrics) -> Option<Vec<QueuedAppend>> {
        if self.waiting.len() < BATCH {
            let mut requests = Vec::new();
            let capacity = BATCH - self.waiting.len();
            if self.waiting.is_empty() {
                // Returns at once where the channel is closed and empty.
                self.requests.recv_many(&mut requests, capacity).await;
            } else if self.waiting.iter().all(|waiting| waiting.locked_since.is_some()) {
                let more = async {
                    // A closed and empty channel returns 0 at once: without this the loop would not pause.
                    if self.requests.recv_many(&mut requests, capacity).await == 0 {
                        std::future::pending::<()>().await;
                    }
                };
                let _ = tokio::time::timeout(LOCKED_PAUSE, more).await;
            } else {
                while requests.len() < capacity
                    && let Ok(request) = self.requests.try_recv()
                {
                    requests.push(request);
                }
            }
            metrics.dequeued(
                requests.iter().filter(|request| !matches!(request, WriteRequest::Close(_))).count(),
            );
            for request in requests {
                match request {
                    WriteRequest::Append(append) => {
                        self.waiting.push_back(QueuedAppend { pending: append, locked_since: None })
                    }
                    WriteRequest::Close(done) => {
                        // Refuses new requests; those in the channel are still received and written.
                        self.requests.close();
                        self.closing = Some(done);
                    }
                    WriteRequest::Change(change) | WriteRequest::ChangeInOwnTransaction(change) => {
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
            size += bytes(&first.pending);
            if batch.len() == BATCH || (size > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        let is_ended = self.requests.is_closed() && self.requests.is_empty();
        (!is_ended || !batch.is_empty()).then_some(batch)
    }

    /// Puts appends with locked conversations at the front, so that no later append to the same conversation overtakes
    /// them. Refuses those that have been locked for [`LOCKED_TIME`].
    pub fn put_back(&mut self, locked: Vec<QueuedAppend>) {
        let now = Instant::now();
        for QueuedAppend { pending, locked_since } in locked.into_iter().rev() {
            let since = locked_since.unwrap_or(now);
            if now.duration_since(since) >= LOCKED_TIME {
                pending.answer(Err(locked_too_long()));
            } else {
                self.waiting.push_front(QueuedAppend { pending, locked_since: Some(since) });
            }
        }
    }

    /// The channel that [`Writer::close`](super::Writer::close) waits on, where it was called.
    pub fn closing(self) -> Option<oneshot::Sender<()>> {
        self.closing
    }
}
