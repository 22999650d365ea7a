//! What pages of other sites can do with a person's cookie, which a browser sends along wherever the click came from.

use reqwest::Method;
use wicara_model::{Api, Bots, Role};

use super::{Everything, Object, Operations, ROWS, Request, Row, Who};
use crate::http::{FORBIDDEN, FOREIGN_PAGE};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    a_cookie_writes_from_ones_own_pages_only,
    no_other_page_ends_a_session,
    a_key_writes_from_anywhere
);

const CONSOLE: &str = "https://console.example";
const ALLOWED: &str = "server.allowed_origins = [\"https://console.example\"]\n";
const JSON: &str = "application/json";

/// Types of bodies: after JSON those that a page may send anywhere without asking.
const TYPES: [Option<&str>; 5] = [
    Some(JSON),
    Some("text/plain"),
    Some("application/x-www-form-urlencoded"),
    Some("multipart/form-data; boundary=x"),
    None,
];

/// Where a request comes from, as the browser says it.
struct Page {
    origin: Option<String>,
    site: Option<&'static str>,
    may_write: bool,
}

impl Page {
    /// Every `Origin` with every `Sec-Fetch-Site`.
    fn all(app: &TestApp) -> Vec<Self> {
        let own = app.base.as_str();
        let (host, port) = own.strip_prefix("http://").unwrap().split_once(':').unwrap();
        let sites = [None, Some("same-origin"), Some("same-site"), Some("cross-site"), Some("none")];
        let mut pages: Vec<_> = sites
            .map(|site| {
                let may_write = matches!(site, None | Some("same-origin" | "none"));
                Page { origin: None, site, may_write }
            })
            .into();
        for (origin, may_write) in [
            (own.to_owned(), true),
            // Where no public URL is set, TLS may end before us.
            (format!("https://{host}:{port}"), true),
            (CONSOLE.to_owned(), true),
            (CONSOLE.to_uppercase(), true),
            (own.to_uppercase(), false),
            ("https://elsewhere.example".into(), false),
            ("null".into(), false),
            (String::new(), false),
            (format!("{host}:{port}"), false),
            (format!("http://{host}:{port}1"), false),
            (format!("http://localhost:{port}"), false),
            (format!("{own}/"), false),
            (format!("{own}.evil.example"), false),
            (format!("http://{host}:{port}@evil.example"), false),
            (format!("{own}, https://elsewhere.example"), false),
            ("http://console.example".into(), false),
            (format!("{CONSOLE}:8443"), false),
            (format!("{CONSOLE}.evil.example"), false),
            ("https://evil-console.example".into(), false),
        ] {
            pages.extend(sites.map(|site| Page { origin: Some(origin.clone()), site, may_write }));
        }
        pages
    }

    fn client(&self, client: &Client) -> Client {
        let headers = [("origin", self.origin.as_deref()), ("sec-fetch-site", self.site)];
        headers.iter().fold(client.clone(), |client, (name, value)| match value {
            Some(value) => client.with(name, value),
            None => client,
        })
    }

    /// What a write is answered that it must not do.
    fn refusal(&self) -> &'static str {
        let names_a_site = self
            .origin
            .as_ref()
            .is_some_and(|origin| origin.starts_with("http://") || origin.starts_with("https://"));
        if names_a_site { FOREIGN_PAGE } else { FORBIDDEN }
    }

    fn case(&self, what: &str) -> String {
        format!("{what} from {:?}, {:?}", self.origin, self.site)
    }
}

async fn send(client: &Client, request: Request, kind: Option<&str>) -> Answer {
    let client = kind.map_or(client.clone(), |kind| client.with("content-type", kind));
    client.send(request.method, &request.path, request.body.map(String::into_bytes)).await
}

/// The rows that write, but for logging in and out, and for passwords.
fn writes(operations: &Operations) -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .filter(|row| *operations.method(row) != Method::GET)
        .filter(|row| !matches!(row.operation, "login" | "logout" | "password_change"))
}

