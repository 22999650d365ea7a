//! People's cookie sessions: log in and log out, with a limit on wrong passwords.

use std::net::IpAddr;
use std::time::Duration;

use wicara_model::Person;

use crate::access::secret_hash;
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

    /// Ends the session. No error where it has ended already.
    pub async fn logout(&self, session: &str) -> Result<()> {
        Ok(self.store.session_delete(secret_hash(session)).await?)
    }
}
