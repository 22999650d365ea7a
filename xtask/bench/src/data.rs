//! What the databases hold: made in bulk by SQL, as the server itself would have left it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rusqlite::Connection;

use crate::folder::{Folder, run};
use crate::search::fill as words;

/// How much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    pub conversations: i64,
    /// In each but the long one.
    pub messages: i64,
    /// Messages of the long conversation, in the middle of the others.
    pub long: i64,
}

/// What is said in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The same few sentences.
    Talk,
    /// Words that are searched, with the documents of them, and conversations that wait for people.
    Words,
}

/// Bots of the conversations; the last is not configured.
pub const BOTS: [&str; 3] = ["instant", "stream", "archive"];
pub const INTEGRATIONS: [&str; 3] = ["website", "telegram", "whatsapp"];
/// Conversations of one user at least, until there are [`USERS`].
const OF_ONE_USER: i64 = 20;
const USERS: i64 = 5000;
/// Every so many conversations, one shares its room with others.
const SHARED_ROOM: i64 = 10;
/// Conversations that share a room.
const IN_ONE_ROOM: i64 = 20;

impl Size {
    #[must_use]
    pub fn long_conversation(&self) -> i64 {
        self.conversations / 2
    }

    #[must_use]
    pub fn all_messages(&self) -> i64 {
        self.conversations * self.messages + self.long_rest()
    }

    #[must_use]
    pub fn users(&self) -> i64 {
        (self.conversations / OF_ONE_USER).clamp(1, USERS)
    }

    #[must_use]
    pub fn shared_rooms(&self) -> i64 {
        (self.conversations / SHARED_ROOM / IN_ONE_ROOM).max(1)
    }

    fn long_rest(&self) -> i64 {
        (self.long - self.messages).max(0)
    }

    /// Sessions of the instant bot that a visitor may ask in.
    pub fn sessions(&self) -> impl Iterator<Item = String> {
        (1..=self.conversations).filter(|id| id % 9 == 0 && *id != self.long_conversation()).map(session)
    }
}

/// The session of a conversation: known from its id, and scattered over the index like a random one.
#[must_use]
pub fn session(id: i64) -> String {
    format!("{:08x}-0000-4000-8000-{id:012x}", id * 2_654_435_761 % 4_294_967_296)
}

/// The insertions that both databases take; only sessions and series are spelt differently.
fn insertions(size: Size, dialect: &Dialect) -> [String; 2] {
    let Size { conversations, messages, .. } = size;
    let (users, rooms, rest) = (size.users(), size.shared_rooms(), size.long_rest());
    let (long, short_messages) = (size.long_conversation(), conversations * messages);
    let [first, second, third] = BOTS;
    let [website, telegram, whatsapp] = INTEGRATIONS;
    let session = dialect.session;
    let one = (dialect.series)(conversations);
    let many = (dialect.series)(short_messages + rest);
    let conversations = format!(
        "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
             handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at) \
         SELECT id, {session}, CASE WHEN integration = '{website}' THEN 1 ELSE 0 END, \
             CASE WHEN id % {SHARED_ROOM} = 0 THEN 'room-' || (id / {SHARED_ROOM} % {rooms}) \
                 ELSE integration || '-' || id END, \
             integration, bot, CASE WHEN id % 4 = 0 THEN NULL ELSE 'user-' || (id / 4 % {users}) END, 'bot', \
             messages + 1, messages, 0, bytes, 1780000000000 + id * 1000, 1780000000000 + id * 1000 \
         FROM (SELECT id, CASE id % 3 WHEN 0 THEN '{website}' WHEN 1 THEN '{telegram}' \
                 ELSE '{whatsapp}' END AS integration, \
             CASE id / 3 % 3 WHEN 0 THEN '{first}' WHEN 1 THEN '{second}' ELSE '{third}' END AS bot, \
             {messages} + CASE WHEN id = {long} THEN {rest} ELSE 0 END AS messages FROM {one}) AS made \
         JOIN (SELECT conversation_id, CAST(sum(bytes) AS bigint) AS bytes FROM messages GROUP BY conversation_id) \
             AS sizes ON conversation_id = id"
    );
    // Those of one conversation stand together, and the rest of the long one at the end.
    let messages = format!(
        "INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, \
             created_at, updated_at) \
         SELECT id, conversation, seq, CASE WHEN odd = 1 THEN 'client' ELSE 'bot' END, 'text', text, payload, \
             length(text) + coalesce(length(payload), 0), CASE WHEN odd = 1 THEN NULL ELSE id - 1 END, \
             1780000000000 + id * 200, 1780000000000 + id * 200 \
         FROM (SELECT id, conversation, seq, odd, text, CASE WHEN odd = 1 OR conversation = {long} THEN NULL \
                 ELSE '{{\"text\":\"' || text || '\",\"category\":\"services\",\"suggest_links\":[{{\"title\":\
                 \"Opening hours\",\"url\":\"https://office.example/hours/' || id % 100 || '\"}}]}}' END AS payload \
             FROM (SELECT id, conversation, seq, seq % 2 AS odd, CASE WHEN conversation = {long} THEN {long_text} \
                     WHEN seq % 2 = 1 THEN 'Question ' || id || ': when is the office open, and what has to be \
brought along?' \
                     ELSE 'Answer ' || id || ': from Monday to Friday, from eight to four; bring your identity card.' \
                     END AS text \
                 FROM (SELECT id, \
                     CASE WHEN id > {short_messages} THEN {long} ELSE (id - 1) / {messages} + 1 END AS conversation, \
                     CASE WHEN id > {short_messages} THEN id - {short_messages} + {messages} \
                         ELSE (id - 1) % {messages} + 1 END AS seq FROM {many}) AS placed) AS worded) AS answered",
        long_text = dialect.long_text,
    );
    [messages, conversations]
}

