//! What is stored, table by table, as a copy, a backup and a restore carry it. A migration that adds a table or a column
//! adds it here: a test compares this with the schemas of both engines.

use serde::{Deserialize, Serialize};

use crate::engine::{Error, Executor, Result, Row, Sql, Value};

/// The type of a column, the same on both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    Int,
    Text,
    Uuid,
    Bytes,
}

impl ColumnType {
    fn postgres(self) -> &'static str {
        match self {
            Self::Int => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Bytes => "bytea",
        }
    }
}

/// A table with its columns. The first `key` columns are the key by which its rows are read, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(rename = "table")]
    pub name: String,
    pub key: usize,
    pub columns: Vec<(String, ColumnType)>,
}

/// The totals, with what PostgreSQL has not folded into them yet; rows that count nothing are left out.
const TOTALS: &str = "totals";
/// The last id that each sequence gave. SQLite has them in `sequences` and `sqlite_sequence`.
const SEQUENCES: &str = "sequences";

/// PostgreSQL's sequences, and the names that they have in [`SEQUENCES`].
const POSTGRES_SEQUENCES: [(&str, &str); 4] = [
    ("conversation_ids", "conversation_ids"),
    ("keys", "keys_id_seq"),
    ("message_ids", "message_ids"),
    ("users", "users_id_seq"),
];
/// Tables whose ids SQLite gives itself (`AUTOINCREMENT`).
const SQLITE_AUTOINCREMENT: [&str; 2] = ["keys", "users"];

use ColumnType::{Bytes, Int, Text, Uuid};

type Columns = &'static [(&'static str, ColumnType)];

/// In the order in which they are written: people before their logins, which refer to them.
///
/// `nodes`, `node_folds` and `node_batches` are about running servers and stay behind: what batches add to the totals is
/// read with the totals. `feed` and its events stay behind too: a copy begins a feed of its own, so that readers of the
/// source's notice. `conversation_activity` and `search_documents` are made anew from what is carried, as after a migration.
#[rustfmt::skip]
const STORED: &[(&str, usize, Columns)] = &[
    (SEQUENCES, 1, &[("name", Text), ("last", Int)]),
    ("users", 1, &[
        ("id", Int), ("email", Text), ("password_hash", Text), ("role", Text), ("bots", Text), ("created_at", Int),
        ("name", Text),
    ]),
    ("sessions", 1, &[("token_hash", Bytes), ("user_id", Int), ("created_at", Int), ("expires_at", Int)]),
    ("keys", 1, &[
        ("id", Int), ("name", Text), ("hash", Bytes), ("role", Text), ("bots", Text), ("api", Text),
        ("created_at", Int),
    ]),
    ("conversations", 1, &[
        ("id", Int), ("session_id", Uuid), ("by_visitor", Int), ("room", Text), ("integration_type", Text),
        ("bot_id", Text), ("user_id", Text), ("handler", Text), ("next_seq", Int), ("message_count", Int),
        ("note_count", Int), ("message_bytes", Int), ("created_at", Int), ("updated_at", Int), ("newest_id", Int),
        ("assignee_id", Text), ("assignee_kind", Text), ("assignee_name", Text), ("handed_over_at", Int),
        ("handover_reason", Text), ("unclaimed_since", Int), ("given_back_after", Int), ("seen_by_visitor", Int),
    ]),
    ("seen_marks", 2, &[("reader", Text), ("conversation_id", Int), ("up_to", Int)]),
    ("messages", 1, &[
        ("id", Int), ("conversation_id", Int), ("seq", Int), ("role", Text), ("kind", Text), ("text", Text),
        ("payload", Text), ("bytes", Int), ("reply_to", Int), ("failure", Text), ("failed_at", Int),
        ("created_at", Int), ("updated_at", Int), ("message_count", Int), ("note_count", Int),
        ("message_bytes", Int), ("author_id", Text), ("author_kind", Text), ("author_name", Text),
        ("first_token_ms", Int), ("answer_ms", Int), ("feedback", Int), ("feedback_text", Text), ("feedback_at", Int),
    ]),
    ("asks", 1, &[
        ("message_id", Int), ("node", Int), ("asked_at", Int), ("attempt", Uuid), ("conversation_id", Int),
        ("stopped", Int),
    ]),
    ("idempotency", 2, &[
        ("scope", Text), ("key", Text), ("body", Bytes), ("lease_until", Int), ("conversation_id", Int),
        ("message_id", Int), ("created_at", Int), ("done", Int),
    ]),
    ("deletions", 1, &[("conversation_id", Int), ("bot_id", Text), ("integration_type", Text)]),
    ("undos", 2, &[
        ("what", Text), ("id", Int), ("conversation_id", Int), ("bot_id", Text), ("integration_type", Text),
        ("until", Int), ("content", Text),
    ]),
    (TOTALS, 5, &[
        ("what", Text), ("level", Int), ("bucket", Int), ("bot_id", Text), ("integration_type", Text),
        ("count", Int),
    ]),
];

/// The tables of the newest schema.
#[must_use]
pub fn stored_tables() -> Vec<Table> {
    let column = |(name, kind): &(&str, ColumnType)| ((*name).to_owned(), *kind);
    let table = |(name, key, columns): &(&str, usize, Columns)| Table {
        name: (*name).to_owned(),
        key: *key,
        columns: columns.iter().map(column).collect(),
    };
    STORED.iter().map(table).collect()
}

impl Table {
    /// Whether the description, which may come from a file, can be put into statements.
    pub fn is_sound(&self) -> bool {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        is_name(&self.name)
            && (1..=self.columns.len()).contains(&self.key)
            && self.columns.iter().all(|(name, _)| is_name(name))
    }

