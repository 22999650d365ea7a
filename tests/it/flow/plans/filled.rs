//! A database with a hundred thousand conversations, filled by a few statements.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::support::{Database, Engine};

pub const CONVERSATIONS: i64 = 100_000;
/// A conversation in the middle that has many messages.
pub const LONG: i64 = 50_000;
/// Its messages.
pub const LONG_MESSAGES: i64 = 20_000;
/// A conversation that is deleted in pieces.
pub const HEAVY: i64 = 60_000;
/// Five conversations, far from each other, have this room, integration type, bot and user.
pub const RARE: &str = "rare";
/// One of them.
pub const RARE_CONVERSATION: i64 = 40_007;

/// Conversations from here on are indexed for lists by activity.
const INDEXED_AFTER: i64 = 1000;

/// The bot of one conversation in three hundred.
pub const SPARSE: &str = "sparse";

/// A node that asks questions, and is not this server.
pub const ELSEWHERE: i64 = 7;

/// The session of a conversation.
pub fn session(conversation: i64) -> String {
    Uuid::from_u128(conversation.unsigned_abs().into()).to_string()
}

/// Runs statements on the database, beside the server.
pub enum Direct {
    Sqlite(Connection),
    Postgres(Client),
}

impl Direct {
    pub async fn open(database: &Database) -> Self {
        match database.url.strip_prefix("sqlite:") {
            Some(path) => {
                let connection = Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                Self::Sqlite(connection)
            }
            None => {
                let (client, driver) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
                tokio::spawn(driver);
                Self::Postgres(client)
            }
        }
    }

    fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    pub async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).unwrap(),
            Self::Postgres(client) => client.batch_execute(sql).await.unwrap(),
        }
    }

    /// Everything but `asks`, some of it expired.
    pub async fn fill(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let day = 24 * 60 * 60 * 1000;
        let numbers = |count| numbers(self.engine(), count);
        let bytes = |length| bytes(self.engine(), length);
        let session = match self.engine() {
            Engine::Sqlite => bytes(16),
            Engine::Postgres => "CAST(lpad(to_hex(n), 32, '0') AS uuid)".to_owned(),
        };
        let (all, long, heavy) = (numbers(CONVERSATIONS), numbers(LONG_MESSAGES - 1), numbers(2500 - 1));
        let message = "id, conversation_id, seq, role, kind, text, bytes, created_at, updated_at";
        let rest = "'bot', 'text', 'an answer', 9, n, n";
        let rare = "n % 20000 = 7";
        // They wait for people, and are not given back meanwhile.
        let human = "n % 1000 = 3";
        let mut statements = vec![
            format!(
                "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
                     handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at, \
                     handed_over_at, unclaimed_since, handover_reason) \
                 SELECT n, {session}, 1, CASE WHEN {rare} THEN '{RARE}' ELSE 'website-' || n END, \
                     CASE WHEN {rare} THEN '{RARE}' WHEN n % 3 = 0 THEN 'telegram' ELSE 'website' END, \
                     CASE WHEN {rare} THEN '{RARE}' WHEN n % 300 = 11 THEN '{SPARSE}' WHEN n % 4 = 0 THEN 'other' \
                         ELSE 'echo' END, \
                     CASE WHEN {rare} THEN '{RARE}' WHEN n % 2 = 0 THEN 'user-' || n % 1000 END, \
                     CASE WHEN {human} THEN 'human' ELSE 'bot' END, size + 1, size, 0, 9 * size, n, n, \
                     CASE WHEN {human} THEN n END, CASE WHEN {human} THEN {now} END, \
                     CASE WHEN {human} THEN 'visitor' END FROM (SELECT n, CASE n WHEN {LONG} THEN {LONG_MESSAGES} WHEN {HEAVY} THEN 2500 \
                     ELSE 1 END AS size FROM {all}) AS sized"
            ),
            format!(
                "INSERT INTO messages ({message}) SELECT n, n, 1, 'client', 'text', 'asks', 4, n, n FROM {all}"
            ),
            format!(
                "INSERT INTO messages ({message}) SELECT {CONVERSATIONS} + n, {LONG}, n + 1, {rest} FROM {long}"
            ),
            format!(
                "INSERT INTO messages ({message}) SELECT {CONVERSATIONS} + {LONG_MESSAGES} + n, {HEAVY}, n + 1, \
                     {rest} FROM {heavy}"
            ),
            // Most of it is from before there was such a table: the server makes those rows beside all else.
            format!(
                "INSERT INTO conversation_activity (conversation_id, minute, state, bot_id, integration_type, handler) \
                 SELECT id, updated_at / 60000, CASE WHEN id % 5 = 0 THEN 0 WHEN id % 777 = 1 THEN 2 ELSE 1 END, bot_id, \
                     integration_type, handler FROM conversations WHERE id > {INDEXED_AFTER}"
            ),
            // What the administrator and others have read.
            format!(
                "INSERT INTO seen_marks (reader, conversation_id, up_to) SELECT CASE WHEN n % 100 = 0 THEN '1' \
                     ELSE 'reader-' || n % 100 END, n, n - n % 2 FROM {all} WHERE n % 5 = 0"
            ),
            format!("UPDATE activity_index SET below = {INDEXED_AFTER} + 1"),
            self.documents(),
            format!(
                "UPDATE search_index SET messages_below = {INDEXED_AFTER} + 1, conversations_below = {INDEXED_AFTER} + 1"
            ),
            format!(
                "INSERT INTO idempotency (scope, key, body, lease_until, conversation_id, message_id, created_at) \
                 SELECT 'somebody', 'key-' || n, {}, 0, n, n, CASE WHEN n <= 500 THEN 0 ELSE {now} END FROM {}",
                bytes(32),
                numbers(10_000)
            ),
            format!(
                "INSERT INTO users (email, password_hash, role, created_at) SELECT 'user-' || n, '', 'viewer', 0 \
                 FROM {}",
                numbers(1000)
            ),
            format!(
                "INSERT INTO sessions (token_hash, user_id, created_at, expires_at) SELECT {}, 1 + n % 1000, 0, \
                     CASE WHEN n <= 100 THEN 0 ELSE {now} + {day} END FROM {}",
                bytes(32),
                numbers(10_000)
            ),
            format!(
                "INSERT INTO keys (name, hash, role, api, created_at) SELECT 'key-' || n, {}, 'viewer', 'chatbot', 0 \
                 FROM {}",
                bytes(32),
                numbers(1000)
            ),
        ];
        let (of_conversations, of_messages) =
            ("FROM conversations", "FROM messages JOIN conversations ON conversations.id = conversation_id");
        for (what, id, from) in [
            ("conversations", "conversations.id", of_conversations),
            ("messages", "messages.id", of_messages),
        ] {
            for (level, shift) in [(0, 8), (1, 13), (2, 18), (3, 23)] {
                statements.push(format!(
                    "INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) \
                     SELECT '{what}', {level}, {id} >> {shift}, bot_id, integration_type, count(*) {from} \
                     GROUP BY {id} >> {shift}, bot_id, integration_type"
                ));
            }
        }
        for (sequence, last) in
            [("conversation_ids", CONVERSATIONS), ("message_ids", CONVERSATIONS + LONG_MESSAGES + 2500)]
        {
            statements.push(match self.engine() {
                Engine::Postgres => format!("SELECT setval('{sequence}', {last})"),
                Engine::Sqlite => format!("UPDATE sequences SET last = {last} WHERE name = '{sequence}'"),
            });
        }
        self.run(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await;
        self.analyze().await;
    }

    /// What is searched: the words of every message, and of every tenth conversation's room.
    fn documents(&self) -> String {
        let names = 1_i64 << 56;
        let from = format!(
            "FROM messages JOIN conversations ON conversations.id = conversation_id WHERE messages.id > {INDEXED_AFTER}"
        );
        let named = format!("FROM conversations WHERE id > {INDEXED_AFTER} AND id % 10 = 0");
        let words = "CASE role WHEN 'client' THEN 'asks' ELSE 'an answer' END";
        match self.engine() {
            Engine::Postgres => format!(
                "INSERT INTO search_documents (id, conversation_id, terms, place) \
                 SELECT messages.id, conversation_id, to_tsvector('simple', {words}), \
                     wicara_place_1(messages.id, bot_id, 0) {from}; \
                 INSERT INTO search_documents (id, conversation_id, terms, place) \
                 SELECT {names} + id, id, to_tsvector('simple', 'website ' || id), \
                     wicara_place_1({names} + id, bot_id, 0) {named}"
            ),
            Engine::Sqlite => format!(
                "INSERT INTO search_documents (rowid, conversation_id, terms, scope) \
                 SELECT messages.id, conversation_id, {words}, 'b' || lower(hex(bot_id)) {from}; \
                 INSERT INTO search_documents (rowid, conversation_id, terms, scope) \
                 SELECT {names} + id, id, 'website ' || id, 'b' || lower(hex(bot_id)) {named}"
            ),
        }
    }

    /// Questions that another server asks.
    pub async fn fill_asks(&self, node: i64, count: i64) {
        let numbers = numbers(self.engine(), count);
        self.run(&format!(
            "INSERT INTO asks (message_id, node, asked_at) SELECT n, {node}, 0 FROM {numbers}"
        ))
        .await;
        self.analyze().await;
    }

    /// As PostgreSQL does by itself in time; SQLite never does.
    async fn analyze(&self) {
        if self.engine() == Engine::Postgres {
            self.run("VACUUM ANALYZE").await;
        }
    }
}

/// A table of the numbers from 1 on, in the column `n`.
fn numbers(engine: Engine, count: i64) -> String {
    match engine {
        Engine::Postgres => format!("generate_series(1, {count}) AS numbers (n)"),
        Engine::Sqlite => format!(
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             SELECT n FROM numbers) AS numbers"
        ),
    }
}

/// Bytes that stand for the number `n`.
fn bytes(engine: Engine, length: usize) -> String {
    let digits = 2 * length;
    match engine {
        Engine::Postgres => format!("decode(lpad(to_hex(n), {digits}, '0'), 'hex')"),
        Engine::Sqlite => format!("unhex(printf('%0{digits}x', n))"),
    }
}