/// What the server keeps beside conversations and messages: totals, so that it need not count, what lists by activity read,
/// how far it is with the documents that searches read, and the last ids.
fn kept(size: Size, dialect: &Dialect) -> String {
    const TOTALS: &str = "INSERT INTO totals (what, level, bucket, bot_id, integration_type, count) ";
    let mut kept = String::new();
    for (what, id, from) in [
        ("conversations", "conversations.id", "conversations"),
        ("messages", "messages.id", "messages JOIN conversations ON conversations.id = conversation_id"),
    ] {
        kept += &format!(
            "{TOTALS}SELECT '{what}', 0, {id} >> 8, bot_id, integration_type, count(*) FROM {from} \
             GROUP BY {id} >> 8, bot_id, integration_type;\n"
        );
        for (level, shift) in [(1, 5), (2, 10), (3, 15)] {
            kept += &format!(
                "{TOTALS}SELECT what, {level}, bucket >> {shift}, bot_id, integration_type, sum(count) FROM totals \
                 WHERE what = '{what}' AND level = 0 GROUP BY what, bucket >> {shift}, bot_id, integration_type;\n"
            );
        }
    }
    kept += "INSERT INTO conversation_activity (conversation_id, minute, state, bot_id, integration_type, handler, \
             assignee_id) \
         SELECT id, updated_at / 60000, (SELECT CASE WHEN role <> 'client' THEN 0 WHEN failure IS NULL THEN 1 ELSE 2 END \
             FROM messages WHERE conversation_id = conversations.id ORDER BY conversation_id DESC, id DESC LIMIT 1), \
             bot_id, integration_type, handler, assignee_id FROM conversations;\n";
    // Everything counts as searchable, also where nothing has a document: the server would make those in the background, and
    // disturb what is measured.
    kept += "UPDATE search_index SET messages_below = 0, conversations_below = 0;\n";
    let id = dialect.last_id;
    kept + &id("conversation_ids", size.conversations) + &id("message_ids", size.all_messages())
}

pub struct Dialect {
    pub session: &'static str,
    /// 380 bytes, of which 2,000 with all that stands around them make a megabyte.
    long_text: &'static str,
    pub series: fn(i64) -> String,
    /// The type of a document's terms.
    pub terms_type: &'static str,
    /// Where a document is: of its id and bot.
    pub place: fn(&str, &str) -> String,
    pub place_column: &'static str,
    pub document_id: &'static str,
    last_id: fn(&str, i64) -> String,
}

