//! The line that is logged of each request: what it says beside route, status and time is filled in by extractors and
//! handlers as they learn it. It never holds a session id, which is a visitor's key, nor what people write.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, Method};
use wicara_model::{Caller, ConversationId};

/// The target of the lines, by which `WICARA_LOG` selects them: that of the middleware, which ends each request.
const TARGET: &str = "wicara_http::middleware";

/// The entry of one request, an extension of it.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Arc<Entry>);

#[derive(Debug, Default)]
struct Entry {
    caller: OnceLock<LoggedCaller>,
    conversation: OnceLock<ConversationId>,
}

#[derive(Debug)]
struct LoggedCaller {
    /// As in `userId`: `5`, `key-3`.
    id: String,
    /// A person's display name, a key's name.
    name: String,
}

impl<S: Sync> FromRequestParts<S> for AccessLog {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl AccessLog {
    /// The request's entry; one that nobody logs where there is none.
    #[must_use]
    pub fn of(request: &Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_default()
    }

    /// Who calls, once the credentials are verified. A visitor leaves nothing.
    pub fn caller(&self, caller: &Caller) {
        if let Some(author) = caller.author() {
            let _ = self.0.caller.set(LoggedCaller { id: author.id, name: author.name });
        }
    }

    /// The conversation that the request is about, once it is known to be there and to be visible.
    pub fn conversation(&self, id: ConversationId) {
        let _ = self.0.conversation.set(id);
    }

    /// Logs the line. `route`: the template, since a path may hold a session.
    pub fn write(
        &self,
        method: &Method,
        route: Option<&str>,
        status: u16,
        took: Duration,
        address: Option<IpAddr>,
    ) {
        let caller = self.0.caller.get();
        tracing::info!(
            target: TARGET,
            %method,
            route = route.unwrap_or("-"),
            status,
            milliseconds = took.as_millis() as u64,
            address = address.map(tracing::field::display),
            caller = caller.map(|caller| caller.id.as_str()),
            caller_name = caller.map(|caller| caller.name.as_str()),
            conversation = self.0.conversation.get().map(|id| id.0),
            "answered"
        );
    }
}
