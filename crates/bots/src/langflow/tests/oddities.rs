//! What servers write that make their streams themselves, and where else failures stand.

use super::*;

fn token(chunk: &str) -> String {
    format!("{{\"event\":\"token\",\"data\":{{\"id\":\"1\",\"chunk\":\"{chunk}\"}}}}\n\n")
}

const END: &str = "{\"event\":\"end\",\"data\":{}}\n\n";

#[tokio::test]
async fn a_token_that_is_nearly_json_is_not_lost() {
    for (odd, text) in [
        (token("dunia").replace("\"id\"", "\"score\":NaN,\"id\""), "dunia"),
        (token("du\tnia"), "du\tnia"),
        (token("du\nnia"), "du\nnia"),
        (format!("\u{feff}{}", token("dunia")), "dunia"),
        (format!("data: \u{feff}{}", token("dunia")), "dunia"),
    ] {
        let (answers, tokens) = ask_server(Recorded::stream(token("Halo ") + &odd + END), 1000).await;
        let expected = format!("Halo {text}");
        assert_eq!((texts(&answers.unwrap()), tokens.as_str()), (vec![expected.as_str()], expected.as_str()));
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_no_harm_where_the_end_has_the_text() {
    let broken = token("dunia").replace("}}", "");
    let (answers, _) = ask_server(Recorded::stream(token("Halo ") + &broken + END), 1000).await;
    assert!(matches!(answers, Err(Error::NotJson { .. })), "{answers:?}");
    let end = END.replace("{}", "{\"text\":\"Halo dunia\"}");
    let (answers, _) = ask_server(Recorded::stream(token("Halo ") + &broken + &end), 1000).await;
    assert_eq!(texts(&answers.unwrap()), ["Halo dunia"]);
}

#[tokio::test]
async fn a_failure_is_found_wherever_it_stands() {
    let message = |more: &str| {
        format!(
            "{{\"event\":\"add_message\",\"data\":{{\"id\":\"1\",\"sender\":\"Machine\",\"text\":\"away\",{more}}}}}\n\n"
        )
    };
    for more in [
        "{\"message\":\"away\"}\n\n".to_owned(),
        message("\"properties\":{\"state\":\"error\"}"),
        message("\"content_blocks\":[{\"title\":\"Error\",\"contents\":[{\"type\":\"error\"}]}]"),
        message("\"content_blocks\":[{\"type\":\"error\"}]"),
    ] {
        let (answers, _) = ask_server(Recorded::stream(token("Halo") + &more + END), 1000).await;
        assert!(matches!(answers, Err(Error::Failed(_))), "{more}: {answers:?}");
    }
    let end = END.replace("{}", "{\"result\":{\"detail\":\"away\"}}");
    let (answers, _) = ask_server(Recorded::stream(token("Halo") + &end), 1000).await;
    assert!(matches!(answers, Err(Error::Failed(_))), "{answers:?}");
    let tool = message("\"content_blocks\":[{\"contents\":[{\"type\":\"tool_use\",\"error\":\"x\"}]}]");
    let (answers, _) = ask_server(Recorded::stream(token("away") + &tool + END), 1000).await;
    assert_eq!(texts(&answers.unwrap()), ["away"]);
    let results = "\"results\":{\"message\":{\"text\":\"away\"}}";
    for body in [
        format!("{{\"outputs\":[{{\"error\":\"away\",\"outputs\":[{{{results}}}]}}]}}"),
        format!(
            "{{\"outputs\":[{{\"outputs\":[{{{results},\"messages\":[{{\"message\":\"away\",\"category\":\"error\"}}]}}]}}]}}"
        ),
        format!(
            "{{\"outputs\":[{{\"outputs\":[{{{results},\"outputs\":{{\"message\":{{\"message\":{{\"text\":\"away\",\"category\":\"error\"}}}}}}}}]}}]}}"
        ),
        "{\"status\":\"completed\",\"output\":{\"text\":\"away\",\"error\":\"away\"}}".to_owned(),
    ] {
        let (answers, _) = ask_server(Recorded::json(200, body.clone()), 1000).await;
        assert!(matches!(answers, Err(Error::Failed(_))), "{body}: {answers:?}");
    }
}

#[tokio::test]
async fn where_v1_has_nothing_to_say_v2_is_asked() {
    let page = |body: &str| Recorded { content_type: "text/html", ..Recorded::json(200, body) };
    for (body, attempts) in [("", 2), (" \n", 2), ("Welcome", 2), ("{\"detail\":\"Not Found\"}", 1)] {
        let mut responses: Vec<_> = (0..attempts).map(|_| page(body)).collect();
        responses.push(Recorded::json(200, cassette("langflow-1.13/v2-sync.txt")));
        let server = Server::start(responses, 1000).await;
        let (answers, _) = ask(&bots(&server, ""), question(QUESTION_TEXT)).await;
        assert_eq!(texts(&answers.unwrap()), [QUESTION_TEXT], "{body}");
        assert_eq!(server.paths().last().unwrap(), "/api/v2/workflows");
    }
}
