//! The results as a table, for the terminal and as Markdown.

use crate::figure::{Cost, Row, Target};

const HEAD: [&str; 11] = [
    "what",
    "engine",
    "result",
    "spread",
    "target",
    "met",
    "per second",
    "p50 ms",
    "p99 ms",
    "CPU % s/d/l/b",
    "µs each",
];
const TAIL: [&str; 3] = ["memory MB", "errors", "also"];

fn cells(row: &Row) -> Vec<String> {
    let maybe = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let (least, most) = row.spread();
    let cost = |of: fn(Cost) -> f64| row.median(|figure| figure.load.cost.map(of));
    let split = [
        cost(|cost| cost.server),
        cost(|cost| cost.database),
        cost(|cost| cost.generator),
        cost(|cost| cost.bot),
    ];
    let split = split.into_iter().collect::<Option<Vec<_>>>();
    vec![
        row.what.clone(),
        row.engine.name().to_owned(),
        with_unit(row.value(), row.unit),
        format!("{}–{}", number(least), number(most)),
        target(row),
        row.met().map_or("–", |met| if met { "yes" } else { "no" }).to_owned(),
        maybe(row.median(|figure| figure.load.rate)),
        maybe(row.median(|figure| figure.load.p50)),
        maybe(row.median(|figure| figure.load.p99)),
        split.map_or_else(
            || "–".to_owned(),
            |parts| parts.iter().map(|part| format!("{part:.0}")).collect::<Vec<_>>().join("/"),
        ),
        maybe(cost(|cost| cost.server_microseconds)),
        maybe(row.median(|figure| figure.load.memory)),
        row.errors().to_string(),
        details(row),
    ]
}

#[must_use]
pub fn target(row: &Row) -> String {
    match row.target {
        Target::AtLeast(least) => format!("≥ {}", with_unit(least, row.unit)),
        Target::AtMost(most) => format!("≤ {}", with_unit(most, row.unit)),
        Target::None => "–".to_owned(),
    }
}

/// The medians of what else was seen.
fn details(row: &Row) -> String {
    let names = row.rounds.first().map(|figure| &figure.details).into_iter().flatten();
    let median = |name: &str| {
        row.median(|figure| figure.details.iter().find(|(known, ..)| *known == name).map(|detail| detail.1))
    };
    let texts =
        names.filter_map(|(name, _, unit)| Some(format!("{name} {}", with_unit(median(name)?, unit))));
    texts.collect::<Vec<_>>().join(", ")
}

#[must_use]
pub fn with_unit(value: f64, unit: &str) -> String {
    format!("{}{}{unit}", number(value), if unit.starts_with('/') { "" } else { " " })
}

/// As many digits as mean something.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        ..0.1 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text } else { thousands(&text) }
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0
            && digit.is_ascii_digit()
            && (digits.len() - place).is_multiple_of(3)
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a column holds words.
fn is_left(column: usize) -> bool {
    column < 2 || column == HEAD.len() + TAIL.len() - 1
}

fn head() -> Vec<String> {
    HEAD.into_iter().chain(TAIL).map(str::to_owned).collect()
}

#[must_use]
pub fn terminal(rows: &[Row]) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(head()).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in &lines {
        let cell = |(column, cell): (usize, &String)| {
            let gap = " ".repeat(width(column) - cell.chars().count());
            if is_left(column) { format!("{cell}{gap}") } else { format!("{gap}{cell}") }
        };
        text += line.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[must_use]
pub fn markdown(rows: &[&Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = head();
    let rule: Vec<_> = (0..head.len()).map(|column| if is_left(column) { "---" } else { "--:" }).collect();
    let rule = rule.into_iter().map(str::to_owned).collect::<Vec<_>>();
    line(&head) + &line(&rule) + &rows.iter().map(|row| line(&cells(row))).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let texts = [0.0123, 1.6, 42.0, 999.6, 1_234_567.0, -1234.0].map(number);
        assert_eq!(texts, ["0.012", "1.60", "42.0", "1,000", "1,234,567", "-1,234"]);
    }
}
