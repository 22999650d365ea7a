//! Answers and typing as streams are shown them.

use super::*;

const ID: ConversationId = ConversationId(1);
const QUESTION: MessageId = MessageId(2);

fn texts(events: Vec<LiveEvent>) -> Vec<String> {
    let text = |event| match event {
        LiveEvent::Started { .. } => "started".into(),
        LiveEvent::Delta { text, offset, .. } => format!("{offset} {text}"),
        LiveEvent::Finished { .. } => "finished".into(),
        LiveEvent::Typing { by, .. } => by.as_str().to_owned(),
    };
    events.into_iter().map(text).collect()
}

#[test]
fn each_stream_gets_an_answer_from_where_it_is() {
    let live = Arc::new(Live::default());
    let (mut early, mut late) = (LiveShown::default(), LiveShown::default());
    let all = |shown: &mut LiveShown| texts(shown.advance(&live, &[ID], Some(Instant::now()), |_, _| true));
    let answer = live.start(ID, QUESTION, "a");
    assert_eq!(all(&mut early), ["started"]);
    answer.push("😀");
    assert_eq!(all(&mut early), ["0 😀"]);
    answer.push("b");
    assert_eq!(all(&mut early), ["2 b"]);
    assert_eq!(all(&mut late), ["started", "0 😀b"]);
    drop(answer);
    assert_eq!(all(&mut early), ["finished"]);
    assert_eq!(all(&mut LiveShown::default()), Vec::<String>::new());
    let state = live.lock();
    assert!(state.answers.is_empty() && state.bytes == 0);
}

#[test]
fn an_answer_is_shown_after_its_question() {
    let live = Arc::new(Live::default());
    let before = Instant::now();
    let answer = live.start(ID, QUESTION, "a");
    answer.push("a");
    let mut shown = LiveShown::default();
    let mut at = |looked| texts(shown.advance(&live, &[ID], looked, |_, _| true));
    assert_eq!(at(None), [] as [&str; 0]);
    assert_eq!((at(Some(before)).len(), live.take_shown(before)), (0, vec![]));
    let looked = Instant::now();
    assert_eq!(live.take_shown(looked), [ID]);
    assert_eq!(at(Some(looked)), ["started", "0 a"]);
    assert_eq!(live.take_shown(looked), []);
}

#[test]
fn a_question_that_is_asked_again_has_another_answer() {
    let live = Arc::new(Live::default());
    let mut shown = LiveShown::default();
    let mut all = || texts(shown.advance(&live, &[ID], Some(Instant::now()), |_, _| true));
    let failed = live.start(ID, QUESTION, "a");
    failed.push("a long beginning");
    assert_eq!(all(), ["started", "0 a long beginning"]);
    drop(failed);
    let again = live.start(ID, QUESTION, "a");
    again.push("b");
    assert_eq!(all(), ["finished", "started", "0 b"]);
    // What another node said of it before does not count any more, nor what it says late.
    drop(again);
    assert!(live.push_of_another(ID, QUESTION, "a", 0, "of a node that died"));
    assert_eq!(all(), ["finished", "started", "0 of a node that died"]);
    let again = live.start(ID, QUESTION, "a");
    assert!(live.push_of_another(ID, QUESTION, "a", 19, "!"));
    again.push("c");
    assert_eq!(all(), ["finished", "started", "0 c"]);
    drop(again);
    assert_eq!(all(), ["finished"]);
    assert_eq!(live.lock().bytes, 0);
}

#[test]
fn an_answer_is_hidden_from_those_who_lose_its_conversation() {
    let live = Arc::new(Live::default());
    let mut shown = LiveShown::default();
    let mut of_bot_a = || texts(shown.advance(&live, &[ID], Some(Instant::now()), |_, bot_id| bot_id == "a"));
    let answer = live.start(ID, QUESTION, "a");
    answer.push("a");
    assert_eq!(of_bot_a(), ["started", "0 a"]);
    live.move_to(ID, "b");
    answer.push("b");
    assert_eq!(of_bot_a(), ["finished"]);
    live.move_to(ID, "a");
    assert_eq!(of_bot_a(), ["started", "0 ab"]);
    live.end_all(ID);
    answer.push("c");
    assert_eq!(of_bot_a(), ["finished"]);
    assert_eq!(live.lock().bytes, 0);
}

#[test]
fn typing_is_shown_once() {
    let live = Live::default();
    let mut shown = LiveShown::default();
    assert!(live.type_in(ID, "a", TypingBy::Agent));
    assert_eq!(texts(shown.advance(&live, &[ID], Some(Instant::now()), |_, _| true)), ["agent"]);
    assert!(!live.type_in(ID, "a", TypingBy::Agent), "it is known");
    assert!(shown.advance(&live, &[ID], Some(Instant::now()), |_, _| true).is_empty());
    let mut of_all = LiveShown::default();
    assert_eq!(texts(of_all.advance(&live, &[], None, |_, bot_id| bot_id == "a")), ["agent"]);
    assert!(LiveShown::default().advance(&live, &[], Some(Instant::now()), |_, _| false).is_empty());
}
