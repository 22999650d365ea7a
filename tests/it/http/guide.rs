//! The pages that the server shows: `/docs`, which needs no network, and `/guide`, where the built-in bot's links lead.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::{Client, Engine, TestApp};

/// The values of an HTML attribute.
pub fn attributes(html: &str, name: &str) -> Vec<String> {
    let begin = format!(" {name}=\"");
    html.split(&begin).skip(1).map(|rest| rest.split_once('"').unwrap().0.replace("&amp;", "&")).collect()
}

/// A page without its blocks of code, which may show a page's own.
fn without_code(html: &str) -> String {
    let after = |part: &str| part.split_once("</pre>").map_or("", |(_, after)| after).to_owned();
    let mut parts = html.split("<pre>");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |html, part| html + &after(part))
}

/// Where a link on a page leads, as a path; `None` for one that leaves the server.
pub fn resolve(base: &str, page: &str, link: &str) -> Option<String> {
    let resolved = reqwest::Url::parse(&format!("{base}{page}")).unwrap().join(link).unwrap();
    let path = resolved.as_str().strip_prefix(base)?;
    Some(path.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docs_load_nothing_from_elsewhere() {
    let app = TestApp::start(Engine::Sqlite).await;
    let client = app.anonymous();
    let redirect = client.get("/docs").await;
    assert!(redirect.status.is_redirection(), "{}", redirect.status);
    let page = redirect.header("location").unwrap();
    assert_eq!(page, "/docs/");
    let html = client.get(page).await;
    html.has_status(200);
    let mut files: Vec<_> = attributes(&html.text, "src");
    assert!(files.len() >= 2, "the page loads its scripts: {}", html.text);
    files.extend(attributes(&html.text, "href"));
    let mut names_document = false;
    for file in files {
        let path = resolve(&app.base, page, &file).unwrap_or_else(|| panic!("{file} is elsewhere"));
        let loaded = client.get(&path).await;
        loaded.has_status(200);
        assert!(!loaded.text.is_empty(), "{path}");
        let written_here = path.ends_with(".css") || path.ends_with("initializer.js");
        if written_here {
            for far in ["http://", "https://", "@import", "url(//"] {
                let local = loaded.text.replace("http://www.w3.org/", "");
                assert!(!local.contains(far), "{path} has {far}");
            }
        }
        names_document |= loaded.text.contains("\"/api/openapi.json\"");
        // What asks a server on the Internet to check the document.
        assert!(
            !path.ends_with("initializer.js") || loaded.text.contains(r#""validatorUrl": "none""#),
            "{}",
            loaded.text
        );
    }
    assert!(names_document);
    client.get("/api/openapi.json").await.has_status(200);
    client.get("/docs/nothing.js").await.has_status(404);
    app.stop().await;
}

/// Pages that were opened, with the ids of their elements.
struct Pages<'a> {
    client: &'a Client,
    opened: BTreeMap<String, BTreeSet<String>>,
}

impl Pages<'_> {
    /// Opens a path once; fails where there is no page, or not the heading that its fragment names.
    async fn follow(&mut self, path: &str, from: &str) -> Option<String> {
        let (path, fragment) = path.split_once('#').unwrap_or((path, ""));
        let mut new = None;
        if !self.opened.contains_key(path) {
            let page = self.client.get(path).await;
            page.has_status(200);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
            let ids = attributes(&page.text, "id");
            let count = ids.len();
            let ids: BTreeSet<_> = ids.into_iter().collect();
            assert_eq!(ids.len(), count, "{path}: an id stands twice");
            self.opened.insert(path.into(), ids);
            new = Some(page.text);
        }
        let fragment = percent_decoded(fragment);
        let found = fragment.is_empty() || self.opened[path].contains(&fragment);
        assert!(found, "{from} leads to #{fragment} of {path}, which has {:?}", self.opened[path]);
        new
    }
}

/// What a page links to that is no page.
fn is_style(link: &str) -> bool {
    link.ends_with(".css")
}

fn percent_decoded(text: &str) -> String {
    reqwest::Url::parse(&format!("http://x/?{text}"))
        .unwrap()
        .query_pairs()
        .map(|pair| pair.0.into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_the_guide_and_every_link_in_it_opens() {
    let app = TestApp::start(Engine::Sqlite).await;
    let client = app.anonymous();
    let mut pages = Pages { client: &client, opened: BTreeMap::new() };
    let mut waiting = vec![("/guide".to_owned(), "the reader".to_owned())];
    let mut elsewhere = BTreeSet::new();
    while let Some((path, from)) = waiting.pop() {
        let Some(html) = pages.follow(&path, &from).await else { continue };
        let path = path.split('#').next().unwrap();
        let html = without_code(&html);
        assert!(attributes(&html, "src").is_empty(), "{path} loads something");
        for link in attributes(&html, "href") {
            match resolve(&app.base, path, &link) {
                Some(to) if to.starts_with("/guide") && !is_style(&to) => waiting.push((to, path.to_owned())),
                Some(to) => assert_ne!(client.get(&to).await.status, 404, "{path} leads to {to}"),
                None => _ = elsewhere.insert(link),
            }
        }
    }
    let count = |language: &str| std::fs::read_dir(format!("knowledge/{language}")).unwrap().count();
    assert_eq!(pages.opened.len(), 1 + count("en") + count("id"), "{:?}", pages.opened.keys());
    for link in elsewhere {
        assert!(link.starts_with("https://"), "{link}");
    }
    let missing = client.get("/guide/no-such-page").await;
    missing.has_status(404);
    for link in attributes(&missing.text, "href").iter().filter(|link| !is_style(link)) {
        pages.follow(&resolve(&app.base, "/guide/no-such-page", link).unwrap(), "a missing page").await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_links_beside_an_answer_lead_to_its_heading() {
    let app =
        TestApp::with(Engine::Sqlite, "[[bot]]\nid = \"guide\"\nkind = \"documents\"\npublic = true\n").await;
    let client = app.anonymous();
    let mut pages = Pages { client: &client, opened: BTreeMap::new() };
    let mut headings = BTreeSet::new();
    let mut questions: Vec<_> = [
        "How do I create an API key?",
        "Bagaimana cara membuat kunci API?",
        "What happens after kill -9?",
        "Which databases can I use?",
        "idempotency",
        "botId",
        "qwertyuiop zxcvbnm",
    ]
    .map(str::to_owned)
    .into();
    // Each page by its own title as well.
    let index = client.get("/guide").await.text;
    questions.extend(
        index
            .split("<a href=")
            .skip(1)
            .map(|link| link.split_once('>').unwrap().1.split_once("</a>").unwrap().0.to_owned()),
    );
    assert!(questions.len() > 20, "{questions:?}");
    for question in &questions {
        let answer =
            client.post("/api/questions", &json!({"message": question, "botId": "guide"})).await.ok();
        for object in answer["data"].as_array().unwrap() {
            for link in object["suggest_links"].as_array().unwrap() {
                assert!(!link["title"].as_str().unwrap().is_empty(), "{question}");
                let url = link["url"].as_str().unwrap();
                let path = resolve(&app.base, "/", url).unwrap_or_else(|| panic!("{url} is elsewhere"));
                assert!(path.contains('#'), "{question}: {path} names no heading");
                pages.follow(&path, question).await;
                headings.insert(path);
            }
        }
    }
    assert!(headings.len() >= 10, "{headings:?}");
    app.stop().await;
}
