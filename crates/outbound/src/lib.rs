//! HTTP outward, to servers that are not trusted: a client that reads no more than it is told, addresses that may be
//! called, server-sent events, when to try again and when to leave a server alone.

mod addresses;
mod backoff;
mod breaker;
mod client;
mod error;
pub mod sse;

pub use addresses::check as check_address;
pub use backoff::Backoff;
pub use breaker::{Breaker, Pass, Suspended};
pub use client::{Client, Reply, below, cause, client_for, host, parse_url, secret_header};
pub use error::{Error, ErrorText};
