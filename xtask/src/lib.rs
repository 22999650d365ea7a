//! What the tests need around them; `cargo xtask` and the integration tests share it.

pub mod postgres;
