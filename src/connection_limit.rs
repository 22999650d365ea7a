//! How many client connections may be open at once, by the file descriptors that the system grants.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit where the system grants enough descriptors.
const MAX_CONNECTIONS: usize = 4096;
/// The limit however few descriptors the system grants.
const MIN_CONNECTIONS: usize = 64;
/// Descriptors for the database, the log and files, beside one for each outbound call.
const RESERVED_DESCRIPTORS: usize = 128;

/// Raises the process's limit of descriptors to the most that the system grants, and returns the limit of client
/// connections. `other_connections`: descriptors for calls to bots and for the listener of metrics. The default of most
/// systems leaves about a thousand for clients.
pub fn raise_and_compute(other_connections: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let granted = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let reserved = RESERVED_DESCRIPTORS.saturating_add(other_connections);
    let available = granted.unwrap_or(usize::MAX).saturating_sub(reserved);
    if available < MAX_CONNECTIONS {
        tracing::warn!(
            connections = available.max(MIN_CONNECTIONS),
            "the limit of open files leaves room for few clients"
        );
    }
    available.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}
