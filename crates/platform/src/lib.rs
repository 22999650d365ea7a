//! Access to the operating system: time, randomness and the TLS provider. Time and randomness are passed in as values, so that
//! tests can replace them.

mod clock;
mod random;
pub mod tls;

pub use clock::Clock;
pub use random::Random;
