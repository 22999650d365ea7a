//! What commands share that call a running server with a key.

use std::time::Duration;

use reqwest::Url;

use super::Failure;
use super::ask::not_wicara;
use crate::config;

/// The environment variable that holds the key.
const KEY: &str = "WICARA_KEY";

/// The limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The key that the environment holds. `what`: what needs it, to be named where there is none.
pub(super) fn key(what: &str) -> Result<String, Failure> {
    let key = config::secret(KEY).map_err(|error| Failure::usage(error.to_string()))?;
    key.filter(|key| !key.trim().is_empty()).ok_or_else(|| {
        Failure::usage(format!("{KEY} is not set: {what} needs a key, which `wicara key add NAME` makes"))
    })
}

/// A client whose requests fail where the server is silent for so long.
pub(super) fn client(server: &Url, silence: Duration) -> Result<reqwest::Client, Failure> {
    let client = wicara_outbound::client_for(server).connect_timeout(CONNECT_TIMEOUT).read_timeout(silence);
    client.build().map_err(|error| {
        Failure::failed(format!("no HTTP client can be made: {}", wicara_outbound::cause(error)))
    })
}

/// What a status other than 200 means that is the same for every such command.
pub(super) fn refusal(server: &Url, status: u16) -> Failure {
    Failure::failed(match status {
        401 => format!(
            "the server at {server} does not know the key in {KEY}: `wicara key list` shows those that it knows"
        ),
        404 | 405 => return not_wicara(server),
        503 => format!("the server at {server} is busy, stops, or its database is away"),
        // Of a proxy, perhaps, whose server is away.
        500.. => format!("the server at {server} answered with status {status}"),
        _ => format!("the server at {server} answered with status {status}: see its log, or check --server"),
    })
}
