//! The console, the widget and its demonstration, as browsers get them.

use std::collections::BTreeSet;

use reqwest::Method;

use super::bodies::NO_SUCH_PATH;
use super::guide::{attributes, resolve};
use crate::support::{Answer, Client, Engine, TestApp};

const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors 'none'";

async fn head(client: &Client, path: &str) -> Answer {
    client.send(Method::HEAD, path, None).await
}

/// The files that a page names, as paths.
async fn files_of(app: &TestApp, page: &str) -> BTreeSet<String> {
    let html = app.anonymous().get(page).await.text;
    let links = attributes(&html, "src").into_iter().chain(attributes(&html, "href"));
    links
        .map(|link| resolve(&app.base, page, &link).unwrap_or_else(|| panic!("{link} is elsewhere")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_opens_at_each_of_its_addresses() {
    let app = TestApp::start(Engine::Sqlite).await;
    let client = app.anonymous();
    let shell = client.get("/").await;
    for path in ["/", "/login", "/inbox", "/inbox/", "/inbox/5", "/inbox/mine/5?q=a%20b"] {
        let page = client.get(path).await;
        page.has_status(200);
        assert_eq!(page.text, shell.text, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-cache"), "{path}");
    }
    // What is neither a page nor a file is as unknown as ever.
    for path in ["/inbo", "/login/x", "/index.html", "/demo.html", "/demo/x", "/assets", "/widget"] {
        client.get(path).await.has_status(404);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_nothing_but_their_own_files_and_cannot_be_framed() {
    let app = TestApp::start(Engine::Sqlite).await;
    for path in ["/", "/login", "/inbox/5", "/demo"] {
        let page = app.anonymous().get(path).await;
        page.has_status(200);
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}: {name}");
        }
        for inside in ["<style", " style=", "<script>", " onload=", " onclick=", "javascript:"] {
            assert!(!page.text.contains(inside), "{path} has {inside}, which its policy refuses");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pages_name_is_there_and_is_kept_as_long_as_its_name_allows() {
    let app = TestApp::start(Engine::Sqlite).await;
    let mut files = files_of(&app, "/").await;
    files.extend(files_of(&app, "/demo").await);
    assert!(files.iter().any(|file| file.starts_with("/assets/")), "{files:?}");
    files.insert("/widget.js".into());
    for path in &files {
        let file = app.anonymous().get(path).await;
        file.has_status(200);
        let keep = if path.starts_with("/assets/") || path.starts_with("/widget/") {
            "public, max-age=31536000, immutable"
        } else if path.contains('.') {
            "public, max-age=300"
        } else {
            continue;
        };
        assert_eq!(file.header("cache-control"), Some(keep), "{path}");
        let kind = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{path}: {other}"),
        };
        assert_eq!(file.header("content-type"), Some(kind), "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_widget_may_be_loaded_by_other_sites() {
    let app = TestApp::start(Engine::Sqlite).await;
    let elsewhere = app.anonymous().with("origin", "https://shop.example");
    let widget = elsewhere.get("/widget.js").await;
    widget.has_status(200);
    assert_eq!(widget.header("access-control-allow-origin"), Some("*"));
    assert_eq!(widget.header("cross-origin-resource-policy"), Some("cross-origin"));
    for path in ["/", "/demo", "/favicon.svg"] {
        assert_eq!(elsewhere.get(path).await.header("access-control-allow-origin"), None, "{path}");
    }
    // A page that was open while the server was renewed can read that the file is gone.
    let gone = elsewhere.get("/widget/gone-12345678.js").await;
    gone.is(404, NO_SUCH_PATH);
    assert_eq!(gone.header("access-control-allow-origin"), Some("*"));
    assert_eq!(gone.header("cache-control"), None);
    elsewhere.get("/assets/gone-12345678.js").await.is(404, NO_SUCH_PATH);
    for path in ["/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/..%2findex.html"] {
        assert_ne!(elsewhere.get(path).await.status, 200, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_browser_has_is_not_sent_again() {
    let app = TestApp::start(Engine::Sqlite).await;
    let client = app.anonymous();
    for path in ["/", "/demo", "/widget.js", "/favicon.svg"] {
        let first = client.get(path).await;
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("\"x\", W/{tag}")] {
            let again = client.with("if-none-match", &known).get(path).await;
            again.has_status(304);
            assert_eq!(again.text, "", "{path}");
            for name in ["etag", "cache-control", "vary", "content-security-policy"] {
                assert_eq!(again.header(name), first.header(name), "{path}: {name}");
            }
        }
        client.with("if-none-match", "\"x\"").get(path).await.has_status(200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_sent_in_the_smallest_encoding_that_the_client_takes() {
    let app = TestApp::start(Engine::Sqlite).await;
    let script = files_of(&app, "/").await.into_iter().find(|path| path.ends_with(".js")).unwrap();
    let plain = app.anonymous().get(&script).await;
    assert_eq!(plain.header("content-encoding"), None);
    let mut tags = BTreeSet::from([plain.header("etag").unwrap().to_owned()]);
    let mut length = plain.text.len();
    for (accepted, encoding) in [("gzip, deflate", "gzip"), ("gzip, deflate, br, zstd", "br")] {
        let client = app.anonymous().with("accept-encoding", accepted);
        let packed = head(&client, &script).await;
        packed.has_status(200);
        assert_eq!(packed.header("content-encoding"), Some(encoding));
        assert_eq!(packed.header("vary"), Some("accept-encoding"));
        let shorter = packed.header("content-length").unwrap().parse().unwrap();
        assert!(shorter < length, "{encoding}: {shorter} of {length}");
        length = shorter;
        assert!(tags.insert(packed.header("etag").unwrap().to_owned()), "{encoding} has a tag of its own");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packed_files_unpack_to_the_plain_ones() {
    let app = TestApp::start(Engine::Sqlite).await;
    for path in files_of(&app, "/").await {
        let plain = app.anonymous().get(&path).await;
        let address = format!("{}{path}", app.base);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let packed = client.get(address).header("accept-encoding", "gzip").send().await.unwrap();
        if packed.headers().get("content-encoding").is_some() {
            let packed = packed.bytes().await.unwrap();
            let mut unpacked = String::new();
            let mut reader = flate2::read::GzDecoder::new(packed.as_ref());
            std::io::Read::read_to_string(&mut reader, &mut unpacked).unwrap();
            assert!(unpacked == plain.text, "{path}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_says_what_a_get_would_send() {
    let app = TestApp::start(Engine::Sqlite).await;
    for path in ["/", "/inbox/5", "/demo", "/widget.js", "/favicon.svg", "/assets/gone.js"] {
        let (get, head) = (app.anonymous().get(path).await, head(&app.anonymous(), path).await);
        assert_eq!(head.text, "", "{path}");
        let length = get.text.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
        let (status, headers, _) = get.without_its_own();
        assert_eq!((status, headers), (head.without_its_own().0, head.without_its_own().1), "{path}");
        let post = app.anonymous().post(path, "{}").await;
        post.has_status(405);
        assert_eq!(post.header("allow"), Some("GET,HEAD"), "{path}");
    }
    app.stop().await;
}
