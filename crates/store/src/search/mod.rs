//! Search: over the documents that `effects/search.rs` keeps. Both engines find the same: the words come from `wicara_search`,
//! and which index is walked, and how, is written here and in a function of the migrations, never chosen by a planner.

mod conversations;
mod documents;
mod index;
mod messages;
mod syntax;

pub use conversations::{ConversationSearch, Searched};
pub use index::SearchIndexed;
pub use messages::MessageSearch;

pub(super) use index::search_move;

/// What made a search find a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hit {
    /// A message: the newest that matches.
    Message(wicara_model::MessageId),
    /// Its room or its user.
    Names,
}
