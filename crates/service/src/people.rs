//! People and keys, as the command line manages them.

use wicara_model::account::{self, MAX_KEY_NAME_CHARS};
use wicara_model::{Api, Bots, Key, NewKey, NewUser, Role, Rule, User, Violation};
use wicara_platform::{Clock, Random};
use wicara_store::{self as store, Store};

use crate::access::secret_hash;
use crate::password::Passwords;
use crate::{Error, Missing, Result};

/// Every key begins with it, so that scanners recognise a leaked key.
const KEY_PREFIX: &str = "wicara_";

pub struct People {
    store: Store,
    clock: Clock,
    random: Random,
    passwords: Passwords,
}

impl People {
    #[must_use]
    pub fn new(store: Store, clock: Clock, random: Random) -> Self {
        Self { store, clock, random, passwords: Passwords::new() }
    }

    /// `Exists` if the e-mail is taken; `Invalid` names the broken rules of e-mail and password.
    pub async fn user_create(&self, email: &str, password: String, role: Role, bots: Bots) -> Result<User> {
        let new = self.new_user(email, password, role, bots).await?;
        self.store.user_create(new, self.clock.now()).await.map_err(exists)
    }

    /// Creates the first person, an administrator; `None` if there is a person already. An empty password is replaced
    /// by a random one, which is returned.
    pub async fn user_create_first(
        &self,
        email: &str,
        password: &str,
    ) -> Result<Option<(User, Option<String>)>> {
        if !self.store.user_list().await?.is_empty() {
            return Ok(None);
        }
        let generated = password.is_empty().then(|| self.random.token()[..20].to_owned());
        let password = generated.clone().unwrap_or_else(|| password.to_owned());
        let new = self.new_user(email, password, Role::Admin, Bots::All).await?;
        let user = self.store.user_create_first(new, self.clock.now()).await?;
        Ok(user.map(|user| (user, generated)))
    }

    async fn new_user(&self, email: &str, password: String, role: Role, bots: Bots) -> Result<NewUser> {
        let email = account::email(email).map_err(|rule| Violation::new("email", rule));
        let email = match (email, password_violation(&password)) {
            (Ok(email), None) => email,
            (email, password) => {
                return Err(Error::Invalid(email.err().into_iter().chain(password).collect()));
            }
        };
        let password_hash = self.passwords.hash(password, &self.random).await?;
        let name = account::name_of(&email).to_owned();
        Ok(NewUser { email, name, password_hash, role, bots })
    }

    /// Sets a new password and ends the person's sessions.
    pub async fn user_password(&self, email: &str, password: String) -> Result<()> {
        if let Some(violation) = password_violation(&password) {
            return Err(Error::Invalid(vec![violation]));
        }
        let password_hash = self.passwords.hash(password, &self.random).await?;
        let is_found = self.store.user_password(&email.trim().to_lowercase(), password_hash).await?;
        if is_found { Ok(()) } else { Err(Error::NotFound(Missing::User)) }
    }

    /// `NotFound` if no person has the e-mail.
    pub async fn user_get(&self, email: &str) -> Result<User> {
        let user = self.store.user_get_by_email(&email.trim().to_lowercase()).await?;
        user.ok_or(Error::NotFound(Missing::User))
    }

    pub async fn user_list(&self) -> Result<Vec<User>> {
        Ok(self.store.user_list().await?)
    }

    /// Removes a person and ends their sessions. `LastAdministrator` for the only administrator of all bots, and for the
    /// only one at all, unless `force`.
    pub async fn user_delete(&self, email: &str, force: bool) -> Result<()> {
        let email = email.trim().to_lowercase();
        if !force {
            let users = self.store.user_list().await?;
            let is_last = |of_all: bool| {
                let counts = |user: &&User| {
                    user.person.role == Role::Admin && (!of_all || user.person.bots == Bots::All)
                };
                let mut administrators = users.iter().filter(counts);
                administrators.next().is_some_and(|first| first.person.email == email)
                    && administrators.next().is_none()
            };
            if is_last(true) || is_last(false) {
                return Err(Error::LastAdministrator);
            }
        }
        let is_found = self.store.user_delete(&email, self.clock.now()).await?;
        if is_found { Ok(()) } else { Err(Error::NotFound(Missing::User)) }
    }

    /// Returns the stored key and its secret, of which only a hash is stored.
    pub async fn key_create(&self, name: &str, role: Role, bots: Bots, api: Api) -> Result<(Key, String)> {
        let name = name.trim();
        let rule = match name.chars().count() {
            0 => Some(Rule::Required),
            1..=MAX_KEY_NAME_CHARS => None,
            _ => Some(Rule::MaxLength),
        };
        if let Some(rule) = rule {
            return Err(Error::Invalid(vec![Violation::new("name", rule)]));
        }
        let secret = format!("{KEY_PREFIX}{}", self.random.token());
        let new = NewKey { name: name.to_owned(), hash: secret_hash(&secret), role, bots, api };
        let key = self.store.key_create(new, self.clock.now()).await.map_err(exists)?;
        Ok((key, secret))
    }

    pub async fn key_list(&self) -> Result<Vec<Key>> {
        Ok(self.store.key_list().await?)
    }

    pub async fn key_delete(&self, name: &str) -> Result<()> {
        let is_found = self.store.key_delete(name.trim(), self.clock.now()).await?;
        if is_found { Ok(()) } else { Err(Error::NotFound(Missing::Key)) }
    }
}

fn password_violation(password: &str) -> Option<Violation> {
    account::check_password(password).err().map(|rule| Violation::new("password", rule))
}

fn exists(error: store::Error) -> Error {
    match error {
        store::Error::Conflict(_) => Error::Exists,
        error => error.into(),
    }
}
