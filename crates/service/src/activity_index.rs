//! Makes what lists read for conversations that were stored before there were such lists, while the server is at work.

use std::time::Duration;

use tokio::time::Instant;
use wicara_store::ActivityIndexed;

use crate::Service;

/// Between two lines in the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// The shortest pause between two steps. Longer steps are followed by pauses as long as they were, so that a database that
/// is busy has half of its time for others.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause while another server is at it, or after an error.
const LONG_PAUSE: Duration = Duration::from_secs(5);

impl Service {
    /// Returns when every conversation has its row.
    pub(super) async fn activity_index(&self) {
        let mut told: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let pause = match self.store.activity_index_step().await {
                Ok(ActivityIndexed::All) => break,
                Ok(ActivityIndexed::From(below)) => {
                    if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                        told = Some(began);
                        tracing::info!(%below, "conversations are being indexed for lists by activity, newest first");
                    }
                    began.elapsed().max(PAUSE)
                }
                Ok(ActivityIndexed::Elsewhere) => LONG_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "conversations could not be indexed for lists; it is tried again");
                    LONG_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
        if told.is_some() {
            tracing::info!("all conversations are indexed for lists by activity");
        }
    }
}
