//! Wicara keeps the conversations between an organisation's bots and its public.

pub mod cli;

pub mod app;
pub mod config;
pub mod telemetry;
