//! The golden set: how much of what people type the bot of the built-in guide answers right.

use serde::Deserialize;
use serde_json::Value;

use crate::tests::{ask_after, first_link, guide_bot, headings};

/// Shares that hold at least, in percent. A change that falls below them makes the bot worse.
const RIGHT: usize = 88;
const DECLINED: usize = 90;

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
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    at: Vec<String>,
}

/// What an answer is: a passage with its link, places to look with the first one's link, or neither.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Passage,
    Offers,
    Declined,
}

fn golden() -> Golden {
    toml::from_str(include_str!("golden.toml")).unwrap()
}

fn kind(answer: &Value) -> Kind {
    match (answer["text"].as_str().unwrap().starts_with("**"), first_link(answer)) {
        (true, _) => Kind::Passage,
        (false, "") => Kind::Declined,
        (false, _) => Kind::Offers,
    }
}

#[test]
fn every_place_of_the_golden_set_is_there() {
    let headings = headings();
    for case in golden().question {
        assert!(!case.at.is_empty(), "{}", case.ask);
        for at in &case.at {
            assert!(headings.iter().any(|heading| heading.starts_with(at)), "{}: {at}", case.ask);
        }
    }
}

#[tokio::test]
async fn most_questions_are_answered_from_the_right_place() {
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
    assert!(right * 100 >= questions.len() * RIGHT, "{}", misses.join("\n"));
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
    assert!(declined * 100 >= questions.len() * DECLINED, "{}", misses.join("\n"));
}
