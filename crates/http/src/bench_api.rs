//! What `benches/hot.rs` measures. No other code uses it.

pub use crate::contract::chatbot_api::{ChatListEntry, ChatMessage, Question};
pub use crate::contract::conversation_api::Conversation;
pub use crate::input::Input;
