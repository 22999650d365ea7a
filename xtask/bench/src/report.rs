//! Where the results go.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::bench_options::BenchOptions;

use crate::figure::Row;
use crate::machine::Facts;
use crate::times::now;
use crate::{chart, json, table};

const FOLDER: &str = "target/bench";
/// The text that the results stand in, between these two lines, and the picture that it shows.
const TEXT: &str = "BENCHMARKS.md";
const BEGIN: &str = "<!-- What `cargo xtask bench` writes begins here. -->\n";
const END: &str = "<!-- It ends here. -->\n";
const PICTURE: &str = "benchmarks.svg";

/// Shows and keeps the results; fails where the server answered errors.
pub fn write(options: &BenchOptions, rows: &[Row], facts: &Facts) -> Result<ExitCode> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder)?;
    let results = format!("{:#}\n", json::results(rows, facts, options.quick));
    let (text, picture) = (markdown(rows, facts), chart::svg(rows));
    fs::write(folder.join("results.json"), &results)?;
    fs::write(folder.join("results.md"), &text)?;
    fs::write(folder.join("results.svg"), &picture)?;
    let errors: u64 = rows.iter().map(Row::errors).sum();
    if !options.quick && options.only.is_empty() && errors == 0 {
        let old = fs::read_to_string(TEXT)?;
        fs::write(TEXT, replaced(&old, &text).with_context(|| format!("{TEXT} has lost its marks"))?)?;
        fs::write(PICTURE, picture)?;
    }
    if options.json {
        print!("{results}");
    } else {
        println!("{}", table::terminal(rows));
    }
    let judged = || rows.iter().filter_map(Row::met);
    eprintln!(
        "bench: {} of {} targets met, {errors} errors, {} s; results in {FOLDER}",
        judged().filter(|met| *met).count(),
        judged().count(),
        now().as_secs()
    );
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn markdown(rows: &[Row], facts: &Facts) -> String {
    let facts: Vec<_> = facts.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
    let (reads, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.benchmark == "reads");
    let (searches, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|row| row.benchmark == "search");
    let mut text =
        format!("Taken on: {}.\n\n![How well each target is met]({PICTURE})\n\n", facts.join("; "));
    text += &table::markdown(&others);
    if !reads.is_empty() {
        text += "\nAll other reads, with 1,000,000 conversations and 5,000,000 messages:\n\n";
        text += &table::markdown(&reads);
    }
    if !searches.is_empty() {
        text += "\nSearches and lists of an inbox, with as much; the result is p95:\n\n";
        text += &table::markdown(&searches);
    }
    text
}

/// The text with something else between the marks.
fn replaced(text: &str, with: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{with}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Figure, Measured, Target};
    use crate::server::Engine;

    fn figure(value: f64) -> Figure {
        Figure {
            benchmark: "message",
            what: "POST /api/message".to_owned(),
            engine: Engine::Sqlite,
            value,
            unit: "P",
            target: Target::AtLeast(1.2),
            load: Measured { rate: Some(value * 10_000.0), errors: 1, ..Measured::default() },
            reference: Some(10_000.0),
            turns: Vec::new(),
            details: vec![("capacity", value * 100.0, "/s")],
        }
    }

    #[test]
    fn rounds_come_to_their_median_in_every_form() {
        let rows = Row::gather([1.1, 1.5, 1.3].map(figure).into());
        assert_eq!((rows.len(), rows[0].met(), rows[0].errors()), (1, Some(true), 3));
        let facts = vec![("cores", "2".to_owned())];
        let text = markdown(&rows, &facts);
        assert!(text.contains("cores 2"), "{text}");
        let line = "| POST /api/message | SQLite | 1.30 P | 1.10–1.50 | ≥ 1.20 P | yes | 13,000 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| capacity 130/s |"), "{text}");
        assert!(table::terminal(&rows).lines().nth(1).is_some_and(|line| line.contains("1.30 P")));
        let result = &json::results(&rows, &facts, true)["results"][0];
        assert_eq!((&result["min"], &result["max"]), (&1.1.into(), &1.5.into()));
        let picture = chart::svg(&rows);
        assert!(picture.contains("POST /api/message, SQLite") && picture.contains("1.30 P"), "{picture}");
    }

    #[test]
    fn turns_of_one_round_are_its_spread() {
        let rows = Row::gather(vec![Figure { turns: vec![0.9, 1.3, 1.1], ..figure(1.1) }]);
        let text = markdown(&rows, &Vec::new());
        assert!(text.contains("| 1.10 P | 0.90–1.30 |"), "{text}");
        let result = &json::results(&rows, &Vec::new(), false)["results"][0];
        assert_eq!(result["rounds"][0]["turns"], serde_json::json!([0.9, 1.3, 1.1]));
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n\n{END}after\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert_eq!(replaced("before\nafter\n", "new"), None);
    }
}
