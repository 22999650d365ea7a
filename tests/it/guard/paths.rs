//! No spelling of a path, and no header, lets in whom the path itself would not.

use std::collections::BTreeSet;

use wicara_model::{Api, Bots, Role};

use super::{Everything, Names, Object, Operations, ROWS, Request, Row, Who};
use crate::http::raw::{self, RawAnswer};
use crate::support::{Engine, TestApp};

/// Headers by which some servers are told another path, method or sender than the request's.
const OTHER_SERVERS_HEADERS: [(&str, &str); 10] = [
    ("X-Original-URL", "/healthz"),
    ("X-Rewrite-URL", "/healthz"),
    ("X-Forwarded-Prefix", "/healthz"),
    ("X-HTTP-Method-Override", "GET"),
    ("X-Method-Override", "OPTIONS"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https;host=localhost"),
    ("X-Forwarded-User", "admin@localhost"),
    ("Remote-User", "admin@localhost"),
];

/// What may stand in the place of a slash.
const SLASHES: &str = "// /// /./ /x/../ /%2e/ /%2E%2E/ /x/%2e%2e/ /x/..%2f /healthz/../ %2F %2f %252F %25252f \\ %5C \
    /%c0%af /%ef%bc%8f /;/ /;x=1/ ;x=1/ /%20/ /%00/ %00/ /..;/ /x/..;/ /*/";

/// What may stand behind a path.
const SUFFIXES: &str = "/ // /. /.. /./ /%2e /x/.. %2F %2f.. ;x=1 ; ;/healthz .json %00 %00.json %20 %09 %0d%0a \
    %0aX-API-Key:x + * /* % %zz %ff ? ?? ?/ ?/healthz ?/../../healthz ?%00 ?%zz ?=&&= ?_method=GET \
    ?anonymous=chatbot-api # #/healthz %23 %3f : @ ~";

/// What may stand before a path; `HOST` is the server's own.
const PREFIXES: &str = "/healthz/.. /healthz/%2e%2e /healthz/..; /healthz%2f.. /healthz; /guide/.. /docs/.. \
    /api/questions/.. /api/questions/../.. /. /.. /x/../ /%2e%2e / /\\ http:// HOST //HOST http://HOST HTTP://HOST \
    https://HOST http://admin@HOST http://HOST/healthz/.. http://localhost http://other.example:1";

/// Every other way to write a path that somebody may take for it.
fn spellings(path: &str, host: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["*".to_owned(), path[1..].to_owned(), path.to_uppercase()]);
    let mixed = path.chars().enumerate();
    let mixed =
        mixed.map(|(place, letter)| if place % 2 == 0 { letter.to_ascii_uppercase() } else { letter });
    all.insert(mixed.collect());
    for escape in ["%", "%25"] {
        let letters = path.bytes();
        let encoded =
            letters.map(|byte| if byte == b'/' { "/".into() } else { format!("{escape}{byte:02x}") });
        all.insert(encoded.collect());
    }
    for (place, _) in path.match_indices('/') {
        let (before, after) = (&path[..place], &path[place + 1..]);
        all.extend(SLASHES.split_whitespace().map(|slash| format!("{before}{slash}{after}")));
        let first = after.as_bytes()[0];
        all.extend(["%", "%25"].map(|escape| format!("{before}/{escape}{first:02X}{}", &after[1..])));
    }
    all.extend(SUFFIXES.split_whitespace().map(|suffix| format!("{path}{suffix}")));
    all.extend(PREFIXES.split_whitespace().map(|prefix| format!("{}{path}", prefix.replace("HOST", host))));
    all.remove(path);
    all
}

/// Somebody without a right to anything that is not public.
struct Outsider {
    name: &'static str,
    /// The header line that they send.
    header: String,
    /// Whether they have rights elsewhere, so that only what names something is not theirs.
    known: bool,
}

impl Outsider {
    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let plain = ROWS.iter().filter(|row| row.operation == row.operation_id());
        plain.filter(|row| !self.known || matches!(row.names, Names::Conversation | Names::Message))
    }
}

struct Guarded {
    app: TestApp,
    operations: Operations,
    /// A conversation that none of the callers sees, not even by its session.
    object: Object,
    outsiders: [Outsider; 3],
}

