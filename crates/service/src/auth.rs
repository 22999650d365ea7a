//! Who a request is from.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wicara_model::{Caller, Person};

use crate::{Asker, Door, Error, Monitor, Reader, Result, Service, Writer};

/// What a request brought to say who it is from.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// `Some("")` is a blank key, which is a wrong one. A key wins over a session.
    pub key: Option<String>,
    /// The session cookie's token.
    pub session: Option<String>,
}

/// A new cookie session.
#[derive(Debug, Clone)]
pub struct Login {
    pub person: Person,
    /// The cookie's value: shown once, stored hashed.
    pub token: String,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Keys and tokens are random, so that a plain hash keeps them as well as a slow one.
pub(super) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Service {
    /// Who the credentials belong to. A wrong key is `Unauthenticated`; a session that is over makes a visitor.
    pub async fn caller_get(&self, credentials: &Credentials) -> Result<Caller> {
        if let Some(key) = &credentials.key {
            let key = self.store.key_get_by_hash(digest(key)).await?.ok_or(Error::Unauthenticated)?;
            return Ok(Caller::Program(key.program));
        }
        if let Some(session) = &credentials.session
            && let Some(user) = self.store.session_get(digest(session), self.clock.now()).await?
        {
            return Ok(Caller::Person(user.person));
        }
        Ok(Caller::Visitor)
    }

    pub fn reader(&self, caller: Caller, door: Door) -> Result<Reader> {
        Reader::new(caller, door, self.settings.chatbot_api_open)
    }

    pub fn writer(&self, reader: Reader) -> Result<Writer> {
        Writer::new(reader)
    }

    #[must_use]
    pub fn asker(&self, caller: Caller) -> Asker {
        Asker::new(caller)
    }

    pub fn monitor(&self, caller: &Caller) -> Result<Monitor> {
        Monitor::new(caller)
    }

    /// `Unauthenticated` for an unknown e-mail as for a wrong password, after the same work. After some of these from
    /// the same address `TooMany`, for a right password too.
    pub async fn login(&self, email: &str, password: String, address: IpAddr) -> Result<Login> {
        let email = email.trim().to_lowercase();
        self.login_failure_add(&email, address)?;
        let login = self.session_open(&email, password).await;
        match &login {
            Ok(_) => self.login_failure_forget(&email, address),
            Err(Error::Unauthenticated) => {}
            Err(_) => self.login_failure_take_back(&email, address),
        }
        login
    }

    async fn session_open(&self, email: &str, password: String) -> Result<Login> {
        let user = self.store.user_get_by_email(email).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let right = self.passwords.verify(password, stored).await?;
        let Some(user) = user.filter(|_| right) else { return Err(Error::Unauthenticated) };
        let token = self.random.token();
        let now = self.clock.now();
        let lifetime = self.settings.session;
        self.store.session_create(user.person.id, digest(&token), now, now.plus(lifetime)).await?;
        Ok(Login { person: user.person, token, lifetime })
    }

    /// Ends the session; one that is already over is no error.
    pub async fn logout(&self, session: &str) -> Result<()> {
        Ok(self.store.session_delete(digest(session)).await?)
    }
}
