//! What servers write that make their streams themselves.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::sleep;
use wicara_outbound::sse;

use super::*;

const DONE: &str = "data: [DONE]\n\n";

fn piece(content: &str) -> String {
    format!("data: {}\n\n", object(content, "null"))
}

/// A chunk with a content, as it stands in JSON, and the reason for its end.
fn object(content: &str, end: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":{end}}}]}}"#)
}

#[tokio::test]
async fn a_piece_that_is_nearly_json_is_not_lost() {
    let dunia = object("dunia", "null");
    let with = |more: &str| dunia.replace("\"delta\"", &format!("{more},\"delta\""));
    for (odd, text) in [
        (format!("data: {}", with("\"logprobs\":NaN")), "dunia"),
        (format!("data: {}", with("\"logprobs\":[-Infinity,]")), "dunia"),
        (format!("data: {}", object("du\tni\u{1}a", "null")), "du\tni\u{1}a"),
        (format!("data: {}", object("du\nnia", "null")), "du\nnia"),
        (format!("data: {}", object("du\r\nnia", "null")), "du\nnia"),
        (format!("data: {}", object("du\ndata: nia", "null")), "du\nnia"),
        (format!("data: {}", object(r"du\x\'nia", "null")), r"du\x'nia"),
        (format!("data: {}", dunia.replace("}]", "},]")), "dunia"),
        (format!("\u{feff}data: {dunia}"), "dunia"),
        (format!("data: \u{feff}{dunia}"), "dunia"),
        (format!("data: data: {dunia}"), "dunia"),
        (format!("Data: {dunia}"), "dunia"),
        (format!("DATA:{dunia}"), "dunia"),
        (format!("data : {dunia}"), "dunia"),
        (format!("\0data: {dunia}"), "dunia"),
        (format!("data: \0{dunia}"), "dunia"),
        (format!("data: {dunia},{}", object("!", "null")), "dunia!"),
        (format!("data: [{dunia},{}]", object("!", "null")), "dunia!"),
    ] {
        let body = format!("{}{odd}\n\n{STOP}{DONE}", piece("Halo "));
        let (texts, tokens) = ask_server(Recorded::stream(body.clone()), 1000).await;
        let expected = format!("Halo {text}");
        assert_eq!((texts.unwrap(), tokens.as_str()), (vec![expected.clone()], expected.as_str()), "{body}");
    }
    let list = format!("[{},\n{},\n{}]", object("Halo ", "null"), dunia, object("!", "\"stop\""));
    assert_eq!(ask_server(Recorded::json(200, list), 10).await.0.unwrap(), ["Halo dunia!"]);
    let whole = r#"[{"choices":[{"message":{"content":"Halo"},"finish_reason":"stop"}]}]"#;
    assert_eq!(ask_server(Recorded::json(200, whole), 10).await.0.unwrap(), ["Halo"]);
}

#[tokio::test]
async fn a_piece_that_cannot_be_read_makes_a_failure_of_the_answer() {
    for odd in [r#"{"choices":[{"delta":{"content":"dun"#, r#"{"choices":[{delta:{"content":"dunia"}}]}"#] {
        let body = format!("{}data: {odd}\n\n{}{STOP}{DONE}", piece("Halo "), piece("!"));
        let (answers, tokens) = ask_server(Recorded::stream(body), 1000).await;
        let Err(error @ Error::NotJson { body, .. }) = &answers else { panic!("{answers:?}") };
        assert_eq!((body.reveal(), tokens.as_str()), (odd, "Halo !"));
        assert!(
            error.to_string().contains("a piece of it is not JSON") && !error.to_string().contains("dun")
        );
    }
    // A message that is repeated as it grows is whole with its last frame.
    let message = |text: &str, end: &str| {
        format!(
            "data: {{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}},\"finish_reason\":{end}}}]}}\n\n"
        )
    };
    let broken = message("Halo dun", "null").replace("}}", "");
    let body = format!("{}{broken}{}", message("Halo ", "null"), message("Halo dunia", "\"stop\""));
    assert_eq!(ask_server(Recorded::stream(body), 1000).await.0.unwrap(), ["Halo dunia"]);
}

/// The answer in frames that come one after the other, with these pauses before them, over a connection that stays open.
async fn over_time(frames: &[(u64, String)]) -> Result<String, Error> {
    let frames = frames.to_vec();
    let chunks = stream::iter(frames).then(|(pause, frame)| async move {
        sleep(Duration::from_millis(pause)).await;
        Ok(Bytes::from(frame))
    });
    let frames = sse::frames(chunks.chain(stream::pending()).boxed(), 10_000);
    let items: Vec<StreamItem> = decode(frames).try_collect().await?;
    let Some(StreamItem::Answer(answer)) = items.last() else { panic!("{items:?}") };
    Ok(answer.text.clone())
}

