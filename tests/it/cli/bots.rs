//! `wicara ask` and `wicara bot`.

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::call;
use super::place::Place;
use crate::support::{Bot, Engine, on_both_engines};

on_both_engines!(a_question_on_the_command_line);

async fn a_question_on_the_command_line(engine: Engine) {
    let bots = "[[bot]]\nid = \"guide\"\nkind = \"documents\"\ndefault = true\n\
                [[bot]]\nid = \"pages\"\nkind = \"documents\"\nfolder = \"pages\"\npublic = true\n\
                [[bot]]\nid = \"hidden\"\nkind = \"documents\"\n";
    let place = Place::new(engine, bots).await;
    std::fs::create_dir(place.path().join("pages")).unwrap();
    let page = "# Zebras\n\nZebras are striped horses of the savanna.\n";
    std::fs::write(place.path().join("pages/zebras.md"), page).unwrap();
    let server = place.serve();
    let ask = |arguments: &[&str]| place.run(&[&["ask", "--server", &server.base], arguments].concat());

    let asked = ask(&["What is Wicara?"]);
    let session =
        asked.err.split("--session ").nth(1).expect("how to go on").split_whitespace().next().unwrap();
    let (session, out) = (session.to_owned(), asked.done());
    assert!(out.contains("Wicara"), "{out}");
    // A link of the answer opens.
    let link = out
        .split_whitespace()
        .find(|word| word.starts_with("http"))
        .unwrap_or_else(|| panic!("no link: {out}"));
    let path = link.strip_prefix(&server.base).unwrap().split('#').next().unwrap();
    wicara_platform::tls::install();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(format!("{}{path}", server.base)).send().await.unwrap().status(), 200);

    ask(&["How do I add a bot?", "--session", &session]).done();
    let thread = call(&server, &format!("/api/questions/{session}"), ("accept", "*/*"), None).await.1;
    let texts: Vec<_> =
        thread["data"]["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "client").collect();
    assert_eq!(
        (texts[0]["text"].clone(), texts[1]["text"].clone()),
        (json!("What is Wicara?"), json!("How do I add a bot?"))
    );

    let printed = ask(&["What is Wicara?", "--json"]);
    assert_eq!(printed.err, "");
    let answer: Value = serde_json::from_str(&printed.done()).unwrap();
    assert_eq!(answer["status"], 200);
    assert!(answer["data"][0]["suggest_links"][0]["url"].is_string(), "{answer}");
    let zebras = ask(&["What are zebras?", "--bot", "pages"]).done();
    assert!(zebras.contains("striped horses"), "{zebras}");

    for (arguments, expected) in [
        (&["x", "--bot", "hidden"][..], "no bot \"hidden\""),
        (&["x", "--bot", "nobody"], "no bot \"nobody\""),
        (&["x", "--session", &session, "--bot", "pages"], "no bot \"pages\""),
        (&["x", "--session", "00000000-0000-4000-8000-000000000000"], "knows no conversation"),
        (&[" "], "message: required validation failed"),
    ] {
        let refused = ask(arguments).failed(1);
        assert!(refused.contains(expected), "{refused}");
    }
    // The configuration leaves the port open, so that the address has to be named.
    let nowhere = place.run(&["ask", "x"]).failed(2);
    assert!(nowhere.contains("--server"), "{nowhere}");
    let base = server.base.clone();
    server.terminate();
    let gone = place.run(&["ask", "x", "--server", &base]).failed(1);
    assert!(gone.contains("no server answers") && gone.contains("wicara serve"), "{gone}");
}

#[test]
fn the_bots_of_the_configuration_are_listed() {
    let place = Place::with_config(
        "[[bot]]\nid = \"guide\"\nkind = \"documents\"\ndefault = true\n\
         [[bot]]\nid = \"api\"\nkind = \"http\"\nurl = \"https://user:hush@bot.example:8443/chat?key=hush\"\n",
    );
    let listed = place.run(&["bot", "list"]).done();
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let words = |line: usize| lines[line].iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    assert_eq!(words(0), ["ID", "KIND", "VISITORS REACH IT", "ANSWERS FROM"]);
    assert_eq!(words(1), ["guide", "documents", "by default", "the built-in guide"]);
    assert_eq!(words(2), ["api", "http", "never", "bot.example:8443"]);
    let json: Value = serde_json::from_str(&place.run(&["bot", "list", "--json"]).done()).unwrap();
    assert_eq!(json[1]["id"], "api");
    assert!(!listed.contains("hush") && !json.to_string().contains("hush"), "{listed}{json}");
}

