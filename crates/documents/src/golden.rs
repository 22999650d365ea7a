//! Measures the bot of the built-in guide on the golden set, questions as people type them.

use serde::Deserialize;
use serde_json::Value;

use crate::tests::{ask_after, first_link, guide_bot, headings};

/// The shares that must be reached, in percent. A change that falls below them makes the bot worse. The right passage may
/// be shown as an answer or as a possible one; a wrong one as an answer is what harms.
const MIN_RIGHT_PERCENT: usize = 88;
const MAX_SURE_AND_WRONG_PERCENT: usize = 6;
const MIN_DECLINED_PERCENT: usize = 78;
const MAX_HARMFUL: usize = 1;

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
    Answer,
    /// A passage that may be the answer.
    Offer,
    Declined,
}

fn golden() -> Golden {
    toml::from_str(include_str!("golden.toml")).unwrap()
}

fn kind(answer: &Value) -> Kind {
    let text = answer["text"].as_str().unwrap();
    let is_offer = ["Perhaps this:", "Mungkin ini:"].iter().any(|start| text.starts_with(start));
    match text.starts_with("**") {
        true => Kind::Answer,
        false if is_offer => Kind::Offer,
        false => Kind::Declined,
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
    let mut sure_and_wrong = 0;
    for case in &questions {
        let answer = ask_after(&bot, &case.after, &case.ask).await;
        let (kind, link) = (kind(&answer), first_link(&answer));
        if kind == Kind::Declined || !case.at.iter().any(|at| link.starts_with(at)) {
            sure_and_wrong += usize::from(kind == Kind::Answer);
            misses.push(format!("{kind:?} {:?} {:?}: {link}", case.after, case.ask));
        }
    }
    let right = questions.len() - misses.len();
    println!("{right} of {} are right; not right are:\n{}", questions.len(), misses.join("\n"));
    assert!(right * 100 >= questions.len() * MIN_RIGHT_PERCENT, "{}", misses.join("\n"));
    let bound = questions.len() * MAX_SURE_AND_WRONG_PERCENT;
    assert!(sure_and_wrong * 100 <= bound, "{sure_and_wrong} are sure and wrong");
}

#[tokio::test]
async fn most_foreign_questions_are_declined() {
    let (bot, questions) = (guide_bot(), golden().none);
    let mut misses = Vec::new();
    let mut harmful = 0;
    for case in &questions {
        let answer = ask_after(&bot, &case.after, &case.ask).await;
        let kind = kind(&answer);
        harmful += usize::from(kind == Kind::Answer);
        if kind != Kind::Declined {
            misses.push(format!("{kind:?} {:?} {:?}: {}", case.after, case.ask, first_link(&answer)));
        }
    }
    let declined = questions.len() - misses.len();
    println!("{declined} of {} are declined; not declined are:\n{}", questions.len(), misses.join("\n"));
    assert!(declined * 100 >= questions.len() * MIN_DECLINED_PERCENT, "{}", misses.join("\n"));
    assert!(harmful <= MAX_HARMFUL, "{harmful} are answered:\n{}", misses.join("\n"));
}
