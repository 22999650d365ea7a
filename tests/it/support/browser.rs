//! Chromium, with one person's cookies, and pages of several origins in it whose scripts call the server.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use xtask::chromium;

use super::patience::{PATIENCE, within};

/// A name of this machine that the browser takes for another site.
const ELSEWHERE: &str = "shop.example";

/// A call of `fetch` by a page.
#[derive(Debug, Clone)]
pub struct Call(Map<String, Value>);

impl Call {
    pub fn new(method: &str, url: &str, credentials: &str) -> Self {
        let Value::Object(init) = json!({"method": method, "url": url, "credentials": credentials}) else {
            unreachable!("it is an object")
        };
        Self(init)
    }

    /// One more option of `fetch`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Headers that the page sets, after those that it set before.
    pub fn headers(mut self, headers: &[(&str, &str)]) -> Self {
        let set = self.0.entry("headers").or_insert_with(|| json!({}));
        for (name, value) in headers {
            set[*name] = json!(value);
        }
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.headers(&[("content-type", "application/json")]).with("body", body.to_string())
    }

    pub fn name(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

/// What the browser showed to the page of one call.
#[derive(Debug)]
pub struct Seen(Value);

impl Seen {
    /// `None`: the browser kept the answer to itself, or did not send the request.
    pub fn status(&self) -> Option<u64> {
        self.0["status"].as_u64().filter(|status| *status > 0)
    }

    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0["headers"].as_array()?;
        headers.iter().find(|header| header[0] == name)?[1].as_str()
    }
}

/// What the page in the browser is to do next, and from which origin.
#[derive(Debug, Clone)]
struct Visit {
    number: u64,
    page: Value,
}

struct Pages {
    visit: watch::Sender<Visit>,
    seen: mpsc::UnboundedSender<(u64, Vec<Value>)>,
}

pub struct Browser {
    process: Child,
    _profile: TempDir,
    pages: Arc<Pages>,
    seen: mpsc::UnboundedReceiver<(u64, Vec<Value>)>,
    ports: [u16; 2],
}

impl Browser {
    pub async fn start() -> Self {
        let program = chromium::find().unwrap_or_else(|| panic!("{}", chromium::INSTALL));
        let (visit, _) = watch::channel(Visit { number: 0, page: Value::Null });
        let (sender, seen) = mpsc::unbounded_channel();
        let pages = Arc::new(Pages { visit, seen: sender });
        let ports = [serve(&pages).await, serve(&pages).await];
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        // Its sandbox needs rights that containers do not give; all pages in it are ours.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--no-proxy-server", "--disable-background-networking"]);
        command.arg(format!("--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"));
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("http://127.0.0.1:{}", ports[0]));
        // A group of its own, so that all its processes end with it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        Self { process, _profile: profile, pages, seen, ports }
    }

    /// An origin on the same site as a server at 127.0.0.1: the browser sends a `SameSite=Lax` cookie with its calls.
    pub fn neighbour(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Another origin on that site.
    pub fn other_neighbour(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// Origins on other sites.
    pub fn other_sites(&self) -> [String; 2] {
        ["localhost", ELSEWHERE].map(|name| format!("http://{name}:{}", self.ports[1]))
    }

    /// Opens a page of this origin, which makes the calls one after the other.
    pub async fn visit(&mut self, origin: &str, calls: &[Call]) -> Vec<Seen> {
        let calls: Vec<_> = calls.iter().map(|call| &call.0).collect();
        let mut wanted = 0;
        self.pages.visit.send_modify(|visit| {
            wanted = visit.number + 1;
            *visit =
                Visit { number: wanted, page: json!({"number": wanted, "origin": origin, "calls": calls}) };
        });
        let what = format!("the page of {origin} has called");
        let (number, seen) = within(PATIENCE, &what, self.seen.recv()).await.unwrap();
        assert_eq!((number, seen.len()), (wanted, calls.len()), "{what}");
        seen.into_iter().map(Seen).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

/// The server of the pages, on a port of its own.
async fn serve(pages: &Arc<Pages>) -> u16 {
    let router = Router::new()
        .route("/", get(async || Html(include_str!("browser.html"))))
        .route("/visit/{last}", get(next_visit))
        .route("/seen/{number}", post(seen))
        .with_state(Arc::clone(pages));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

/// The visit after the last one of this page.
async fn next_visit(State(pages): State<Arc<Pages>>, Path(last): Path<u64>) -> Json<Value> {
    let mut visit = pages.visit.subscribe();
    let next = visit.wait_for(|visit| visit.number > last).await.unwrap().page.clone();
    Json(next)
}

async fn seen(State(pages): State<Arc<Pages>>, Path(number): Path<u64>, body: String) -> Json<u64> {
    pages.seen.send((number, serde_json::from_str(&body).unwrap())).unwrap();
    Json(number)
}