    fn names(&self, count: usize) -> String {
        let names: Vec<_> = self.columns[..count].iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    /// Reads the next rows by key. `follows`: after a key, whose values are the parameters; else the first.
    pub fn page(&self, follows: bool, limit: usize) -> Sql {
        let key = self.names(self.key);
        let after = if follows {
            let params: Vec<_> = (1..=self.key).map(|number| format!("${number}")).collect();
            format!("WHERE ({key}) > ({})", params.join(", "))
        } else {
            String::new()
        };
        let columns = self.names(self.columns.len());
        let end = format!("ORDER BY {key} LIMIT {limit}");
        match self.name.as_str() {
            TOTALS => Sql::both(format!(
                "SELECT {key}, CAST(sum(count) AS bigint) FROM current_totals {after} GROUP BY {key} \
                 HAVING sum(count) <> 0 {end}"
            )),
            SEQUENCES => {
                let all = |rows: Vec<String>| {
                    format!("SELECT {columns} FROM ({}) AS sequences {after} {end}", rows.join(" UNION ALL "))
                };
                let postgres = POSTGRES_SEQUENCES.iter().map(|(name, sequence)| {
                    format!(
                        "SELECT '{name}' AS name, CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM {sequence}"
                    )
                });
                let sqlite = SQLITE_AUTOINCREMENT.iter().map(|name| {
                    format!("SELECT '{name}', coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{name}'), 0)")
                });
                let sqlite = std::iter::once("SELECT name, last FROM sequences".to_owned()).chain(sqlite);
                Sql::per_dialect(all(postgres.collect()), all(sqlite.collect()))
            }
            name => Sql::both(format!("SELECT {columns} FROM \"{name}\" {after} {end}")),
        }
    }

    /// Writes rows; those of the sequences make the next ids follow the last ones given.
    pub async fn write(&self, executor: &Executor<'_>, rows: Vec<Vec<Value>>) -> Result<()> {
        if self.name == SEQUENCES {
            for row in rows {
                let sql = match row.first() {
                    Some(Value::Text(name)) => set_sequence(name)?,
                    _ => return Err(Error::Setup("a row of sequences has no name".into())),
                };
                executor.query(sql, row).await?;
            }
            return Ok(());
        }
        let columns = self.names(self.columns.len());
        let (mut arrays, mut values) = (Vec::new(), Vec::new());
        for (number, (_, kind)) in (1..).zip(&self.columns) {
            arrays.push(format!("CAST(${number} AS {}[])", kind.postgres()));
            values.push(format!("${number}"));
        }
        let name = &self.name;
        let sql = Sql::per_dialect(
            // The ids of people and keys come from the rows and not from PostgreSQL.
            format!(
                "INSERT INTO \"{name}\" ({columns}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest({})",
                arrays.join(", ")
            ),
            format!("INSERT INTO \"{name}\" ({columns}) VALUES ({})", values.join(", ")),
        );
        executor.query_many(sql, rows).await.map(|_| ())
    }

    /// Reads 1 where the table has rows, 0 where it has none.
    pub fn any(&self) -> String {
        format!("SELECT CAST(count(*) AS bigint) FROM (SELECT 1 FROM \"{}\" LIMIT 1) AS found", self.name)
    }

    /// Whether its rows say that the database is in use: totals may count nothing, and sequences always have rows.
    pub fn shows_use(&self) -> bool {
        ![TOTALS, SEQUENCES].contains(&self.name.as_str())
    }

    /// Whether it is a table on both engines: PostgreSQL has sequences in place of one.
    pub fn has_rows_of_its_own(&self) -> bool {
        self.name != SEQUENCES
    }

    /// The row's values as the columns' types have them: SQLite has UUIDs as bytes.
    pub fn typed(&self, row: Row) -> Result<Vec<Value>> {
        let typed = |((name, kind), value): (&(String, ColumnType), Value)| match (kind, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Int, value @ Value::Int(_)) | (Text, value @ Value::Text(_)) => Ok(value),
            (Uuid, value @ Value::Uuid(_)) | (Bytes, value @ Value::Bytes(_)) => Ok(value),
            (Uuid, Value::Bytes(bytes)) if bytes.len() == 16 => {
                Ok(Value::Uuid(uuid::Uuid::from_slice(&bytes).unwrap_or_default()))
            }
            (kind, _) => Err(Error::Setup(format!("{}.{name} holds a value that is no {kind:?}", self.name))),
        };
        self.columns.iter().zip(row.0).map(typed).collect()
    }
}

/// Sets a sequence to the last id that it gave: `$1` is its name, `$2` the id, 0 if it gave none.
fn set_sequence(name: &str) -> Result<Sql> {
    let known = POSTGRES_SEQUENCES.iter().find(|(known, _)| *known == name);
    let (_, sequence) = known.ok_or_else(|| Error::Setup(format!("there is no sequence {name:?}")))?;
    let sqlite = if SQLITE_AUTOINCREMENT.contains(&name) {
        // No constraint keeps a name from being there twice.
        "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) \
         VALUES ((SELECT rowid FROM sqlite_sequence WHERE name = $1), $1, $2)"
    } else {
        "INSERT INTO sequences (name, last) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET last = excluded.last"
    };
    let postgres = format!(
        "SELECT setval('{sequence}', greatest(CAST($2 AS bigint), 1), CAST($2 AS bigint) > 0), CAST($1 AS text)"
    );
    Ok(Sql::per_dialect(postgres, sqlite))
}
