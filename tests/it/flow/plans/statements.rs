//! The statements that the server ran, and what is wrong with the way in which the database carried them out.
//!
//! PostgreSQL's module auto_explain tells the plans themselves, with the rows that each step handled, also of what
//! foreign keys do. SQLite's statements and their work are in the server's log; it tells their plans when asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::Value;

use crate::support::{PATIENCE, until};

/// Rows that one step of a plan may handle: the largest piece that is deleted in one transaction, with the conversation's
/// names.
const ROWS: f64 = 2001.0;
/// The same for SQLite, in instructions of its machine; going through 100,000 rows takes at least 300,000.
const STEPS: u64 = 150_000;

/// Lists that are walked count up to ten thousand entries, for two bots of each one's, and where they are few, sort them.
const COUNTED: &str = ") AS walked";
const COUNTED_ROWS: f64 = 20_002.0;
const COUNTED_STEPS: u64 = 1_000_000;

/// Searches look up so many entries at once, by ids that they bring along.
const BROUGHT: [&str; 3] = ["json_each", "string_to_array", "ts_rank"];

/// A search looks at one bucket of documents after the other, of which the largest have so many.
const IN_A_BUCKET: &str = "v_place";
const BUCKET_ROWS: f64 = 65_536.0;

/// Who follows the feed anew reads 2048 events back, in whole batches: of those that give questions up each has 500.
const READ_BACK: f64 = 2600.0;

/// What may be read from one end to the other, by which operation (`""`: any).
const SMALL: [(&str, &str); 15] = [
    // One row.
    ("", "feed"),
    ("", "activity_index"),
    ("", "search_index"),
    // A row for each server.
    ("", "node_batches"),
    ("", "node_folds"),
    ("", "nodes"),
    // A row for each version of the schema.
    ("", "refinery_schema_history"),
    // Conversations that are being deleted.
    ("", "deletions"),
    // Conversations that have moved and are being indexed anew.
    ("", "search_moves"),
    // Deletions of the last minutes that may be undone.
    ("", "undos"),
    // People and programs, listed by a command; a start looks whether there is anybody, and removing a person whether
    // another administrator stays.
    ("start", "users"),
    ("user_list", "users"),
    ("key_list", "keys"),
    ("user_delete", "users"),
    // What is being asked, looked through every half minute.
    ("", "asks"),
];

/// Lists of a user or a room, who have few conversations: the database may sort those. And what moves to another bot,
/// with all its messages.
const SORTED: [&str; 3] = ["userId=", "room=", "conversation_update"];

/// Lists of one conversation's messages, which go to their page row by row, over an index, and what moves.
const WALKED: [&str; 2] = ["conversationId=", "conversation_update"];

/// Tables that are read by buckets: of the totals there are few, and of documents few are in one.
const IN_BUCKETS: [&str; 2] = ["totals", "search_documents"];

pub enum Explain {
    /// The server's log, with auto_explain's plans.
    Postgres,
    /// The program's log, with every statement, and the database.
    Sqlite(Connection),
}

pub struct Statements {
    explain: Explain,
    log: File,
    /// The beginning of a line.
    rest: String,
    /// What is wrong, by statement.
    faults: BTreeMap<String, String>,
}

struct Plan {
    sql: String,
    text: String,
    faults: Vec<String>,
}

impl Statements {
    pub fn new(explain: Explain, log: PathBuf) -> Self {
        if let Explain::Sqlite(connection) = &explain {
            // What foreign keys do is shown too.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP, true).unwrap();
        }
        let mut log = File::open(log).unwrap();
        log.seek(SeekFrom::End(0)).unwrap();
        Self { explain, log, rest: String::new(), faults: BTreeMap::new() }
    }

    /// Waits until the program's own log, where that is read, says that a request was answered.
    pub async fn wait_for(&mut self, request_id: &str) {
        if matches!(self.explain, Explain::Sqlite(_)) {
            until(PATIENCE, "the request is in the log", async || {
                self.log.read_to_string(&mut self.rest).unwrap();
                self.rest.contains(request_id)
            })
            .await;
        }
    }

