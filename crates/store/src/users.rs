//! People (operators and administrators) and their cookie sessions.

use wicara_model::{Bots, NewUser, Person, Timestamp, User, UserId};

use crate::Store;
use crate::commands::release_all;
use crate::engine::{Columns, Error, Lane, Result, Sql};
use crate::rows::bots_read;

/// A login.
#[derive(Debug, Clone)]
pub struct Session {
    pub user: User,
    pub expires_at: Timestamp,
}

const USER: &str =
    "users.id, users.email, users.name, users.role, users.bots, users.password_hash, users.created_at";

fn user_read(columns: &mut Columns) -> Result<User> {
    let person = Person {
        id: UserId(columns.int("id")?),
        email: columns.text("email")?,
        name: columns.text("name")?,
        role: columns.word("role")?,
        bots: bots_read(columns)?,
    };
    let password_hash = columns.text("password_hash")?;
    Ok(User { person, password_hash, created_at: Timestamp(columns.int("created_at")?) })
}

pub(super) fn bots_text(bots: &Bots) -> Option<String> {
    bots.list().map(|bots| serde_json::to_string(bots).expect("plain data serialises"))
}

pub(super) fn session_by_hash() -> Sql {
    Sql::per_dialect(
        format!(
            "SELECT key_index, sessions.expires_at, {USER} \
             FROM unnest(CAST($1 AS bytea[]), CAST($2 AS bigint[])) AS wanted (wanted_hash, key_index) \
             JOIN sessions ON sessions.token_hash = wanted_hash JOIN users ON users.id = sessions.user_id"
        ),
        format!(
            "SELECT $2, sessions.expires_at, {USER} \
             FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.token_hash = $1"
        ),
    )
}

impl Store {
    /// `Conflict` if another person has the e-mail address.
    pub async fn user_create(&self, new: NewUser, at: Timestamp) -> Result<User> {
        self.user_insert(new, at, "VALUES ($1, $2, $3, $4, $5, $6)").await?.ok_or_else(missing)
    }

    /// Creates the first person; `None` if the table has a person already.
    pub async fn user_create_first(&self, new: NewUser, at: Timestamp) -> Result<Option<User>> {
        // Casts, because a SELECT does not tell PostgreSQL the types of its parameters.
        let values = "SELECT CAST($1 AS text), CAST($2 AS text), CAST($3 AS text), CAST($4 AS text), \
             CAST($5 AS text), CAST($6 AS bigint) WHERE NOT EXISTS (SELECT 1 FROM users)";
        match self.user_insert(new, at, values).await {
            // Another node created the same person in a transaction that this statement did not see.
            Err(Error::Conflict(_)) => Ok(None),
            result => result,
        }
    }

    async fn user_insert(&self, new: NewUser, at: Timestamp, values: &'static str) -> Result<Option<User>> {
        self.change(None, move |transaction| {
            let new = new.clone();
            Box::pin(async move {
                let sql = format!(
                    "INSERT INTO users (email, name, password_hash, role, bots, created_at) {values} RETURNING {}",
                    USER.replace("users.", "")
                );
                let bots = bots_text(&new.bots);
                let params = vec![
                    new.email.into(),
                    new.name.into(),
                    new.password_hash.into(),
                    new.role.as_str().into(),
                    bots.into(),
                    at.into(),
                ];
                let rows = transaction.query(sql, params).await?;
                rows.into_iter().next().map(|row| user_read(&mut row.columns("users"))).transpose()
            })
        })
        .await
    }

    pub async fn user_list(&self) -> Result<Vec<User>> {
        let sql = format!("SELECT {USER} FROM users ORDER BY users.email");
        let rows = self.inner.reads.query(Lane::Slow, sql, vec![]).await?;
        rows.into_iter().map(|row| user_read(&mut row.columns("users"))).collect()
    }

    pub async fn user_get_by_email(&self, email: &str) -> Result<Option<User>> {
        let sql = format!("SELECT {USER} FROM users WHERE users.email = $1");
        let rows = self.inner.reads.query(Lane::Quick, sql, vec![email.into()]).await?;
        rows.into_iter().next().map(|row| user_read(&mut row.columns("users"))).transpose()
    }

    /// Sets the password and ends the person's sessions; `false` if there is no such person.
    pub async fn user_password(&self, email: &str, password_hash: String) -> Result<bool> {
        let email = email.to_owned();
        self.access_change(move |transaction| {
            let (email, password_hash) = (email.clone(), password_hash.clone());
            Box::pin(async move {
                let sql = "UPDATE users SET password_hash = $2 WHERE email = $1 RETURNING id";
                let rows = transaction.query(sql, vec![email.into(), password_hash.into()]).await?;
                let Some(row) = rows.into_iter().next() else { return Ok(false) };
                let id = row.int("users", "id")?;
                transaction.query("DELETE FROM sessions WHERE user_id = $1", vec![id.into()]).await?;
                transaction.effects.events.access_changed(id.to_string());
                Ok(true)
            })
        })
        .await
    }

