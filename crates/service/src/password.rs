//! Passwords: Argon2id, which is slow and takes memory on purpose, so only a few at a time and never on a
//! thread that serves requests.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use wicara_platform::Random;

use crate::{Error, Result};

/// Hashes computed at once: each takes 19 MiB and a core.
const CONCURRENT: usize = 2;
/// Logins that may wait for one of these; beyond that they are refused.
const QUEUED: usize = 64;

/// Verified where the e-mail is unknown, so that the answer takes as long as for a known one. It has the parameters of
/// [`hash`] and matches no password.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(super) struct Passwords {
    permits: Arc<Semaphore>,
    queue_slots: Arc<Semaphore>,
}

impl Passwords {
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(CONCURRENT)),
            queue_slots: Arc::new(Semaphore::new(CONCURRENT + QUEUED)),
        }
    }

    /// The password's hash in PHC form.
    pub async fn hash(&self, password: String, random: &Random) -> Result<String> {
        let salt = random.bytes();
        self.run(move || hash(&password, &salt)).await?
    }

    /// Whether the password matches the hash. Without a hash it does not, after the same work.
    pub async fn verify(&self, password: String, stored: Option<&str>) -> Result<bool> {
        let is_known = stored.is_some();
        let stored = stored.unwrap_or(DUMMY_HASH).to_owned();
        self.run(move || {
            let stored = PasswordHash::new(&stored).map_err(|error| {
                Error::Internal(format!("a stored password hash is no PHC string: {error}"))
            })?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok() && is_known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _slot = self.queue_slots.try_acquire().map_err(|_| Error::Unavailable)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| Error::Internal("hashing a password broke off".to_owned()))
    }
}

fn hash(password: &str, salt: &[u8; 32]) -> Result<String> {
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt[..16])
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Internal(format!("hashing a password failed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With other parameters, the time of an answer would tell whether the e-mail is known.
    #[test]
    fn nobody_has_a_hash_like_everybody() {
        let form = |hash: &str| {
            let (parameters, digest) = hash.rsplit_once('$').unwrap();
            let (parameters, salt) = parameters.rsplit_once('$').unwrap();
            (parameters.to_owned(), salt.len(), digest.len())
        };
        assert_eq!(form(DUMMY_HASH), form(&hash("some password", &[7; 32]).unwrap()));
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let passwords = Passwords::new();
        let stored = passwords.hash("right".into(), &Random::System).await.unwrap();
        for (password, stored, expected) in
            [("right", Some(stored.as_str()), true), ("wrong", Some(&stored), false), ("right", None, false)]
        {
            assert_eq!(passwords.verify(password.into(), stored).await.unwrap(), expected, "{password}");
        }
    }
}