    /// Takes the statements that were run since the last time to be this operation's, and returns them.
    pub fn take(&mut self, operation: &str) -> Vec<String> {
        let mut written = std::mem::take(&mut self.rest);
        self.log.read_to_string(&mut written).unwrap();
        let whole = written.rfind('\n').map_or(0, |end| end + 1);
        self.rest = written.split_off(whole);
        let plans = match &self.explain {
            Explain::Postgres => {
                // Other sessions work on beside this one: the last plan may be on its way into the log.
                let last = written.rfind("  plan:\n").filter(|&last| plan(&written[last + 8..]).is_err());
                if let Some(last) = last {
                    self.rest = written.split_off(last) + &self.rest;
                }
                postgres(operation, &written)
            }
            Explain::Sqlite(connection) => sqlite(operation, &written, connection),
        };
        let mut run = Vec::new();
        for Plan { sql, text, faults } in plans {
            if !faults.is_empty() {
                let told = format!("{operation}: {}\n  {sql}\n{text}", faults.join(", "));
                self.faults.entry(sql.clone()).or_insert(told);
            }
            run.push(sql);
        }
        run
    }

    pub fn assert_good(&self) {
        let faults: Vec<&str> = self.faults.values().map(String::as_str).collect();
        assert!(faults.is_empty(), "{} statements are not good:\n\n{}", faults.len(), faults.join("\n"));
    }
}

/// What the server runs beside lists: the sweep that gives up questions, which reads asks, locks conversations, and writes; what
/// makes rows for what was stored before; folds; and what follows the feed. Of functions the parts are told too.
const BESIDE_LISTS: [&str; 13] = [
    "FOR UPDATE",
    "FOR NO KEY UPDATE",
    "SELECT next_seq, newest_id",
    "FROM asks",
    "idempotency",
    "search_index",
    "search_moves",
    "gin_clean_pending_list",
    "wicara_activity",
    "wicara_fold",
    "event_batches",
    "nodes",
    "v_",
];

/// Whether a statement may be a list's.
pub fn may_be_of_a_list(sql: &str) -> bool {
    let writes = ["INSERT", "UPDATE", "DELETE"].iter().any(|word| sql.starts_with(word));
    !writes && !BESIDE_LISTS.iter().any(|part| sql.contains(part))
}

/// Whether a list's statement counts entries, or looks up what was counted.
fn is_counted(sql: &str) -> bool {
    sql.contains(COUNTED) || BROUGHT.iter().any(|part| sql.contains(part))
}

fn is_small(operation: &str, table: &str) -> bool {
    SMALL.iter().any(|&(by, small)| small == table && (by.is_empty() || by == operation))
}

fn is_one_of(operation: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| operation.contains(part))
}

/// The plans in a part of PostgreSQL's log. Lines after a message's first begin with a tab.
fn postgres(operation: &str, log: &str) -> Vec<Plan> {
    let parts = log.split("  plan:\n").skip(1);
    parts
        .map(|part| {
            let plan = plan(part).unwrap();
            let (mut text, mut faults) = (String::new(), Vec::new());
            let sql = plan["Query Text"].as_str().unwrap().to_owned();
            let most = match () {
                () if sql.contains(IN_A_BUCKET) => BUCKET_ROWS,
                () if is_counted(&sql) => COUNTED_ROWS,
                () if sql.contains("event_batches") => READ_BACK,
                () => ROWS,
            };
            node((operation, most), &plan["Plan"], 2, &mut text, &mut faults);
            Plan { sql, text, faults }
        })
        .collect()
}

fn plan(part: &str) -> serde_json::Result<Value> {
    let lines: Vec<_> = part.lines().map_while(|line| line.strip_prefix('\t')).collect();
    serde_json::from_str(&lines.join("\n"))
}

