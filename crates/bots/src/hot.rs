//! For `benches/hot.rs` alone.

pub use crate::langflow::hear as langflow_hear;
pub use crate::openai::hear as openai_hear;
