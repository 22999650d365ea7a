//! Why the store refuses: one error type for both databases, its variants chosen by what a caller can do about them.

/// Why a statement, or the transaction that it belongs to, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A unique name is taken, or a referenced row does not exist.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The database is unreachable, read-only, full or overloaded, or a queue of this server is full. Nothing was
    /// stored.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses this statement for now: it exceeded the statement timeout, or an operator's trigger raised
    /// an error. Other statements may be accepted. Nothing was stored.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// Another database session holds a row lock for longer than the lock timeout. Nothing was stored.
    #[error("a row is locked: {0}")]
    Locked(String),
    /// The transaction is in doubt: the answer to its commit got lost, and looking the outcome up failed too. It may be
    /// stored.
    #[error("the outcome is not known: {0}")]
    OutcomeUnknown(String),
    /// A stored value does not fit the type of its column.
    #[error("{table}.{column} holds {found}")]
    Corrupt { table: &'static str, column: &'static str, found: String },
    /// This program cannot work with the schema or the configuration. Only at start.
    #[error("{0}")]
    Setup(String),
    /// A defect: of a statement of this program, or of the database.
    #[error("database error: {0}")]
    Database(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether a retry may succeed without anybody changing the request, the configuration or the data.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Refused(_) | Self::Locked(_) | Self::OutcomeUnknown(_))
    }
}