const POSTGRES: Dialect = Dialect {
    session: "CAST(lpad(to_hex(id * 2654435761 % 4294967296), 8, '0') || '-0000-4000-8000-' || \
        lpad(to_hex(id), 12, '0') AS uuid)",
    long_text: "repeat('A long answer. ', 25)",
    series: |count| format!("generate_series(CAST(1 AS bigint), {count}) AS series (id)"),
    terms_type: "tsvector",
    place: |id, bot| format!("wicara_place_1({id}, {bot}, 0)"),
    place_column: "place",
    document_id: "id",
    last_id: |sequence, last| format!("SELECT setval('{sequence}', {last});\n"),
};

const SQLITE: Dialect = Dialect {
    session: "unhex(printf('%08x000040008000%012x', id * 2654435761 % 4294967296, id))",
    long_text: "replace(printf('%.25c', 'x'), 'x', 'A long answer. ')",
    series: |count| {
        format!(
            "(WITH RECURSIVE series (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM series WHERE id < {count}) \
             SELECT id FROM series)"
        )
    },
    terms_type: "text",
    place: |_, bot| format!("'b' || lower(hex({bot}))"),
    place_column: "scope",
    document_id: "rowid",
    last_id: |sequence, last| format!("UPDATE sequences SET last = {last} WHERE name = '{sequence}';\n"),
};

/// What a database gets, in this order.
struct Fill {
    insertions: Vec<String>,
    kept: String,
}

impl Fill {
    fn new(size: Size, content: Content, dialect: &Dialect) -> Self {
        match content {
            Content::Talk => Self { insertions: insertions(size, dialect).into(), kept: kept(size, dialect) },
            Content::Words => {
                let insertions = words::insertions(size, dialect);
                Self { insertions, kept: kept(size, dialect) + &words::kept(size) }
            }
        }
    }
}

/// Those whose indexes are made at once after their rows, which is faster than row by row.
const FILLED: &str = "('conversations', 'messages', 'search_documents')";

/// Fills the empty schema of a PostgreSQL database.
pub fn fill_postgres(folder: &Folder, psql: &Path, url: &str, size: Size, content: Content) -> Result<()> {
    let Fill { insertions, kept } = Fill::new(size, content, &POSTGRES);
    let texts = match content {
        Content::Talk => String::new(),
        Content::Words => {
            let file = words::write_texts(folder, size)?;
            format!("{};\n\\copy texts FROM '{}'\n", words::texts_table(&POSTGRES), file.display())
        }
    };
    let script = format!(
        "\\set QUIET on\n\\set ON_ERROR_STOP on\n\
        SET maintenance_work_mem = '256MB';\n\
        CREATE TEMPORARY TABLE dropped AS SELECT indexname, indexdef FROM pg_indexes \
            WHERE tablename IN {FILLED} AND indexname NOT IN (SELECT conname FROM pg_constraint);\n\
        SELECT format('DROP INDEX %I', indexname) FROM dropped \\gexec\n\
        {texts}{insertions};\n\
        SELECT indexdef FROM dropped \\gexec\n\
        \\o /dev/null\n\
        {kept}\
        VACUUM (ANALYZE);\n\
        CHECKPOINT;\n",
        insertions = insertions.join(";\n")
    );
    let script = folder.write("fill.sql", script)?;
    run(Command::new(psql).args(["--no-psqlrc", "--dbname", url, "--file"]).arg(script)).map(drop)
}

/// Fills the empty schema of an SQLite database that no server has open.
pub fn fill_sqlite(path: &Path, size: Size, content: Content) -> Result<()> {
    let Fill { insertions, kept } = Fill::new(size, content, &SQLITE);
    let fill = || -> rusqlite::Result<()> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -262_144)?;
        let mut indexes = connection.prepare(&format!(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN {FILLED}"
        ))?;
        let indexes: Vec<(String, String)> =
            indexes.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (name, _) in &indexes {
            connection.execute_batch(&format!("DROP INDEX {name}"))?;
        }
        if content == Content::Words {
            words::insert_texts(&connection, size, &SQLITE)?;
        }
        for insertion in insertions {
            connection.execute_batch(&insertion)?;
        }
        for (_, definition) in &indexes {
            connection.execute_batch(definition)?;
        }
        connection.execute_batch(&kept)?;
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
    };
    fill().with_context(|| format!("{} cannot be filled", path.display()))
}
