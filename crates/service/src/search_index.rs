//! Makes what was stored before there was a search searchable, and what moved to another bot, while the server is at work.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wicara_model::MessageId;
use wicara_store::SearchIndexed;

use crate::Service;

/// Between two lines in the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// The shortest pause between two steps. Longer steps are followed by pauses as long as they were, so that a database that
/// is busy has half of its time for others.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause while another server is at it, or after an error.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks for conversations that another server moved.
const MOVES_INTERVAL: Duration = Duration::from_secs(60);

impl Service {
    /// Returns when everything is searchable.
    pub(super) async fn search_index(&self) {
        let mut told: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let pause = match self.store.search_index_step().await {
                Ok(SearchIndexed::All) => break,
                Ok(SearchIndexed::From(below)) => {
                    if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                        told = Some(began);
                        if below == MessageId(0) {
                            tracing::info!("rooms and users are being made searchable, newest first");
                        } else {
                            tracing::info!(%below, "messages are being made searchable, newest first");
                        }
                    }
                    began.elapsed().max(PAUSE)
                }
                Ok(SearchIndexed::Elsewhere) => LONG_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "messages could not be made searchable; it is tried again");
                    LONG_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
        if told.is_some() {
            tracing::info!("everything is searchable");
        }
    }

    /// Writes the rest of the documents of conversations that moved, also of those that another node or an earlier run moved.
    pub(super) async fn search_moves(&self) {
        loop {
            let began = Instant::now();
            match self.store.search_move_step().await {
                Ok(true) => tokio::time::sleep(began.elapsed().max(PAUSE)).await,
                Ok(false) => {
                    let _ = timeout(MOVES_INTERVAL, self.store.search_moved()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a conversation that moved could not be made searchable; it is tried again");
                    tokio::time::sleep(LONG_PAUSE).await;
                }
            }
        }
    }
}
