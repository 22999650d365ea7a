//! Wicara keeps the conversations between an organisation's bots and its public.

pub mod cli;

pub mod app;
pub mod config;
pub mod telemetry;

pub mod http;

pub mod service;

pub mod bot;
pub mod store;
pub mod tls;

pub mod metrics;

pub mod model;

#[cfg(test)]
mod fuzz;
