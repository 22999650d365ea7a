//! What the tests and the benchmarks need around them; `cargo xtask` shares it with both.

pub mod bench_options;
pub mod chromium;
pub mod nchan;
pub mod postgres;
pub mod wicara;
