//! What is searched: messages of random words, most of them a few common ones, with the documents that the server would have
//! made of them, and conversations that wait for people.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use rusqlite::Connection;
use wicara_search::Terms;

use super::words::text;
use crate::data::{BOTS, Dialect, INTEGRATIONS, Size};
use crate::folder::Folder;

/// Of so many conversations one has the first bot: the only one that the key for one bot may see.
const RARE_BOT: i64 = 1000;
/// Of so many conversations one ends with a question, and one with a question that failed.
const UNANSWERED: i64 = 20;
const FAILED: i64 = 200;
/// Of so many conversations people have one, and the person who asks every second of these.
const WITH_PEOPLE: i64 = 100;
/// Of so many conversations the person has opened one, and read half of these to the end.
const OPENED: i64 = 50;
/// The id of the person: the first of the database.
const PERSON: &str = "1";

/// Two whole years, over which the messages are spread.
pub const FIRST_YEAR: i64 = 2024;
const FIRST_AT: i64 = 1_704_067_200_000;
const SPAN: i64 = (366 + 365) * 24 * 60 * 60 * 1000;

/// Documents of the names of conversations have ids from here on.
const NAMES: i64 = 1 << 56;

/// Holds the texts of messages and the names of conversations, by the id of their documents, while the rows are made.
#[must_use]
pub fn texts_table(dialect: &Dialect) -> String {
    format!("CREATE TEMPORARY TABLE texts (id bigint, text text, terms {})", dialect.terms_type)
}

fn texts(size: Size) -> impl Iterator<Item = (i64, String)> {
    let users = size.users();
    let names = move |id| match id % 4 {
        0 => format!("x{id}"),
        _ => format!("x{id} u{}", id / 4 % users),
    };
    let names = (1..=size.conversations).map(move |id| (NAMES + id, names(id)));
    (1..=size.all_messages()).map(|id| (id, text(id))).chain(names)
}

/// Writes all texts as psql reads them.
pub fn write_texts(folder: &Folder, size: Size) -> Result<PathBuf> {
    let path = folder.path.join("texts");
    let mut file = BufWriter::new(File::create(&path)?);
    for (id, text) in texts(size) {
        let terms = Terms::of(&text);
        write!(file, "{id}\t{text}\t")?;
        // A lexeme may come again with another position.
        for (position, word) in terms.words() {
            write!(file, "{word}:{position} ")?;
        }
        writeln!(file, "{}", terms.unplaced().collect::<Vec<_>>().join(" "))?;
    }
    file.into_inner()?.sync_data()?;
    Ok(path)
}

pub fn insert_texts(connection: &Connection, size: Size, dialect: &Dialect) -> rusqlite::Result<()> {
    connection.execute_batch(&texts_table(dialect))?;
    connection.execute_batch("BEGIN")?;
    let mut insert = connection.prepare("INSERT INTO texts VALUES (?1, ?2, ?3)")?;
    for (id, text) in texts(size) {
        insert.execute((id, &text, Terms::of(&text).as_str()))?;
    }
    connection.execute_batch("COMMIT")
}

/// Messages of the same number in each conversation, conversations, and the documents of both in one transaction.
pub fn insertions(size: Size, dialect: &Dialect) -> Vec<String> {
    let Size { conversations, messages, .. } = size;
    let step = SPAN / size.all_messages();
    let (session, users, one) = (dialect.session, size.users(), (dialect.series)(conversations));
    let ([rare, first, second], [website, telegram, whatsapp]) = (BOTS, INTEGRATIONS);
    let at = |id: &str| format!("{FIRST_AT} + {id} * {step}");
    let messages_made = format!(
        "INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, reply_to, failure, failed_at, created_at, \
             updated_at) \
         SELECT id, conversation, seq, role, 'text', text, length(text), CASE WHEN role = 'bot' THEN id - 1 END, \
             CASE WHEN has_failed = 1 THEN 'timeout' END, CASE WHEN has_failed = 1 THEN at END, at, at \
         FROM (SELECT id, conversation, seq, text, {at} AS at, \
                 CASE WHEN seq < {messages} AND seq % 2 = 1 OR seq = {messages} AND conversation % {UNANSWERED} = 0 \
                     THEN 'client' ELSE 'bot' END AS role, \
                 CASE WHEN seq = {messages} AND conversation % {FAILED} = 0 THEN 1 ELSE 0 END AS has_failed \
             FROM (SELECT id, text, (id - 1) / {messages} + 1 AS conversation, (id - 1) % {messages} + 1 AS seq \
                 FROM texts WHERE id < {NAMES}) AS placed) AS answered",
        at = at("id")
    );
    let conversations_made = format!(
        "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler, \
             assignee_id, assignee_kind, assignee_name, handed_over_at, handover_reason, unclaimed_since, \
             next_seq, message_count, note_count, message_bytes, created_at, updated_at) \
         SELECT id, {session}, 0, 'x' || id, \
             CASE id % 3 WHEN 0 THEN '{website}' WHEN 1 THEN '{telegram}' ELSE '{whatsapp}' END, \
             CASE WHEN id % {RARE_BOT} = 7 THEN '{rare}' WHEN id % 2 = 0 THEN '{first}' ELSE '{second}' END, \
             CASE WHEN id % 4 > 0 THEN 'u' || (id / 4 % {users}) END, \
             CASE WHEN has_person > 0 THEN 'human' ELSE 'bot' END, \
             CASE WHEN has_person = 2 THEN '{PERSON}' END, CASE WHEN has_person = 2 THEN 'person' END, \
             CASE WHEN has_person = 2 THEN 'admin' END, CASE WHEN has_person > 0 THEN {created} END, \
             CASE WHEN has_person > 0 THEN 'visitor' END, CASE WHEN has_person = 1 THEN {created} END, \
             {messages} + 1, {messages}, 0, bytes, {created}, {updated} \
         FROM (SELECT id, CASE id % {twice} WHEN 3 THEN 2 WHEN {unclaimed} THEN 1 ELSE 0 END AS has_person FROM {one}) \
             AS made \
         JOIN (SELECT conversation_id, CAST(sum(bytes) AS bigint) AS bytes FROM messages GROUP BY conversation_id) \
             AS sizes ON conversation_id = id",
        created = at(&format!("((id - 1) * {messages} + 1)")),
        updated = at(&format!("(id * {messages})")),
        twice = 2 * WITH_PEOPLE,
        unclaimed = WITH_PEOPLE + 3,
    );
    vec![messages_made, conversations_made, documents(dialect), "DROP TABLE texts".to_owned()]
}

fn documents(dialect: &Dialect) -> String {
    let Dialect { place, document_id, place_column, .. } = dialect;
    format!(
        "INSERT INTO search_documents ({document_id}, conversation_id, terms, {place_column}) \
         SELECT texts.id, conversation_id, terms, {at} \
         FROM texts JOIN messages ON messages.id = texts.id JOIN conversations ON conversations.id = conversation_id \
         UNION ALL SELECT texts.id, conversations.id, terms, {at} \
         FROM texts JOIN conversations ON conversations.id = texts.id - {NAMES} WHERE texts.id >= {NAMES}",
        at = place("texts.id", "bot_id"),
    )
}

/// What the person has read.
pub fn kept(size: Size) -> String {
    let messages = size.messages;
    format!(
        "INSERT INTO seen_marks (reader, conversation_id, up_to) \
         SELECT '{PERSON}', id, CASE WHEN id % {twice} = 1 THEN id * {messages} ELSE (id - 1) * {messages} + 1 END \
         FROM conversations WHERE id % {OPENED} = 1;\n",
        twice = 2 * OPENED
    )
}
