//! Asks a documents bot the questions of a file and counts what it makes of them: `cargo xtask docs FOLDER QUESTIONS`.
//!
//! The file has tabs between its columns: the kind of the question, the question, the acceptable places and the
//! questions before, with `||` between. A place is `page#heading`, with `|` between places; one that ends with `*`
//! is the beginning of an acceptable one, one without `#` is any place of the page. `-` stands for a question that the
//! documents do not answer.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the command line prints")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use uuid::Uuid;
use wicara_documents::{Certainty, DocumentIndex, Documents, Found, Settings};
use wicara_model::{MessageId, Question, Speaker, Turn};

/// Stands for the folder: the guide inside the binary.
const GUIDE: &str = "guide";

struct Case<'a> {
    kind: &'a str,
    ask: &'a str,
    /// Empty: the documents have no answer.
    places: Vec<&'a str>,
    before: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut columns = line.split('\t');
        let (kind, ask, places) = (columns.next()?, columns.next()?, columns.next()?);
        let before = columns.next().unwrap_or_default().split("||");
        Some(Self {
            kind,
            ask,
            places: places.split('|').filter(|place| *place != "-").collect(),
            before: before.map(str::trim).filter(|text| !text.is_empty()).collect(),
        })
    }

    fn question(&self) -> Question {
        let turns = self.before.iter().flat_map(|earlier| {
            let answer = Turn { speaker: Speaker::Assistant, text: "**An answer**".to_owned() };
            [Turn { speaker: Speaker::User, text: (*earlier).to_owned() }, answer]
        });
        Question {
            id: MessageId(1),
            session_id: Uuid::nil(),
            text: self.ask.to_owned(),
            history: turns.collect(),
        }
    }

    fn is_right(&self, place: &str) -> bool {
        let page = place.split('#').next().unwrap_or_default();
        self.places.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => place.starts_with(beginning),
            None if wanted.contains('#') => place == *wanted,
            None => page == *wanted,
        })
    }
}

#[derive(Default)]
struct Counts {
    asked: usize,
    right_first: usize,
    within_three: usize,
    sure_and_right: usize,
    sure_and_wrong: usize,
    wrongly_declined: usize,
    foreign: usize,
    harmful: usize,
    hedged: usize,
}

impl Counts {
    /// The verdict on one answer, in a word.
    fn add(&mut self, case: &Case, found: &Found) -> &'static str {
        let sure = found.certainty == Certainty::Sure;
        if case.places.is_empty() {
            self.foreign += 1;
            self.harmful += usize::from(sure);
            self.hedged += usize::from(found.certainty == Certainty::Perhaps);
            return match found.certainty {
                Certainty::Sure => "HARMFUL",
                Certainty::Perhaps => "hedged",
                _ => "declined",
            };
        }
        self.asked += 1;
        let rank = found.places.iter().position(|place| case.is_right(place));
        let first = rank == Some(0);
        self.right_first += usize::from(first);
        self.within_three += usize::from(rank.is_some_and(|rank| rank < 3));
        self.sure_and_right += usize::from(sure && first);
        self.sure_and_wrong += usize::from(sure && !first);
        self.wrongly_declined += usize::from(found.places.is_empty());
        match (sure, rank) {
            (true, Some(0)) => "right",
            (false, Some(0)) => "right, hedged",
            (true, _) => "SURE AND WRONG",
            (false, Some(_)) => "within three",
            (false, None) if found.places.is_empty() => "DECLINED",
            (false, None) => "wrong, hedged",
        }
    }

    fn print(&self, name: &str) {
        let share = |count: usize, of: usize| {
            format!("{count} of {of} ({} %)", (100 * count + of / 2).checked_div(of).unwrap_or(0))
        };
        println!("{name}");
        for (label, count, of) in [
            ("right first", self.right_first, self.asked),
            ("within three", self.within_three, self.asked),
            ("sure and right", self.sure_and_right, self.asked),
            ("sure and wrong", self.sure_and_wrong, self.asked),
            ("wrongly declined", self.wrongly_declined, self.asked),
            ("harmful (sure, and nothing is there)", self.harmful, self.foreign),
            ("hedged, and nothing is there", self.hedged, self.foreign),
        ] {
            if of > 0 {
                println!("  {label:<37} {}", share(count, of));
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, questions, options @ ..] = arguments.as_slice() else {
        eprintln!("usage: measure FOLDER|guide QUESTIONS [--each | --text] [SETTING=VALUE]");
        return ExitCode::from(2);
    };
    match measure(folder, questions, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(folder: &str, questions: &str, options: &[String]) -> Result<(), String> {
    let file = fs::read_to_string(questions).map_err(|error| format!("{questions}: {error}"))?;
    let cases: Vec<Case> =
        file.lines().filter(|line| !line.starts_with('#')).filter_map(Case::read).collect();
    let settings = Settings {
        folder: if folder == GUIDE { String::new() } else { folder.to_owned() },
        ..Settings::default()
    };
    let started = Instant::now();
    let documents = Documents::new("docs", &settings, "")?;
    println!("{folder}: read in {} ms", started.elapsed().as_millis());
    let index = documents.index();
    let has = |option: &str| options.iter().any(|given| given == option);
    let mut times: Vec<Duration> = Vec::new();
    let mut all = Counts::default();
    let mut by_kind: BTreeMap<&str, Counts> = BTreeMap::new();
    for case in &cases {
        let question = case.question();
        let started = Instant::now();
        let found = index.find(&question);
        times.push(started.elapsed());
        let verdict = all.add(case, &found);
        by_kind.entry(case.kind).or_default().add(case, &found);
        if has("--each") {
            let before: String = case.before.iter().map(|earlier| format!("({earlier}) ")).collect();
            println!("{verdict:<14} {before}{}\n{:15}{}", case.ask, "", found.places.join("  "));
        }
        if has("--text") {
            println!("──── {}\n{}\n", case.ask, text(&index, &question));
        }
    }
    times.sort_unstable();
    if let Some(median) = times.get(times.len() / 2) {
        println!("median {} µs", median.as_micros());
    }
    for (kind, counts) in &by_kind {
        if has("--each") {
            counts.print(kind);
        }
    }
    all.print("all");
    Ok(())
}

/// What a reader sees: the text and the titles of the links below it.
fn text(index: &DocumentIndex, question: &Question) -> String {
    let answer = index.answer(question);
    let object: serde_json::Value = answer
        .payload
        .as_ref()
        .and_then(|payload| serde_json::from_str(payload.as_str()).ok())
        .unwrap_or_default();
    let links = object["suggest_links"].as_array().into_iter().flatten();
    let links = links.map(|link| format!("\n  [{}]", link["title"].as_str().unwrap_or_default()));
    format!("{}{}", answer.text, links.collect::<String>())
}
