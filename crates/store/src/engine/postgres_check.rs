//! Checks at the start whether this program can work with a PostgreSQL database: the encoding of its texts, and that each
//! connection is a session of its own.

use tokio::time::timeout;

use super::postgres::{CONNECT_TIMEOUT, Server};
use super::postgres_connection::Connection;
use super::{Error, Result};

/// The order in which two connections begin a transaction, round by round. A pooler in transaction mode gives out again
/// the session that was returned last or first; in one of these rounds a connection so gets the other's.
const ROUNDS: [[usize; 2]; 3] = [[0, 1], [1, 0], [0, 1]];

const POOLER: &str = "the address leads to a pooler in transaction or statement mode, such as PgBouncer's pool_mode = \
                      transaction: it gives one connection's locks and settings to another. Name the database itself, or \
                      a pooler in session mode";
/// What PgBouncer answers to BEGIN in statement mode.
const STATEMENT_POOLING: &str = "statement pooling mode";

/// `Setup` for another encoding than UTF-8, and for a pooler that shares sessions between connections.
pub async fn check(server: &Server) -> Result<()> {
    let connections = [server.connect_plain().await?, server.connect_plain().await?];
    let encoding = connections[0].text("SELECT current_setting('server_encoding')").await?;
    if encoding != "UTF8" {
        return Err(Error::Setup(format!(
            "the database keeps texts as {encoding}, which cannot hold every message: create one with CREATE DATABASE \
             name ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    let mut sessions = [None, None];
    for order in ROUNDS {
        for (position, index) in order.into_iter().enumerate() {
            let begun = timeout(CONNECT_TIMEOUT, session_in_transaction(&connections[index])).await;
            let session = match begun {
                Ok(Err(error)) if error.to_string().contains(STATEMENT_POOLING) => {
                    return Err(Error::Setup(POOLER.into()));
                }
                Ok(session) => session?,
                // The other connection's transaction has the only session there is.
                Err(_) if position > 0 => return Err(Error::Setup(POOLER.into())),
                Err(_) => return Err(Error::Unavailable("beginning a transaction took too long".into())),
            };
            if sessions[index].is_some_and(|before| before != session) {
                return Err(Error::Setup(POOLER.into()));
            }
            sessions[index] = Some(session);
        }
        for connection in &connections {
            connection.execute("COMMIT").await?;
        }
    }
    Ok(())
}

/// Begins a transaction; returns the process of the session that it is in.
async fn session_in_transaction(connection: &Connection) -> Result<i64> {
    connection.execute("BEGIN").await?;
    let process = connection.text("SELECT pg_backend_pid()").await?;
    process.parse().map_err(|_| Error::Database("pg_backend_pid() is no number".into()))
}
