//! What `benches/hot.rs` needs of this crate beyond its public API.

pub use crate::langflow::decode as decode_langflow;
pub use crate::openai::decode as decode_openai;
