//! Everything a user depends on, each on SQLite and on PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on should stop"
)]

mod support;

mod bot;
mod cli;
mod flow;
mod guard;
mod http;
mod nodes;
mod store;
