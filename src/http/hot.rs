//! For `benches/hot.rs` alone.

pub use super::contract::chatbot_api::{ChatListEntry, ChatMessage, Question};
pub use super::contract::conversation_api::Conversation;
pub use super::input::Input;
