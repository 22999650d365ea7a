//! Messages between the nodes of a PostgreSQL: that something was committed, and what is not stored, such as the text of an
//! answer that a bot is giving. Hints alone: what they tell of is found by polling too, since poolers and proxies drop
//! LISTEN.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::postgres::Server;
use super::postgres_connection::Connection;
use super::{Result, Value};

/// NOTIFY takes a lock over its commit: one for all that was committed in this time.
const COMMITTED_PAUSE: Duration = Duration::from_millis(20);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one message. PostgreSQL takes fewer than 8000, of which the node's number needs some.
pub const MAX_MESSAGE: usize = 7900;
/// Messages that wait to be taken; further ones are dropped.
const RECEIVED: usize = 1024;

/// The node's end of the bus.
pub struct Bus {
    server: Server,
    node: i64,
}

impl Bus {
    pub fn new(server: Server, node: i64) -> Self {
        Self { server, node }
    }

    /// Sends and receives until it is dropped. `committed`: waits for a commit of this node. `received`: gets the messages of
    /// other nodes, an empty one for a commit.
    pub async fn run<F: Future<Output = ()>>(
        &self,
        mut outgoing: mpsc::Receiver<String>,
        committed: impl Fn() -> F,
        received: impl Fn(&str),
    ) {
        loop {
            if let Err(error) = self.run_connection(&mut outgoing, &committed, &received).await {
                tracing::debug!(%error, "other nodes are told nothing for a moment");
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn run_connection<F: Future<Output = ()>>(
        &self,
        outgoing: &mut mpsc::Receiver<String>,
        committed: &impl Fn() -> F,
        received: &impl Fn(&str),
    ) -> Result<()> {
        let (sender, mut incoming) = mpsc::channel(RECEIVED);
        let connection = self.server.connect_listening(sender).await?;
        connection.execute("SET synchronous_commit = off; LISTEN wicara").await?;
        // A commit that nobody was told of may have been before.
        let mut due = Some(Instant::now());
        loop {
            tokio::select! {
                message = incoming.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    if let Some(text) = self.of_another(&message) {
                        received(text);
                    }
                }
                Some(text) = outgoing.recv() => self.notify(&connection, &text).await?,
                () = committed(), if due.is_none() => due = Some(Instant::now() + COMMITTED_PAUSE),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.notify(&connection, "").await?;
                }
            }
        }
    }

    async fn notify(&self, connection: &Connection, text: &str) -> Result<()> {
        let message = Value::Text(format!("{} {text}", self.node));
        connection
            .query("SELECT CAST(1 AS bigint) FROM pg_notify('wicara', $1)", &[message])
            .await
            .map(|_| ())
    }

    fn of_another<'a>(&self, message: &'a str) -> Option<&'a str> {
        let (node, text) = message.split_once(' ')?;
        (node != self.node.to_string()).then_some(text)
    }
}