    /// Sets a person's password, where it is still the one with the hash `old`, and ends their sessions but the one with the
    /// hash `kept`; `false` if it is another by now, or there is no such person.
    pub async fn user_password_change(
        &self,
        user: UserId,
        old: String,
        new: String,
        kept: [u8; 32],
    ) -> Result<bool> {
        self.access_change(move |transaction| {
            let (old, new) = (old.clone(), new.clone());
            Box::pin(async move {
                let sql =
                    "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id";
                let params = vec![user.into(), old.into(), new.into()];
                if transaction.query(sql, params).await?.is_empty() {
                    return Ok(false);
                }
                let sql = "DELETE FROM sessions WHERE user_id = $1 AND token_hash <> $2";
                transaction.query(sql, vec![user.into(), kept[..].into()]).await?;
                transaction.effects.events.access_changed(user.0.to_string());
                Ok(true)
            })
        })
        .await
    }

    /// Ends all sessions of a person.
    pub async fn session_delete_all(&self, user: UserId) -> Result<()> {
        self.access_change(move |transaction| {
            Box::pin(async move {
                let sql = "DELETE FROM sessions WHERE user_id = $1";
                transaction.query(sql, vec![user.into()]).await?;
                transaction.effects.events.access_changed(user.0.to_string());
                Ok(())
            })
        })
        .await
    }

    /// Removes a person and their sessions, and puts the conversations that they have into the queue; `false` if there is no
    /// such person.
    pub async fn user_delete(&self, email: &str, at: Timestamp) -> Result<bool> {
        let email = email.to_owned();
        self.access_change(move |transaction| {
            let email = email.clone();
            Box::pin(async move {
                let sql = "SELECT id FROM users WHERE email = $1";
                let Some(row) = transaction.query(sql, vec![email.into()]).await?.into_iter().next() else {
                    return Ok(false);
                };
                let id = row.int("users", "id")?;
                release_all(transaction, &id.to_string(), at).await?;
                let sql = "DELETE FROM users WHERE id = $1 RETURNING id";
                if transaction.query(sql, vec![id.into()]).await?.is_empty() {
                    return Ok(false);
                }
                release_all(transaction, &id.to_string(), at).await?;
                transaction.effects.events.access_changed(id.to_string());
                Ok(true)
            })
        })
        .await
    }

    /// `token_hash`: SHA-256 of the cookie's value.
    pub async fn session_create(
        &self,
        user: UserId,
        token_hash: [u8; 32],
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.change(None, move |transaction| {
            Box::pin(async move {
                let sql = "INSERT INTO sessions (token_hash, user_id, created_at, expires_at) \
                     VALUES ($1, $2, $3, $4)";
                let params = vec![token_hash[..].into(), user.into(), at.into(), expires_at.into()];
                transaction.query(sql, params).await.map(|_| ())
            })
        })
        .await
    }

    /// A session that has not expired.
    pub async fn session_get(&self, token_hash: [u8; 32], now: Timestamp) -> Result<Option<Session>> {
        let rows = self.inner.loaders.sessions.get(token_hash[..].into()).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let mut columns = row.columns("sessions");
        let expires_at = Timestamp(columns.int("expires_at")?);
        if expires_at <= now {
            return Ok(None);
        }
        Ok(Some(Session { user: user_read(&mut columns)?, expires_at }))
    }

    pub async fn session_delete(&self, token_hash: [u8; 32]) -> Result<()> {
        self.access_change(move |transaction| {
            Box::pin(async move {
                let sql = "DELETE FROM sessions WHERE token_hash = $1 RETURNING user_id";
                for row in transaction.query(sql, vec![token_hash[..].into()]).await? {
                    transaction.effects.events.access_changed(row.int("sessions", "user_id")?.to_string());
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes sessions that have expired.
    pub async fn session_expire(&self, now: Timestamp) -> Result<()> {
        self.change(None, move |transaction| {
            Box::pin(async move {
                let sql = "DELETE FROM sessions WHERE expires_at <= $1";
                transaction.query(sql, vec![now.into()]).await.map(|_| ())
            })
        })
        .await
    }
}

fn missing() -> Error {
    Error::Database("an insert returned no row".into())
}
