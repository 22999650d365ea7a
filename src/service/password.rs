//! Passwords: Argon2id, which is slow and takes memory on purpose, so only a few at a time and never on a
//! thread that serves requests.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::{Error, Result};
use crate::model::Random;

/// Hashes computed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Logins that may wait for their turn.
const WAITING: usize = 64;

pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// What a password is checked against when nobody has the e-mail, so that both take the same time.
    nobody: OnceLock<String>,
}

impl Passwords {
    pub fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            nobody: OnceLock::new(),
        }
    }

    /// The password's hash in PHC form.
    pub async fn hash(&self, password: String, random: &Random) -> Result<String> {
        let salt = random.bytes();
        self.run(move || hash(&password, &salt)).await?
    }

    /// Whether it is the password behind the hash; without a hash it never is, and takes as long to say so.
    pub async fn verify(&self, password: String, stored: Option<&str>, random: &Random) -> Result<bool> {
        let known = stored.is_some();
        let stored = match stored {
            Some(stored) => stored.to_owned(),
            None => self.nobody(random).await?,
        };
        self.run(move || {
            let stored = PasswordHash::new(&stored).map_err(|error| {
                Error::Internal(format!("a stored password hash is no PHC string: {error}"))
            })?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok() && known)
        })
        .await?
    }

    async fn nobody(&self, random: &Random) -> Result<String> {
        if let Some(hash) = self.nobody.get() {
            return Ok(hash.clone());
        }
        let hash = self.hash(random.token(), random).await?;
        Ok(self.nobody.get_or_init(|| hash).clone())
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.places.try_acquire().map_err(|_| Error::Unavailable)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| Error::Internal(format!("hashing a password failed: {error}")))
    }
}

fn hash(password: &str, salt: &[u8; 32]) -> Result<String> {
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt[..16])
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Internal(format!("hashing a password failed: {error}")))
}
