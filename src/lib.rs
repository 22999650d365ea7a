//! Wicara keeps the conversations between an organisation's bots and its public.

pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;

mod connection_limit;
mod first_start;
mod http_runtime;
mod metrics_listener;
mod open_store;
mod shutdown;
mod signals;
