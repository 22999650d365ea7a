//! What the tests need around them; `cargo xtask` and the tests share it.

pub mod postgres;
pub mod wicara;
