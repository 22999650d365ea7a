//! Measures the bot of the built-in guide on the golden set, questions as people type them.

use serde::Deserialize;
use serde_json::Value;

use crate::tests::{ask_after, first_link, guide_bot, headings};

/// The shares that must be reached, in percent. A change that falls below them makes the bot worse.
const MIN_RIGHT_PERCENT: usize = 88;
const MIN_DECLINED_PERCENT: usize = 90;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    question: Vec<Case>,
    none: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    ask: String,
    /// The questions before in the same conversation.
    #[serde(default)]
    after: Vec<String>,
    /// Beginnings of the acceptable links.
    #[serde(default)]
    at: Vec<String>,
}

/// What the bot replied with.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Passage,
    /// Links to passages that may help.
    Suggestions,
    /// Neither passage nor links.
    Declined,
}

fn golden() -> Golden {
    toml::from_str(include_str!("golden.toml")).unwrap()
}

fn kind(answer: &Value) -> Kind {
    match (answer["text"].as_str().unwrap().starts_with("**"), first_link(answer)) {
        (true, _) => Kind::Passage,
        (false, "") => Kind::Declined,
        (false, _) => Kind::Suggestions,
    }
}

#[test]
fn every_heading_of_the_golden_set_exists() {
    let headings = headings();
    for case in golden().question {
        assert!(!case.at.is_empty(), "{}", case.ask);
        for at in &case.at {
            assert!(headings.iter().any(|heading| heading.starts_with(at)), "{}: {at}", case.ask);
        }
    }
}

#[tokio::test]
async fn most_questions_are_answered_from_the_right_passage() {
    let (bot, questions) = (guide_bot(), golden().question);
    let mut misses = Vec::new();
    for case in &questions {
        let answer = ask_after(&bot, &case.after, &case.ask).await;
        let (kind, link) = (kind(&answer), first_link(&answer));
        if kind != Kind::Passage || !case.at.iter().any(|at| link.starts_with(at)) {
            misses.push(format!("{kind:?} {:?} {:?}: {link}", case.after, case.ask));
        }
    }
    let right = questions.len() - misses.len();
    println!("{right} of {} are right; not right are:\n{}", questions.len(), misses.join("\n"));
    assert!(right * 100 >= questions.len() * MIN_RIGHT_PERCENT, "{}", misses.join("\n"));
}

#[tokio::test]
async fn most_foreign_questions_are_declined() {
    let (bot, questions) = (guide_bot(), golden().none);
    let mut misses = Vec::new();
    for case in &questions {
        let answer = ask_after(&bot, &case.after, &case.ask).await;
        let kind = kind(&answer);
        if kind != Kind::Declined {
            misses.push(format!("{kind:?} {:?} {:?}: {}", case.after, case.ask, first_link(&answer)));
        }
    }
    let declined = questions.len() - misses.len();
    println!("{declined} of {} are declined; not declined are:\n{}", questions.len(), misses.join("\n"));
    assert!(declined * 100 >= questions.len() * MIN_DECLINED_PERCENT, "{}", misses.join("\n"));
}
