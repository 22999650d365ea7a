//! The results as a picture: how well each figure meets its target.

use std::fmt::Write;

use crate::figure::{Row, Target};
use crate::table::{target, with_unit};

const LINE: usize = 22;
const TOP: usize = 56;
const LABELS: f64 = 520.0;
const BARS: f64 = 360.0;
const WIDTH: f64 = LABELS + BARS + 260.0;
/// Where a bar ends that meets its target twice.
const MOST: f64 = 2.0;

/// A bar a row, as long as the row is good; the line is where it just meets its target.
///
/// Of the reads that are held against themselves, and of the searches, only the worst of each engine is drawn.
#[must_use]
pub fn svg(rows: &[Row]) -> String {
    let score = |row: &Row| row.score().unwrap_or(0.0);
    let is_worst = |row: &Row| {
        let like = rows.iter().filter(|other| (other.benchmark, other.engine) == (row.benchmark, row.engine));
        like.min_by(|one, other| score(one).total_cmp(&score(other)))
            .is_some_and(|worst| worst.what == row.what)
    };
    let drawn: Vec<_> = rows
        .iter()
        .filter(|row| row.target != Target::None && (worst_of(row).is_none() || is_worst(row)))
        .collect();
    let height = TOP + LINE * drawn.len() + 16;
    let line = LABELS + BARS / MOST;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="22" font-size="16" font-weight="bold">How well each target is met</text>
<text x="{line}" y="46" text-anchor="middle" fill="#555">target</text>
"##
    );
    for (place, row) in drawn.iter().enumerate() {
        let y = TOP + LINE * place;
        let what = match worst_of(row) {
            Some(kind) => format!("worst {kind}: {}", row.what),
            None => row.what.clone(),
        };
        let label = escape(&format!("{what}, {}", row.engine.name()));
        let length = score(row).min(MOST) / MOST * BARS;
        let colour = if row.met() == Some(true) { "#2a7f62" } else { "#c8553d" };
        let result = escape(&format!("{} ({})", with_unit(row.value(), row.unit), target(row)));
        let (text, bar, end) = (y + 14, y + 3, LABELS + BARS + 10.0);
        let _ = write!(
            svg,
            r##"<text x="{}" y="{text}" text-anchor="end">{label}</text>
<rect x="{LABELS}" y="{bar}" width="{length:.1}" height="15" fill="{colour}"/>
<text x="{end}" y="{text}" fill="#333">{result}</text>
"##,
            LABELS - 10.0
        );
    }
    let _ = write!(
        svg,
        "<line x1=\"{line}\" y1=\"{}\" x2=\"{line}\" y2=\"{}\" stroke=\"#222\" stroke-dasharray=\"4 3\"/>\n</svg>\n",
        TOP - 6,
        height - 10
    );
    svg
}

/// What rows are called of which only the worst is drawn.
fn worst_of(row: &Row) -> Option<&'static str> {
    match row.benchmark {
        "reads" => Some("other read"),
        "search" => Some("search"),
        _ => None,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
