//! Randomness, passed in so that tests can repeat it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A source of random bytes.
#[derive(Debug, Clone)]
pub enum Random {
    /// The operating system.
    System,
    /// For tests: the hash of a counter, so the same bytes in each run.
    Counter(Arc<AtomicU64>),
}

impl Random {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only call that asks the system for randomness")]
    pub fn bytes(&self) -> [u8; 32] {
        match self {
            Random::System => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
                bytes
            }
            Random::Counter(next) => {
                Sha256::digest(next.fetch_add(1, Ordering::Relaxed).to_be_bytes()).into()
            }
        }
    }

    /// A version 4 UUID: a session id.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.bytes()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// 256 random bits in 64 hexadecimal digits: the secret part of a key or a session token.
    #[must_use]
    pub fn token(&self) -> String {
        use std::fmt::Write;
        self.bytes().iter().fold(String::with_capacity(64), |mut token, byte| {
            let _ = write!(token, "{byte:02x}");
            token
        })
    }
}
