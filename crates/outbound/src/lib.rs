//! HTTP calls to servers that are not trusted: a client with limits, a check of the addresses that it may connect to,
//! server-sent events, backoff between retries and a circuit breaker.

mod addresses;
mod backoff;
mod breaker;
mod charset;
mod client;
mod connections;
mod encoding;
mod error;
mod nesting;
pub mod sse;

pub use addresses::check as check_address;
pub use backoff::Backoff;
pub use breaker::{Breaker, BreakerPermit, BreakerState, Suspended};
pub use charset::in_utf8;
pub use client::{
    Client, Reply, below, cause, client_for, host, parse_url, secret_header, shortly, whole_text,
};
pub use error::{Error, ErrorText, NO_FRAMES, WEB_PAGE};
pub use nesting::Nesting;
