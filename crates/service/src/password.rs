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
const AT_ONCE: usize = 2;
/// Logins that may wait for their turn.
const WAITING: usize = 64;

/// What a password is checked against when nobody has the e-mail, so that both take the same time. It has the form of
/// [`hash`]'s, and nobody's password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(AT_ONCE + WAITING)) }
    }

    /// The password's hash in PHC form.
    pub async fn hash(&self, password: String, random: &Random) -> Result<String> {
        let salt = random.bytes();
        self.run(move || hash(&password, &salt)).await?
    }

    /// Whether it is the password behind the hash; without a hash it never is, and takes as long to say so.
    pub async fn verify(&self, password: String, stored: Option<&str>) -> Result<bool> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(NOBODY).to_owned();
        self.run(move || {
            let stored = PasswordHash::new(&stored).map_err(|error| {
                Error::Internal(format!("a stored password hash is no PHC string: {error}"))
            })?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok() && known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.places.try_acquire().map_err(|_| Error::Unavailable)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
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

    /// An unknown e-mail would be known by its time if its hash were made otherwise.
    #[test]
    fn nobody_has_a_hash_like_everybody() {
        let form = |hash: &str| {
            let (parameters, digest) = hash.rsplit_once('$').unwrap();
            let (parameters, salt) = parameters.rsplit_once('$').unwrap();
            (parameters.to_owned(), salt.len(), digest.len())
        };
        assert_eq!(form(NOBODY), form(&hash("some password", &[7; 32]).unwrap()));
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
