//! API keys.

use wicara_model::{Key, KeyId, NewKey, Program, Timestamp};

use crate::Store;
use crate::commands::release_all;
use crate::engine::{Columns, Error, Lane, Result, Sql};
use crate::rows::bots_read;
use crate::users::bots_text;

const KEY: &str = "id, name, role, bots, api, created_at";

fn key_read(columns: &mut Columns) -> Result<Key> {
    let program = Program {
        id: KeyId(columns.int("id")?),
        name: columns.text("name")?,
        role: columns.word("role")?,
        bots: bots_read(columns)?,
        api: columns.word("api")?,
    };
    Ok(Key { program, created_at: Timestamp(columns.int("created_at")?) })
}

pub(super) fn by_hash() -> Sql {
    Sql::per_dialect(
        format!(
            "SELECT key_index, {KEY} FROM unnest(CAST($1 AS bytea[]), CAST($2 AS bigint[])) \
                 AS wanted (wanted_hash, key_index) \
             JOIN keys ON hash = wanted_hash"
        ),
        format!("SELECT $2, {KEY} FROM keys WHERE hash = $1"),
    )
}

impl Store {
    /// `Conflict` if another key has the name.
    pub async fn key_create(&self, new: NewKey, at: Timestamp) -> Result<Key> {
        self.change(None, move |transaction| {
            let new = new.clone();
            Box::pin(async move {
                let sql = format!(
                    "INSERT INTO keys (name, hash, role, bots, api, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) RETURNING {KEY}"
                );
                let params = vec![
                    new.name.into(),
                    new.hash[..].into(),
                    new.role.as_str().into(),
                    bots_text(&new.bots).into(),
                    new.api.as_str().into(),
                    at.into(),
                ];
                let rows = transaction.query(sql, params).await?;
                let row = rows
                    .into_iter()
                    .next()
                    .ok_or_else(|| Error::Database("an insert returned no row".into()))?;
                key_read(&mut row.columns("keys"))
            })
        })
        .await
    }

    pub async fn key_list(&self) -> Result<Vec<Key>> {
        let sql = format!("SELECT {KEY} FROM keys ORDER BY name");
        let rows = self.inner.reads.query(Lane::Slow, sql, vec![]).await?;
        rows.into_iter().map(|row| key_read(&mut row.columns("keys"))).collect()
    }

    /// The key with this SHA-256.
    pub async fn key_get_by_hash(&self, hash: [u8; 32]) -> Result<Option<Key>> {
        let rows = self.inner.loaders.keys.get(hash[..].into()).await?;
        rows.into_iter().next().map(|row| key_read(&mut row.columns("keys"))).transpose()
    }

    /// Removes a key, and puts the conversations that its program has into the queue; `false` if no key has the name.
    pub async fn key_delete(&self, name: &str, at: Timestamp) -> Result<bool> {
        let name = name.to_owned();
        self.access_change(move |transaction| {
            let name = name.clone();
            Box::pin(async move {
                let sql = "SELECT id FROM keys WHERE name = $1";
                let Some(row) = transaction.query(sql, vec![name.into()]).await?.into_iter().next() else {
                    return Ok(false);
                };
                let id = row.int("keys", "id")?;
                let program = format!("key-{id}");
                release_all(transaction, &program, at).await?;
                let sql = "DELETE FROM keys WHERE id = $1 RETURNING id";
                if transaction.query(sql, vec![id.into()]).await?.is_empty() {
                    return Ok(false);
                }
                release_all(transaction, &program, at).await?;
                transaction.effects.events.access_changed(program);
                Ok(true)
            })
        })
        .await
    }
}
