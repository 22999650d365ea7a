//! `wicara openapi`

use super::{Failure, print};

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara openapi > openapi.json

A running server shows the same at /api/openapi.json.";

pub(super) fn run() -> Result<(), Failure> {
    print(&format!("{}\n", wicara_http::openapi_json()))
}