async fn a_cookie_writes_from_ones_own_pages_only(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let operations = Operations::of(&app).await;
    let admin = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let person = app.person();
    let object = Object::new(&app, "to echo", "echo", true).await;

    // Where a page may not write, and where a body is no JSON.
    let before = Everything::of(&app, &admin).await;
    for page in Page::all(&app) {
        for kind in TYPES {
            for row in writes(&operations) {
                let request = operations.request(row, &object);
                let no_json = request.body.is_some() && kind != Some(JSON);
                // Questions may come from any page, and no cookie counts there.
                let may_write = page.may_write || row.who == Who::Public;
                if may_write && !no_json {
                    continue;
                }
                let answer = send(&page.client(&person), request, kind).await;
                let expected = if may_write { 415 } else { 403 };
                answer.has_status(expected);
            }
        }
        assert_eq!(Everything::of(&app, &admin).await, before, "{}", page.case("something was done"));
    }

    for page in Page::all(&app) {
        for row in writes(&operations).filter(|row| page.may_write || row.who == Who::Public) {
            let kinds = if row.body.is_empty() { &TYPES[..] } else { &TYPES[..1] };
            for kind in kinds {
                let object = object.copy(&app).await;
                let request = operations.request(row, &object);
                send(&page.client(&person), request, *kind).await.has_status(200);
            }
        }
        let after = Everything::of(&app, &admin).await;
        before.restore(&app, &after).await;
    }
    app.stop().await;
}

async fn no_other_page_ends_a_session(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let anonymous = app.anonymous();
    let sign_in = async || anonymous.with("cookie", &format!("wicara_session={}", app.session().await));
    let mut person = sign_in().await;
    for page in Page::all(&app) {
        for kind in TYPES {
            let case = page.case(&format!("logging out as {kind:?}"));
            // A browser may keep the cookie to itself, and would still obey an answer that takes it away.
            for client in [&anonymous, &person] {
                let body = kind.map(|_| "{}".to_owned());
                let request = Request { method: Method::POST, path: "/api/auth/logout".into(), body };
                let answer = send(&page.client(client), request, kind).await;
                assert_eq!(answer.header("set-cookie").is_some(), page.may_write, "{case}");
                if page.may_write {
                    answer.has_status(200);
                } else {
                    answer.is(403, page.refusal());
                }
            }
            let ended = person.get("/api/auth/me").await.status == 401;
            assert_eq!(ended, page.may_write, "{case}");
            if ended {
                person = sign_in().await;
            }
        }
    }
    app.stop().await;
}

async fn a_key_writes_from_anywhere(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let operations = Operations::of(&app).await;
    // Beside a cookie, which does not count there.
    let cookie = format!("wicara_session={}", app.session().await);
    let program = app.program().with("cookie", &cookie);
    let object = Object::new(&app, "to echo", "echo", true).await;
    for page in Page::all(&app).into_iter().filter(|page| matches!(page.site, None | Some("cross-site"))) {
        for row in writes(&operations) {
            let object = object.copy(&app).await;
            let request = operations.request(row, &object);
            send(&page.client(&program), request, Some(JSON)).await.has_status(200);
        }
    }
    app.stop().await;
}

/// What a browser would show to a page, it was told to by these headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_page_reads_with_credentials() {
    let app = TestApp::with(Engine::Sqlite, ALLOWED).await;
    let operations = Operations::of(&app).await;
    let person = app.anonymous().with("cookie", &format!("wicara_session={}", app.session().await));
    let object = Object::new(&app, "to echo", "echo", true).await;
    for page in Page::all(&app).iter().filter(|page| page.origin.is_some() && page.site.is_none()) {
        for row in ROWS {
            let request = operations.request(row, &object);
            let case = page.case(row.operation);
            // Without the header the feed would be a stream, which does not end.
            let client = page.client(&person).with("accept", "application/json");
            let preflight = client.with("access-control-request-method", request.method.as_str());
            for answer in [
                preflight.send(Method::OPTIONS, &request.path, None).await,
                client.get(&request.path).await,
                client.send(Method::PUT, &request.path, None).await,
            ] {
                let shown_to = answer.header("access-control-allow-origin");
                if row.operation.starts_with("question_") || row.operation == "widget_get" {
                    // No cookie counts there.
                    assert_eq!(shown_to, page.origin.as_deref(), "{case}");
                    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{case}");
                } else if !request.path.starts_with("/api/") || page.origin.as_deref() != Some(CONSOLE) {
                    assert_eq!(shown_to, None, "{case}");
                } else {
                    assert_eq!(shown_to, Some(CONSOLE), "{case}");
                    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{case}");
                }
            }
        }
    }
    app.stop().await;
}