#[test]
fn the_files_that_a_bot_leaves_out_are_listed_with_the_reason() {
    let place = Place::with_config(
        "[[bot]]\nid = \"office\"\nkind = \"documents\"\nfolder = \"pages\"\ndefault = true\n\
         [[bot]]\nid = \"lost\"\nkind = \"documents\"\nfolder = \"nowhere\"\n",
    );
    let pages = place.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("good.md"), "# Loket\n\nBuka pukul 8.\n").unwrap();
    std::fs::write(pages.join("photo.txt"), b"\x00\x01\x02").unwrap();
    let listed = place.run(&["bot", "list"]).done();
    assert!(listed.contains("\noffice leaves out photo.txt: it is no text\n"), "{listed}");
    assert!(
        listed.contains("\nlost cannot answer: ") && listed.contains("nowhere does not exist"),
        "{listed}"
    );
    let json: Value = serde_json::from_str(&place.run(&["bot", "list", "--json"]).done()).unwrap();
    assert_eq!(json[0]["leftOut"], json!([{"path": "photo.txt", "reason": "is no text"}]));
    assert!(json[1]["fault"].as_str().unwrap().contains("nowhere does not exist"), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_is_tried_without_a_server() {
    let bot = Bot::start().await;
    let config = format!(
        "[[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\nretries = 0\n\
         [[bot]]\nid = \"lost\"\nkind = \"http\"\nurl = \"{0}\"\nanswer = \"/elsewhere\"\n",
        bot.url
    );
    let place = Place::with_config(&config);
    let tried = place.run(&["bot", "try", "echo", "halo"]);
    assert!(tried.err.contains("all of it after"), "{}", tried.err);
    assert_eq!(tried.done(), "echo: halo\n");
    let answers: Value =
        serde_json::from_str(&place.run(&["bot", "try", "echo", "halo", "--json"]).done()).unwrap();
    assert_eq!(answers, json!([{"text": "echo: halo"}]));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing is stored");

    for (id, question, code, expected) in [
        ("echo", "status 401", 1, "check api_key or headers. It said: secret trouble"),
        ("echo", "status 404", 1, "there is nothing at this address"),
        ("lost", "halo", 1, "there is nothing at \"/elsewhere\""),
        ("nobody", "halo", 2, "has no bot \"nobody\", only echo, lost"),
    ] {
        let refused = place.run(&["bot", "try", id, question]).failed(code);
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bot_sends_in_place_of_json_is_shown() {
    let server = MockServer::start().await;
    let text = format!("Halo \u{1b}[31m{}", "dunia ".repeat(200));
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_string(text)).mount(&server).await;
    let bot = |kind: &str, more: &str| {
        format!("[[bot]]\nid = \"{kind}\"\nkind = \"{kind}\"\nurl = \"{}\"\n{more}\n", server.uri())
    };
    let bots =
        [bot("http", "default = true"), bot("openai", "model = \"m\""), bot("langflow", "flow = \"f\"")];
    let place = Place::with_config(&bots.concat());
    for kind in ["http", "openai", "langflow"] {
        let refused = place.run(&["bot", "try", kind, "apa?"]).failed(1);
        assert!(refused.contains("cannot be used: it is ") && refused.contains("compare with"), "{refused}");
        // As much as 500 characters of it, and nothing that steers the terminal.
        let said = refused.split_once("It said: ").unwrap_or_else(|| panic!("{refused}")).1;
        assert!(said.starts_with("Halo \\u{1b}[31mdunia "), "{said}");
        assert_eq!(said.matches("dunia").count(), 81, "{said}");
    }
}
