//! The results for programs.

use serde_json::{Map, Value, json};

use crate::figure::{Cost, Figure, Measured, Row, Target};
use crate::machine::Facts;

#[must_use]
pub fn results(rows: &[Row], facts: &Facts, quick: bool) -> Value {
    let machine: Map<_, _> = facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
    json!({
        "quick": quick,
        "machine": machine,
        "results": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    let (least, most) = row.spread();
    json!({
        "benchmark": row.benchmark,
        "what": row.what,
        "engine": row.engine.name(),
        "value": row.value(),
        "unit": row.unit,
        "min": least,
        "max": most,
        "target": match row.target {
            Target::AtLeast(least) => json!({ "at_least": least }),
            Target::AtMost(most) => json!({ "at_most": most }),
            Target::None => Value::Null,
        },
        "met": row.met(),
        "errors": row.errors(),
        "rounds": row.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

fn round(figure: &Figure) -> Value {
    let Measured { rate, p50, p99, errors, cost, memory } = &figure.load;
    let details: Map<_, _> =
        figure.details.iter().map(|(what, value, unit)| (format!("{what} ({unit})"), json!(value))).collect();
    json!({
        "value": figure.value,
        "turns": figure.turns,
        "reference_per_second": figure.reference,
        "requests_per_second": rate,
        "p50_ms": p50,
        "p99_ms": p99,
        "errors": errors,
        "cpu_percent": cost.map(|Cost { server, database, generator, bot, .. }| json!({
            "server": server,
            "database": database,
            "load": generator,
            "bot": bot,
        })),
        "server_microseconds_per_request": cost.map(|cost| cost.server_microseconds),
        "database_microseconds_per_request": cost.map(|cost| cost.database_microseconds),
        "memory_mb": memory,
        "details": details,
    })
}
