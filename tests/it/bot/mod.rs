//! Bots as the server meets them.

mod failures;
mod history;
mod hostile;
mod streams;