#[tokio::test(start_paused = true)]
async fn text_behind_an_end_belongs_to_the_answer() {
    let ends = |content: &str, end: &str| format!("data: {}\n\n", object(content, end));
    for (frames, expected) in [
        (
            vec![
                (0, ends("Halo ", "\"stop\"")),
                (900, ends("dunia", "\"stop\"")),
                (900, ends("!", "\"stop\"")),
            ],
            "Halo dunia!",
        ),
        (vec![(0, ends("", "\"stop\"")), (900, piece("Halo")), (10, STOP.to_owned())], "Halo"),
        (vec![(0, ends("Halo ", "\"null\"")), (60_000, ends("dunia", "\"stop\""))], "Halo dunia"),
        (vec![(0, piece("Halo")), (60_000, STOP.to_owned())], "Halo"),
    ] {
        assert_eq!(over_time(&frames).await.unwrap(), expected, "{frames:?}");
    }
    let late = [(0, ends("Halo", "\"stop\"")), (10, "data: {\"error\":\"away\"}\n\n".to_owned())];
    assert!(matches!(over_time(&late).await, Err(Error::Failed(_))));
    let whole = r#"{"choices":[{"message":{"content":"Halo"}}]}"#.to_owned();
    assert_eq!(over_time(&[(0, whole)]).await.unwrap(), "Halo");
}

#[tokio::test]
async fn a_whole_completion_needs_no_reason_for_its_end() {
    for end in ["", r#","finish_reason":null"#, r#","finish_reason":"null""#] {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"Halo"}}{end}}}]}}"#);
        for (hangs, closes) in [(false, false), (true, false), (false, true)] {
            let response = Recorded { hangs, closes, ..Recorded::json(200, body.clone()) };
            assert_eq!(ask_server(response, 100).await.0.unwrap(), ["Halo"], "{body}, {hangs} {closes}");
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_any_mark() {
    for end in [
        "data: [done]\n\n",
        "data: \"[DONE]\"\n\n",
        "data: [ DONE ]\n\n",
        "data: DONE\n\n",
        "data: [END]\n\n",
        "[DONE]\n",
        "event: done\ndata: {}\n\n",
        "data: {\"done\":true}\n\n",
    ] {
        let (texts, _) = ask_server(Recorded::stream(piece("Halo") + end), 7).await;
        assert_eq!(texts.unwrap(), ["Halo"], "{end}");
    }
}

#[tokio::test]
async fn one_choice_is_read_and_of_it_the_models_words_alone() {
    let other =
        |end: &str| format!("data: {}\n\n", object("RAHASIA", end).replace("\"index\":0", "\"index\":1"));
    let delta = |delta: &str| chunk(delta);
    for (body, text) in [
        (
            format!("{}{}{}{}{STOP}", piece("Halo "), other("null"), other("\"stop\""), piece("dunia")),
            "Halo dunia",
        ),
        (format!("{}{}{STOP}", delta(r#"{"role":"tool","content":"RAHASIA"}"#), piece("Halo")), "Halo"),
        (format!("{}{}{STOP}", delta(r#"{"thought":true,"content":"RAHASIA"}"#), piece("Halo")), "Halo"),
        (
            format!(
                "{}{STOP}",
                delta(
                    r#"{"content":[{"type":"text","text":"RAHASIA","thought":true},{"type":"TEXT","text":"Ha"},{"type":"input_text","text":"lo"}]}"#
                )
            ),
            "Halo",
        ),
        (format!("{}{STOP}", delta(r#"{"content":"  ","refusal":"Maaf"}"#)), "Maaf"),
        (
            "data: {\"choices\":[{\"message\":{\"content\":\"<think>x</think>\",\"refusal\":\"Maaf\"}}]}\n\n"
                .to_owned(),
            "Maaf",
        ),
    ] {
        let (texts, tokens) = ask_server(Recorded::stream(body.clone()), 1000).await;
        assert_eq!((texts.unwrap(), tokens.as_str()), (vec![text.to_owned()], text), "{body}");
    }
}

#[tokio::test]
async fn what_stands_beside_a_short_answer_may_be_long() {
    let long = "x".repeat(1_400_000);
    for body in [
        format!(": {long}\n\n{}{STOP}", piece("Halo")),
        format!("{}{}{STOP}", chunk(&format!(r#"{{"reasoning_content":"{long}"}}"#)), piece("Halo")),
    ] {
        assert_eq!(ask_server(Recorded::stream(body), 1 << 20).await.0.unwrap(), ["Halo"]);
    }
}

#[tokio::test]
async fn an_operator_learns_what_came_in_place_of_an_answer() {
    for (body, why, said) in [
        (chunk(r#"{"reasoning_content":"Hmm"}"#) + STOP, "it holds thoughts alone", None),
        (
            chunk(r#"{"content":[{"type":"thinking","thinking":"Hmm"}]}"#) + STOP,
            "it holds thoughts alone",
            None,
        ),
        ("data: {\"answer\":\"Halo\"}\n\n".to_owned(), "it broke off", Some("{\"answer\":\"Halo\"}")),
        (format!("data: {{\"answer\":\"Halo\"}}\n\n{DONE}"), "it is empty", Some("{\"answer\":\"Halo\"}")),
    ] {
        let error = ask_server(Recorded::stream(body.clone()), 1000).await.0.unwrap_err();
        assert!(error.to_string().contains(why), "{body}: {error}");
        let found = match &error {
            Error::NotJson { body, .. } => Some(body.reveal()),
            _ => None,
        };
        assert_eq!(found, said);
    }
}
