//! The id at the end of a path.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// The id as text. The handler parses it, since each document has its own answer to a malformed one.
pub struct PathId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // An id that is not UTF-8 becomes the empty one, which is malformed too.
        let id = Path::from_request_parts(parts, state).await.map(|Path(id)| id);
        Ok(Self(id.unwrap_or_default()))
    }
}
