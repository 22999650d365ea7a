//! Bots as the server meets them.

mod history;
mod hostile;
mod streams;
