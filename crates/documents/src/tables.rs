//! Leaves of a table the one row that answers, where there is one.

use crate::query::AskedWord;
use crate::tokens::words;

/// A table with fewer rows is shown whole.
const MIN_ROWS: usize = 3;
/// The weight of the asked words in the answering row is at least so many times that of any other row.
const MIN_LEAD: f32 = 1.25;

/// The Markdown with each table cut down to its head and the row that has more of the asked words than all others. A
/// table without such a row stays whole.
#[must_use]
pub fn with_answering_rows(markdown: &str, asked: &[AskedWord]) -> String {
    let lines: Vec<&str> = markdown.lines().collect();
    let mut shown: Vec<&str> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let is_head = lines.get(at + 1).is_some_and(|next| is_separator(next)) && lines[at].contains('|');
        if !is_head {
            shown.push(lines[at]);
            at += 1;
            continue;
        }
        let rows_start = at + 2;
        let rows = lines[rows_start..].iter().take_while(|line| line.contains('|')).count();
        let rows = &lines[rows_start..rows_start + rows];
        shown.extend(&lines[at..rows_start]);
        match answering_row(rows, asked) {
            Some(row) => shown.push(row),
            None => shown.extend(rows),
        }
        at = rows_start + rows.len();
    }
    shown.join("\n")
}

/// Whether a line stands between the head of a table and its rows: `| --- | :-: |`.
pub fn is_separator(line: &str) -> bool {
    line.contains('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

fn answering_row<'a>(rows: &[&'a str], asked: &[AskedWord]) -> Option<&'a str> {
    if rows.len() < MIN_ROWS {
        return None;
    }
    let scores = rows.iter().map(|row| {
        let words = words(row);
        asked
            .iter()
            .filter(|asked| words.iter().any(|word| asked.is_met_by(word)))
            .map(|asked| asked.weight)
            .sum::<f32>()
    });
    let mut scores: Vec<(f32, &str)> = scores.zip(rows.iter().copied()).collect();
    scores.sort_by(|one, other| other.0.total_cmp(&one.0));
    let ((best, row), (next, _)) = (scores[0], scores[1]);
    (best > 0.0 && best >= MIN_LEAD * next).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Jadwal:\n\n| Hari | Tempat |\n| --- | --- |\n| Senin | Alun-alun |\n| Selasa | Pasar |\n\
                         | Rabu | Kecamatan |\n\nDatang lebih awal.";

    fn asked(words: &[&str]) -> Vec<AskedWord> {
        words.iter().map(|word| AskedWord::of(word)).collect()
    }

    #[test]
    fn the_row_that_answers_stands_alone_under_the_head() {
        let shown = with_answering_rows(TABLE, &asked(&["jadwal", "selasa"]));
        let expected =
            "Jadwal:\n\n| Hari | Tempat |\n| --- | --- |\n| Selasa | Pasar |\n\nDatang lebih awal.";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_table_without_one_row_that_answers_stays_whole() {
        for words in [&["jadwal"][..], &["senin", "rabu"], &[]] {
            assert_eq!(with_answering_rows(TABLE, &asked(words)), TABLE);
        }
        let no_table = "a | b\nc | d";
        assert_eq!(with_answering_rows(no_table, &asked(&["c"])), no_table);
    }
}
