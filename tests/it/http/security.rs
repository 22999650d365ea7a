//! What browsers are told not to do.

use crate::support::{Engine, TestApp};

const STRICT: &str = "default-src 'none'; frame-ancestors 'none'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_may_be_framed_or_taken_for_another_type() {
    let app = TestApp::start(Engine::Sqlite).await;
    for path in [
        "/guide",
        "/guide/running",
        "/guide/nothing",
        "/docs",
        "/docs/",
        "/api/openapi.json",
        "/healthz",
        "/metrics",
        "/api/conversation",
        "/api/questions/x",
        "/nothing",
    ] {
        let answer = app.anonymous().get(path).await;
        let policy =
            answer.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert!(policy.ends_with("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let is_page = path.starts_with("/guide") || path == "/docs/";
        assert_eq!(policy != STRICT, is_page || path == "/docs", "{path}: {policy}");
        if is_page {
            assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
        }
    }
    app.stop().await;
}

/// The pages' policies allow neither scripts nor styles inside of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_keep_scripts_and_styles_in_files() {
    let app = TestApp::start(Engine::Sqlite).await;
    let client = app.anonymous();
    let index = client.get("/guide").await.text;
    let links = index.split("href=\"guide/").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    let pages: Vec<_> =
        links.map(|link| format!("/guide/{link}")).filter(|path| !path.ends_with(".css")).collect();
    assert!(pages.len() > 20, "{index}");
    for path in pages.iter().map(String::as_str).chain(["/guide", "/guide/nothing", "/docs/"]) {
        let page = client.get(path).await.text;
        assert!(page.contains("rel=\"stylesheet\""), "{path}");
        for inside in ["<style", " style=", "<script>", " onload=", " onclick=", "javascript:", "<img"] {
            assert!(!page.contains(inside), "{path} has {inside}");
        }
    }
    let style = client.get("/guide/style.css").await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.text.contains("body {"), "{}", style.text);
    app.stop().await;
}