/// `most`: rows that a step may handle.
fn node(
    (operation, most): (&str, f64),
    plan: &Value,
    depth: usize,
    text: &mut String,
    faults: &mut Vec<String>,
) {
    let word = |name: &str| plan[name].as_str().unwrap_or_default();
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let (kind, table) = (word("Node Type"), word("Relation Name"));
    let removed = ["Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"];
    let each = number("Actual Rows") + removed.into_iter().map(number).sum::<f64>();
    let rows = each * number("Actual Loops");
    let conditions: Vec<_> = ["Index Cond", "Recheck Cond", "Filter", "Join Filter", "Sort Key"]
        .into_iter()
        .filter(|name| !plan[name].is_null())
        .map(|name| format!(", {name}: {}", plan[name]))
        .collect();
    *text += &format!(
        "{:1$}{kind} {table} {2}, {rows} rows{3}\n",
        "",
        2 * depth,
        word("Index Name"),
        conditions.concat()
    );
    if kind == "Seq Scan" && word("Schema") != "pg_catalog" && !is_small(operation, table) {
        faults.push(format!("reads all of {table}"));
    }
    let of_buckets = IN_BUCKETS.contains(&&*sorted(plan));
    let sorts =
        kind.ends_with("Sort") && !is_limited(plan) && !of_buckets && !is_small(operation, &sorted(plan));
    if sorts && !is_one_of(operation, &SORTED) {
        faults.push("sorts what has no limit".to_owned());
    }
    if rows > most && !is_one_of(operation, &WALKED) {
        faults.push(format!("a step ({kind} {table}) handles {rows} rows"));
    }
    for plan in plan["Plans"].as_array().into_iter().flatten() {
        node((operation, most), plan, depth + 1, text, faults);
    }
}

/// Whether what a step works on is at most a page, or what the request brought.
fn is_limited(plan: &Value) -> bool {
    let kind = plan["Node Type"].as_str();
    kind == Some("Limit")
        || kind == Some("Function Scan")
        || plan["Plans"].as_array().into_iter().flatten().any(is_limited)
}

/// The table whose rows are sorted, where it is one.
fn sorted(plan: &Value) -> String {
    let below = plan["Plans"].as_array().and_then(|plans| plans.first());
    below.and_then(|plan| plan["Relation Name"].as_str()).unwrap_or_default().to_owned()
}

/// The plans of the statements in a part of the program's log.
fn sqlite(operation: &str, log: &str, connection: &Connection) -> Vec<Plan> {
    let lines = log.lines().filter(|line| line.contains("\"sql\":"));
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let (sql, steps) = (line["sql"].as_str().unwrap().to_owned(), line["steps"].as_u64().unwrap());
            let (text, mut faults) = explain(operation, &sql, connection);
            let most = if is_counted(&sql) { COUNTED_STEPS } else { STEPS };
            if steps > most && !is_one_of(operation, &WALKED) {
                faults.push(format!("takes {steps} steps"));
            }
            Plan { sql, text: format!("{text}    ({steps} steps)\n"), faults }
        })
        .collect()
}

fn explain(operation: &str, sql: &str, connection: &Connection) -> (String, Vec<String>) {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Where something that a foreign key does begins, there is no text.
    let step = |step: Option<String>| step.unwrap_or("FOREIGN KEY".to_owned());
    let steps = statement.raw_query().mapped(|row| Ok((row.get(0)?, row.get(1)?, step(row.get(3)?))));
    let steps: Vec<(i64, i64, String)> = steps.map(Result::unwrap).collect();
    let inner: BTreeSet<&str> = steps
        .iter()
        .filter_map(|(.., step)| step.strip_prefix("CO-ROUTINE ").or(step.strip_prefix("MATERIALIZE ")))
        .collect();
    let (mut text, mut faults) = (String::new(), Vec::new());
    let mut depths = BTreeMap::new();
    for (id, parent, step) in &steps {
        let depth = depths.get(parent).map_or(2, |depth| depth + 1);
        depths.insert(*id, depth);
        text += &format!("{:1$}{step}\n", "", 2 * depth);
        let table = step.strip_prefix("SCAN ").and_then(|scanned| scanned.split(' ').next());
        // What a limit ends early takes few steps.
        if sql.contains("LIMIT") {
            continue;
        }
        // A full-text index is asked for words or for an id, which stand behind its number.
        let is_asked = step.contains("VIRTUAL TABLE INDEX") && !step.ends_with("INDEX 0:");
        if let Some(table) = table
            && !is_asked
            && !inner.contains(table)
            && table != "CONSTANT"
            && !table.starts_with("sqlite_")
            && !is_small(operation, table)
        {
            faults.push(format!("reads all of {table}"));
        }
        if step.starts_with("USE TEMP B-TREE") && !is_one_of(operation, &SORTED) {
            faults.push("sorts what has no limit".to_owned());
        }
    }
    (text, faults)
}