impl Guarded {
    async fn start() -> Self {
        let app = TestApp::start(Engine::Sqlite).await;
        let operations = Operations::of(&app).await;
        let object = Object::new(&app, "at the console", "echo", false).await;
        let key = app.key(Role::Agent, Bots::Only(vec!["other".into()]), Api::Chatbot).await;
        let outsiders = [
            Outsider { name: "nobody", header: String::new(), known: false },
            Outsider { name: "a wrong key", header: "X-API-Key: wrong\r\n".into(), known: false },
            Outsider { name: "another bot's agent", header: format!("X-API-Key: {key}\r\n"), known: true },
        ];
        Self { app, operations, object, outsiders }
    }

    fn request(&self, row: &Row) -> Request {
        let mut request = self.operations.request(row, &self.object);
        if row.who == Who::Public && request.body.is_some() {
            // What would do nothing even where it is let in.
            request.body = Some("{}".into());
        }
        request
    }

    async fn send(&self, request: &Request, target: &str, headers: &str) -> Option<RawAnswer> {
        let (method, host) = (&request.method, self.host());
        let body = request.body.as_deref().unwrap_or_default();
        let bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        raw::try_exchange(&self.app, bytes.as_bytes()).await
    }

    fn host(&self) -> &str {
        self.app.base.strip_prefix("http://").unwrap()
    }

    /// Fails where an answer is neither a refusal nor what the path itself answers.
    fn assert_no_weaker(&self, answer: &RawAnswer, canonical: &RawAnswer, case: &str) {
        let refused = matches!(answer.status, 400 | 401 | 403 | 404 | 405);
        let same = (answer.status, &answer.body) == (canonical.status, &canonical.body);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(refused || same, "{case}: {} {text}", answer.status);
        let told = [&self.object.chat.session, "said"].iter().any(|secret| text.contains(secret));
        assert!(!told, "{case}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_is_weaker_than_the_path() {
    let guarded = Guarded::start().await;
    let app = &guarded.app;
    let admin = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let before = Everything::of(app, &admin).await;
    // Good credentials, where none are looked for.
    let (key, session) = (app.key(Role::Admin, Bots::All, Api::Chatbot).await, app.session().await);
    let secrets =
        format!("api_key={key}&x-api-key={key}&authorization=Bearer%20{key}&wicara_session={session}");
    for outsider in &guarded.outsiders {
        for row in outsider.rows() {
            let request = guarded.request(row);
            let canonical = guarded.send(&request, &request.path, &outsider.header).await.unwrap();
            let mut targets = spellings(&request.path, guarded.host());
            targets.insert(format!("{}?{secrets}", request.path));
            for target in targets {
                // A connection that ends without a word is a refusal too.
                let Some(answer) = guarded.send(&request, &target, &outsider.header).await else { continue };
                let case = format!("{}: {} {target}", outsider.name, request.method);
                guarded.assert_no_weaker(&answer, &canonical, &case);
            }
        }
    }
    assert_eq!(Everything::of(app, &admin).await, before);
    guarded.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_other_servers_believe_change_nothing() {
    let guarded = Guarded::start().await;
    let admin = guarded.app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let before = Everything::of(&guarded.app, &admin).await;
    for outsider in &guarded.outsiders {
        for row in outsider.rows() {
            let request = guarded.request(row);
            let canonical = guarded.send(&request, &request.path, &outsider.header).await.unwrap();
            for (name, value) in OTHER_SERVERS_HEADERS {
                let headers = format!("{}{name}: {value}\r\n", outsider.header);
                let answer = guarded.send(&request, &request.path, &headers).await.unwrap();
                let answered = (answer.status, answer.body);
                assert_eq!(
                    answered,
                    (canonical.status, canonical.body.clone()),
                    "{}: {} {name}",
                    outsider.name,
                    row.operation
                );
            }
        }
    }
    assert_eq!(Everything::of(&guarded.app, &admin).await, before);

    // Nor does a right to read become one to write.
    let viewer = guarded.app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    for row in ROWS.iter().filter(|row| row.who == Who::Writers) {
        let path = guarded.request(row).path;
        let method = guarded.operations.method(row).as_str();
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            viewer.with(name, method).get(&format!("{path}?_method={method}")).await;
            viewer.with(name, method).post(&path, &serde_json::json!({"_method": method})).await;
        }
    }
    assert_eq!(Everything::of(&guarded.app, &admin).await, before);
    guarded.app.stop().await;
}
