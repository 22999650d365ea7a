//! What the program has of the system that it runs on: time, randomness and the TLS provider. Time and randomness are
//! passed in, so that tests decide about them.

mod clock;
mod random;
pub mod tls;

pub use clock::Clock;
pub use random::Random;
