//! For `benches/hot.rs` alone.

pub use super::langflow::hear as langflow_hear;
pub use super::openai::hear as openai_hear;
