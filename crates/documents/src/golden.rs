//! Measures the bot of the built-in guide on the golden set, questions as people type them.

use serde::Deserialize;
use serde_json::Value;

use crate::tests::{ask_after, first_link, guide_bot, headings};

/// The shares that must be reached, in percent. A change that falls below them makes the bot worse. The right passage may
/// be shown as an answer or as a possible one; a wrong one as an answer is what harms. A foreign question with words that
/// the guide has too may get a possible answer, which says that it is one, so fewer have to be declined.
const MIN_RIGHT_PERCENT: usize = 88;
const MAX_SURE_AND_WRONG_PERCENT: usize = 6;
const MIN_DECLINED_PERCENT: usize = 74;
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

fn kind_of(answer: &Value) -> Kind {
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
        let (kind, link) = (kind_of(&answer), first_link(&answer));
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
        let kind = kind_of(&answer);
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

/// Lines of a kind, a question and the places that answer it, with tabs between; `cargo xtask docs` reads them too.
const GUIDE_QUESTIONS: &str = include_str!("../questions/guide.tsv");
const MIN_GUIDE_RIGHT_PERCENT: usize = 85;
/// On these a wrong answer that looks sure does harm.
const GRAVE: [&str; 2] = ["operation", "privacy"];

#[tokio::test]
async fn questions_about_operation_and_privacy_get_no_wrong_answer_that_looks_sure() {
    let bot = guide_bot();
    let headings = headings();
    let (mut asked, mut right, mut misses) = (0, 0, Vec::new());
    for line in GUIDE_QUESTIONS.lines().filter(|line| !line.starts_with('#')) {
        let [kind, question, places, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let answer = ask_after(&bot, &[], question).await;
        let answered = kind_of(&answer) == Kind::Answer;
        if places == "-" {
            assert!(!answered, "{question}: {answer}");
            continue;
        }
        let fits = |found: &str| {
            places.split('|').any(|place| match place.strip_suffix('*') {
                Some(beginning) => found.starts_with(beginning),
                None => found == place,
            })
        };
        assert!(headings.iter().any(|heading| fits(heading)), "{question}: there is no {places}");
        asked += 1;
        if fits(first_link(&answer)) {
            right += 1;
        } else {
            assert!(!answered || !GRAVE.contains(&kind), "{question}: {answer}");
            misses.push(question);
        }
    }
    assert!(right * 100 >= asked * MIN_GUIDE_RIGHT_PERCENT, "{right} of {asked} are right; not {misses:#?}");
}
