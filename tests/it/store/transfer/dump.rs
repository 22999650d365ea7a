//! Everything that is stored, read by the schema that a database has and not by the product's description of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Database;
use crate::support::database::connect;

/// Tables about running servers or made by each database for itself, and those that have another form on each engine.
pub const OF_SERVERS: [&str; 8] = [
    "nodes",
    "node_folds",
    "node_batches",
    "feed",
    "events",
    "event_batches",
    "conversation_activity",
    "activity_index",
];
const OF_ENGINES: [&str; 2] = ["refinery_schema_history", "sequences"];
/// What searches read, which each database makes for itself; SQLite's index has tables of its own.
const OF_SEARCH: &str = "search_";

/// The columns of each table, with their types.
pub async fn columns(database: &Database) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let sql = if is_sqlite(database) {
        "SELECT tables.name, columns.name, lower(columns.type) FROM sqlite_schema AS tables \
         JOIN pragma_table_info(tables.name) AS columns \
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    } else {
        "SELECT table_name, column_name, data_type FROM information_schema.columns \
         JOIN information_schema.tables USING (table_schema, table_name) \
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    };
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for row in rows(database, sql).await {
        let [table, column, kind] = row.try_into().unwrap();
        if table != OF_ENGINES[0] && !table.starts_with(OF_SEARCH) {
            found.entry(table).or_default().insert((column, kind));
        }
    }
    found
}

/// The rows of each table, as sorted texts that are the same on both engines.
pub async fn dump(database: &Database) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (table, columns) in columns(database).await {
        if OF_SERVERS.contains(&table.as_str()) || OF_ENGINES.contains(&table.as_str()) {
            continue;
        }
        let expressions = columns.iter().map(|(column, kind)| match kind.as_str() {
            "bytea" => format!("encode(\"{column}\", 'hex')"),
            "uuid" => format!("replace(CAST(\"{column}\" AS text), '-', '')"),
            "blob" => format!("CASE WHEN \"{column}\" IS NOT NULL THEN lower(hex(\"{column}\")) END"),
            _ => format!("CAST(\"{column}\" AS text)"),
        });
        let expressions = expressions.collect::<Vec<_>>().join(", ");
        let sql = if table == "totals" {
            "SELECT what, level, bucket, bot_id, integration_type, CAST(sum(count) AS text) FROM current_totals \
             GROUP BY what, level, bucket, bot_id, integration_type HAVING sum(count) <> 0"
                .to_owned()
        } else {
            format!("SELECT {expressions} FROM \"{table}\"")
        };
        let mut lines: Vec<_> = rows(database, &sql).await.into_iter().map(|row| row.join(" | ")).collect();
        lines.sort_unstable();
        found.insert(table, lines);
    }
    found
}

/// The last ids that the engine has given, by sequence.
pub async fn ids(database: &Database) -> BTreeMap<String, String> {
    let sql = if is_sqlite(database) {
        "SELECT name, CAST(last AS text) FROM sequences UNION ALL SELECT name, CAST(seq AS text) FROM sqlite_sequence"
    } else {
        "SELECT sequencename, CAST(last_value AS text) FROM pg_sequences"
    };
    let pair = |row: Vec<String>| (row[0].clone(), row[1].clone());
    rows(database, sql).await.into_iter().map(pair).collect()
}

pub fn is_sqlite(database: &Database) -> bool {
    database.url.starts_with("sqlite:")
}

/// What a query finds; nothing stands as `-`.
pub async fn rows(database: &Database, sql: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    if let Some(path) = database.url.strip_prefix("sqlite:") {
        use rusqlite::types::ValueRef;
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let mut results = statement.query([]).unwrap();
        while let Some(row) = results.next().unwrap() {
            let word = |column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "-".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            };
            found.push((0..width).map(word).collect());
        }
    } else {
        for message in connect(&database.url).await.simple_query(sql).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                found.push((0..row.len()).map(|column| row.get(column).unwrap_or("-").to_owned()).collect());
            }
        }
    }
    found
}
