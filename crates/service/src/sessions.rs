//! People's cookie sessions: log in and log out, with a limit on wrong passwords.

use std::net::IpAddr;
use std::time::Duration;

use wicara_model::account::{self, PASSWORD_CHARS};
use wicara_model::{Bounds, Caller, Person, Rule, Violation};

use crate::access::{Credentials, secret_hash};
use crate::{Error, Result, Service};

/// A new cookie session.
#[derive(Debug, Clone)]
pub struct Login {
    pub person: Person,
    /// The cookie's value. Only its hash is stored, so that it cannot be shown again.
    pub token: String,
    /// From now; the store refuses the token afterwards.
    pub lifetime: Duration,
}

impl Service {
    /// Counts a login attempt from an address, before its body is read. `TooMany` beyond the limit.
    ///
    /// `address`: an IPv4 address, or the first one of an IPv6 /64. A client usually has a whole /64, and would get a
    /// fresh limit with each address of it.
    pub fn login_admit_from(&self, address: IpAddr) -> Result<()> {
        self.rate_limits.logins_per_address.take(address, self.clock.now())
    }

    /// `Unauthenticated` for an unknown e-mail as for a wrong password, after the same work. After several of these for
    /// one account from one address `TooMany`, for a right password too.
    pub async fn login(&self, email: &str, password: String, address: IpAddr) -> Result<Login> {
        let email = email.trim().to_lowercase();
        // Counted before the password is checked, so that attempts in parallel cannot exceed the limit.
        let failures = &self.rate_limits.login_failures;
        failures.take((&email, address), self.clock.now())?;
        let login = self.session_open(&email, password).await;
        match &login {
            Ok(_) => failures.reset((&email, address)),
            Err(Error::Unauthenticated) => {}
            // The password was not checked.
            Err(_) => failures.refund((&email, address)),
        }
        login
    }

    async fn session_open(&self, email: &str, password: String) -> Result<Login> {
        let user = self.store.user_get_by_email(email).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let is_right = self.passwords.verify(password, stored).await?;
        let Some(user) = user.filter(|_| is_right) else { return Err(Error::Unauthenticated) };
        let token = self.random.token();
        let now = self.clock.now();
        let lifetime = self.settings.session;
        self.store.session_create(user.person.id, secret_hash(&token), now, now.plus(lifetime)).await?;
        Ok(Login { person: user.person, token, lifetime })
    }

    /// Changes the caller's own password and ends its other sessions. `Invalid` where `old` is not the password, which counts as
    /// a login that failed, or `new` cannot be one; `Forbidden` for a program.
    pub async fn password_change(
        &self,
        credentials: &Credentials,
        old: String,
        new: String,
        address: IpAddr,
    ) -> Result<()> {
        let (person, session) = self.session_of(credentials).await?;
        if let Err(rule) = account::check_password(&new) {
            let violation = match rule {
                Rule::MinLength => Violation::new("new", Bounds::MinLength(*PASSWORD_CHARS.start())),
                Rule::MaxLength => Violation::new("new", Bounds::MaxLength(*PASSWORD_CHARS.end())),
                rule => Violation::new("new", rule),
            };
            return Err(Error::Invalid(vec![violation]));
        }
        let failures = &self.rate_limits.login_failures;
        failures.take((&person.email, address), self.clock.now())?;
        let changed = self.password_changed(&person, session, old, new).await;
        match &changed {
            Ok(()) => failures.reset((&person.email, address)),
            Err(Error::Invalid(_)) => {}
            // The password was not checked.
            Err(_) => failures.refund((&person.email, address)),
        }
        changed
    }

    async fn password_changed(
        &self,
        person: &Person,
        session: [u8; 32],
        old: String,
        new: String,
    ) -> Result<()> {
        let wrong = || Error::Invalid(vec![Violation::new("old", Rule::Password)]);
        let user = self.store.user_get_by_email(&person.email).await?;
        let user = user.filter(|user| user.person.id == person.id).ok_or(Error::Unauthenticated)?;
        if !self.passwords.verify(old, Some(&user.password_hash)).await? {
            return Err(wrong());
        }
        let hash = self.passwords.hash(new, &self.random).await?;
        let is_done = self.store.user_password_change(person.id, user.password_hash, hash, session).await?;
        if is_done { Ok(()) } else { Err(wrong()) }
    }

    /// The person who calls by a cookie, with the hash of the session that it is known by.
    async fn session_of(&self, credentials: &Credentials) -> Result<(Person, [u8; 32])> {
        if let Caller::Program(_) = self.caller_get(credentials).await? {
            return Err(Error::Forbidden);
        }
        for token in &credentials.sessions {
            let hash = secret_hash(token);
            if let Some(session) = self.store.session_get(hash, self.clock.now()).await? {
                return Ok((session.user.person, hash));
            }
        }
        Err(Error::Unauthenticated)
    }

    /// Ends all sessions of the person who calls by a cookie. No error where it has none.
    pub async fn logout_everywhere(&self, credentials: &Credentials) -> Result<()> {
        match self.session_of(credentials).await {
            Ok((person, _)) => Ok(self.store.session_delete_all(person.id).await?),
            Err(Error::Unauthenticated | Error::Forbidden) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the session. No error where it has ended already.
    pub async fn logout(&self, session: &str) -> Result<()> {
        Ok(self.store.session_delete(secret_hash(session)).await?)
    }
}
