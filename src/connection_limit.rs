//! How many client connections may be open at once, by the file descriptors that the system grants.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of connections besides streams, where the system grants enough descriptors.
const MAX_CONNECTIONS: usize = 4096;
/// The limit however few descriptors the system grants; of streams as well.
const MIN_CONNECTIONS: usize = 64;
/// Descriptors for the database, the log and files, beside one for each outbound call.
const RESERVED_DESCRIPTORS: usize = 128;

/// Limits on the connections of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections whose response is no stream of the feed.
    pub connections: usize,
    /// Connections whose response is one.
    pub streams: usize,
}

/// Raises the process's limit of descriptors to the most that the system grants, and returns the limits of client
/// connections. `other_connections`: descriptors for calls to bots and for the listener of metrics. `streams`: as many as
/// the configuration allows. The default of most systems leaves about a thousand for clients.
pub fn raise_and_compute(other_connections: usize, streams: usize) -> ConnectionLimits {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let granted = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let reserved = RESERVED_DESCRIPTORS.saturating_add(other_connections);
    let available = granted.unwrap_or(usize::MAX).saturating_sub(reserved);
    let limits = share(available, streams);
    if limits.connections < MAX_CONNECTIONS {
        tracing::warn!(
            connections = limits.connections,
            streams = limits.streams,
            "the limit of open files leaves room for few clients"
        );
    } else if limits.streams < streams && streams != usize::MAX {
        tracing::warn!(
            streams = limits.streams,
            wanted = streams,
            "the limit of open files leaves room for fewer streams than limits.streams"
        );
    }
    limits
}

/// Streams get what other connections leave; where that is little, each gets half.
fn share(available: usize, streams: usize) -> ConnectionLimits {
    let connections = available.saturating_sub(streams).max(available / 2);
    let connections = connections.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
    let left = available.saturating_sub(connections).max(MIN_CONNECTIONS);
    ConnectionLimits { connections, streams: streams.min(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_other_connections_share_the_descriptors() {
        for (available, streams, expected) in [
            (1_000_000, 20_000, (4096, 20_000)),
            (1_000_000, usize::MAX, (4096, 995_904)),
            (20_000, 20_000, (4096, 15_904)),
            (5000, 20_000, (2500, 2500)),
            (5000, 1000, (4000, 1000)),
            (800, 20_000, (400, 400)),
            (0, 20_000, (64, 64)),
            (0, 5, (64, 5)),
        ] {
            let ConnectionLimits { connections, streams: granted } = share(available, streams);
            assert_eq!((connections, granted), expected, "{available} for {streams}");
        }
    }
}
