//! The OpenAPI document: whole, and true of what is answered.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};
use wicara_model::{Api, Bots, Role};

use super::Chat;
use crate::support::{Answer, Client, Engine, TestApp};

/// Every operation with the statuses that it may answer, besides those of any operation under `/api`.
const OPERATIONS: [(&str, &str, &[u16]); 39] = [
    ("get", "/healthz", &[]),
    ("get", "/readyz", &[503]),
    ("get", "/metrics", &[401, 403, 503]),
    ("post", "/api/auth/login", &[400, 429]),
    ("post", "/api/auth/logout", &[400]),
    ("post", "/api/auth/password", &[400, 429]),
    ("get", "/api/bot", &[]),
    ("post", "/api/bot/{id}/try", &[400, 404, 502, 504]),
    ("get", "/api/widget", &[400, 403]),
    ("get", "/api/auth/me", &[]),
    ("post", "/api/questions", &[400, 404, 409, 422, 429, 502, 504]),
    ("get", "/api/questions/{session_id}", &[400, 404]),
    ("get", "/api/questions/{session_id}/events", &[400, 404, 429]),
    ("get", "/api/events", &[400, 429]),
    ("post", "/api/questions/{session_id}/handover", &[400, 404, 429]),
    ("delete", "/api/questions/{session_id}/answer", &[400, 404, 429]),
    ("post", "/api/questions/{session_id}/seen", &[400, 404, 429]),
    ("post", "/api/questions/{session_id}/typing", &[400, 404, 429]),
    ("put", "/api/questions/{session_id}/messages/{id}/feedback", &[400, 404, 429]),
    ("post", "/api/conversation/{id}/restore", &[400]),
    ("post", "/api/message/{id}/restore", &[400]),
    ("post", "/api/message/{id}/ask", &[400, 409]),
    ("post", "/api/conversation/{id}/claim", &[400, 409]),
    ("post", "/api/conversation/{id}/release", &[400, 409]),
    ("delete", "/api/conversation/{id}/answer", &[400]),
    ("post", "/api/conversation/{id}/seen", &[400]),
    ("post", "/api/conversation/{id}/typing", &[400]),
    ("post", "/api/conversation", &[400, 409, 422]),
    ("get", "/api/conversation", &[400, 403]),
    ("get", "/api/conversation/counts", &[]),
    ("get", "/api/conversation/{id}", &[400, 403, 404]),
    ("patch", "/api/conversation/{id}", &[400, 409]),
    ("delete", "/api/conversation/{id}", &[400, 404]),
    ("delete", "/api/conversation/message/{id}", &[400, 404]),
    ("post", "/api/message", &[400, 409, 422]),
    ("get", "/api/message", &[400]),
    ("get", "/api/message/{id}", &[400]),
    ("patch", "/api/message/{id}", &[400]),
    ("delete", "/api/message/{id}", &[400]),
];

async fn document(app: &TestApp) -> Value {
    let answer = app.anonymous().get("/api/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_described_with_its_answers() {
    let app = TestApp::start(Engine::Sqlite).await;
    let document = document(&app).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    let found: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.as_str(), path.as_str()))
        })
        .collect();
    assert_eq!(found, OPERATIONS.map(|(method, path, _)| (method, path)).into());

    let mut names = BTreeSet::new();
    for (method, path, own) in OPERATIONS {
        let operation = &paths[path][method];
        let what = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{what}: its name is taken");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{what}");
        let mut expected: BTreeSet<u16> = own.iter().copied().collect();
        expected.insert(200);
        if path.starts_with("/api/") {
            expected.extend([401, 500, 503]);
            if method != "get" {
                expected.insert(403);
            }
            if operation["requestBody"].is_object() {
                expected.extend([408, 413, 415]);
            }
        }
        let answers = operation["responses"].as_object().unwrap();
        let statuses: BTreeSet<u16> = answers.keys().map(|status| status.parse().unwrap()).collect();
        assert_eq!(statuses, expected, "{what}");
        for (status, answer) in answers {
            let content = if (path, status.as_str()) == ("/metrics", "200") {
                "application/openmetrics-text"
            } else {
                "application/json"
            };
            let schema = &answer["content"][content]["schema"];
            assert!(schema.is_object(), "{what} {status}");
            let waits = answer["headers"]["Retry-After"].is_object();
            // For how long somebody else will have a conversation is not known.
            let reference = schema["$ref"].as_str().unwrap_or_default();
            let is_open_end = reference.ends_with("/Claimed") || reference.ends_with("/NotAsked");
            let expected = !is_open_end && matches!(status.as_str(), "409" | "429" | "503");
            assert_eq!(waits, expected, "{what} {status}");
        }
        let without_body = ["/handover", "/typing", "/ask", "/restore"];
        let has_body = matches!(method, "post" | "put" | "patch")
            && !without_body.iter().any(|call| path.ends_with(call));
        assert_eq!(operation["requestBody"].is_object(), has_body, "{what}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, path.matches('{').count(), "{what}");
    }
    app.stop().await;
}

/// As somebody does who tries the first thing that the page at `/docs` offers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_a_question_is_answered() {
    let app = TestApp::start(Engine::Sqlite).await;
    let schemas = Schemas(document(&app).await);
    let body = &schemas.0["paths"]["/api/questions"]["post"]["requestBody"]["content"]["application/json"];
    assert!(body["example"].is_null() && body["examples"].is_null(), "the schema's example is shown");
    let example = schemas.resolve(&body["schema"])["example"].clone();
    assert_eq!(app.anonymous().post("/api/questions", &example).await.ok()["data"][0]["text"], "echo: halo");
    app.stop().await;
}

/// What is described as open needs no credentials, and nothing else does without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_as_closed_is_closed() {
    let app = TestApp::start(Engine::Sqlite).await;
    let document = document(&app).await;
    for (method, path, _) in OPERATIONS {
        let security = document["paths"][path][method].get("security").unwrap_or(&document["security"]);
        let open = security.as_array().unwrap().iter().any(|way| way.as_object().unwrap().is_empty())
            || security.as_array().unwrap().is_empty();
        let path = path.replace("{id}", "1").replace("{session_id}", "1309c142-3535-45b2-acdf-8bfbe59c3b9a");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = app.anonymous().send_json(method.clone(), &path, "{}").await;
        assert_eq!(answer.status != 401, open, "{method} {path}: {}", answer.text);
    }
    app.stop().await;
}

/// As the document says with `allowEmptyValue`, of whatever parameter it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_parameter_is_described_and_counts_as_left_out() {
    let app = TestApp::start(Engine::Sqlite).await;
    // Without it, the feed is a stream.
    let program = app.program().with("accept", "application/json");
    let document = document(&app).await;
    let chat = Chat::on(&app, "echo").await;
    let mut tried = 0;
    for (method, template, _) in OPERATIONS {
        let parameters =
            document["paths"][template][method]["parameters"].as_array().cloned().unwrap_or_default();
        let path = template.replace("{session_id}", &chat.session);
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            assert_eq!(parameter["allowEmptyValue"], true, "{method} {template}: {name}");
            if *method != *"get" {
                continue;
            }
            let without = program.get(&path).await;
            without.has_status(200);
            let empty = program.get(&format!("{path}?{name}=")).await;
            assert_eq!(empty.without_its_own(), without.without_its_own(), "{template}: {name}");
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
    app.stop().await;
}

/// The schemas of the document, by which answers are judged.
pub struct Schemas(Value);

impl Schemas {
    pub async fn of(app: &TestApp) -> Self {
        Self(document(app).await)
    }

    /// Holds an event against the alternative that has its kind.
    #[track_caller]
    pub fn assert_describe_event(&self, path: &str, event: &Value) {
        let content = &self.0["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"];
        let alternatives = self.resolve(&content["schema"])["anyOf"].as_array().unwrap();
        let has_its_kind = |schema: &&Value| {
            let kinds = &self.resolve(&self.resolve(schema)["properties"]["kind"])["enum"];
            kinds.as_array().unwrap().contains(&event["kind"])
        };
        let of_its_kind: Vec<_> = alternatives.iter().filter(has_its_kind).collect();
        let [schema] = of_its_kind[..] else { panic!("{path}: {} of {event}", of_its_kind.len()) };
        assert_eq!(self.problem(schema, event, "", true), None, "{path}: {event}");
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(self.0.pointer(&reference[1..]).unwrap()),
            None => schema,
        }
    }

    /// What the answer has that the schema does not say, or the other way round. `whole`: whether a field has to be
    /// described, as it has not for a client that checks what it gets.
    fn problem(&self, schema: &Value, value: &Value, at: &str, whole: bool) -> Option<String> {
        let schema = self.resolve(schema);
        for (word, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let Some(ways) = schema[word].as_array() else { continue };
            let problems = |whole| ways.iter().map(move |way| self.problem(way, value, at, whole));
            let fitting = problems(false).filter(Option::is_none).count();
            if fitting > most {
                return Some(format!("{at}: {fitting} of {word} fit, {ways:?}"));
            }
            let problems: Option<Vec<_>> = problems(whole).collect();
            return problems.map(|problems| problems.join(", or "));
        }
        let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
        let fits = |kind: &Value| match kind.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            _ => schema["allOf"].is_array(),
        };
        if !types.iter().any(fits) {
            return Some(format!("{at}: {value} is none of {types:?}"));
        }
        if let Some(items) = value.as_array() {
            let mut problems =
                items.iter().map(|item| self.problem(&schema["items"], item, &format!("{at}[]"), whole));
            return problems.find_map(|problem| problem);
        }
        let fields = value.as_object()?;
        let (mut described, mut required) = (Map::new(), Vec::new());
        self.fields(schema, &mut described, &mut required);
        if let Some(missing) = required.iter().find(|name| !fields.contains_key(*name)) {
            return Some(format!("{at}/{missing} is missing"));
        }
        // An object without described fields may hold anything.
        let mut fields = fields.iter().filter(|_| !described.is_empty());
        fields.find_map(|(name, value)| match described.get(name) {
            Some(schema) => self.problem(schema, value, &format!("{at}/{name}"), whole),
            None => whole.then(|| format!("{at}/{name} is not described")),
        })
    }

    fn fields(&self, schema: &Value, described: &mut Map<String, Value>, required: &mut Vec<String>) {
        let schema = self.resolve(schema);
        described.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.fields(part, described, required);
        }
    }

    #[track_caller]
    pub fn assert_describe(&self, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.as_str();
        let schema =
            &self.0["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} is not described: {}", answer.text);
        let problem = self.problem(schema, &answer.json(), "", true);
        assert_eq!(problem, None, "{method} {path} {status}: {}", answer.text);
        assert_eq!(answer.json()["status"], answer.status.as_u16());
    }
}

/// Sends each request and holds its answer against the document.
struct Judge<'a> {
    schemas: &'a Schemas,
    client: Client,
}

impl Judge<'_> {
    async fn send(&self, method: &str, template: &str, query: &str, id: &str, body: &Value) -> Value {
        // Of a message in a session: both.
        let (session, id) = id.split_once('/').unwrap_or((id, id));
        let path = template.replace("{id}", id).replace("{session_id}", session);
        let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = match body {
            Value::Null => self.client.send(verb, &format!("{path}{query}"), None).await,
            body => self.client.send_json(verb, &format!("{path}{query}"), body.to_string()).await,
        };
        self.schemas.assert_describe(method, template, &answer);
        answer.json()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_what_is_described() {
    let bots =
        "[[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\ntimeout_seconds = 1\n";
    let app = TestApp::with(Engine::Sqlite, bots).await;
    let schemas = Schemas(document(&app).await);
    let conversation_api = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let clients = [app.person(), app.program(), conversation_api, viewer, app.anonymous()];
    let long = "x".repeat(2_000_000);
    for client in clients {
        let judge = Judge { schemas: &schemas, client };
        let send = async |method: &str, path: &str, id: &str, body: Value| {
            judge.send(method, path, "", id, &body).await
        };
        let bad = async |method: &str, path: &str, query: &str| {
            judge.send(method, path, query, "", &Value::Null).await
        };

        let asked = send("post", "/api/questions", "", json!({"message": "halo"})).await;
        let session = asked["session_id"].as_str().unwrap();
        for said in ["say \"text\"", "say [{\"text\":\"a\"},\"b\"]", "status 500", "{"] {
            send("post", "/api/questions", "", json!({"message": said, "session_id": session})).await;
        }
        send("post", "/api/questions", "", json!({"message": "wait 5000", "botId": "slow"})).await;
        for body in
            [json!({}), json!({"message": long}), json!({"message": "halo", "session_id": "x", "botId": 5})]
        {
            send("post", "/api/questions", "", body).await;
        }
        let unknown = "1309c142-3535-45b2-acdf-8bfbe59c3b9a";
        send("post", "/api/questions", "", json!({"message": "halo", "session_id": unknown})).await;
        for id in [session, unknown, "x"] {
            send("get", "/api/questions/{session_id}", id, Value::Null).await;
            for (message, value) in
                [(asked["message_ids"][0].to_string(), 1), ("0".into(), 5), ("y".into(), -1)]
            {
                let body = json!({"value": value});
                let id = format!("{id}/{message}");
                send("put", "/api/questions/{session_id}/messages/{id}/feedback", &id, body).await;
            }
        }

        let room = json!({"room": "r", "integrationType": "website"});
        let created = send("post", "/api/conversation", "", room.clone()).await;
        let own = created["data"]["id"].as_str().unwrap_or("1").to_owned();
        let message = json!({"message": "hi", "type": "text", "role": "note", "conversationId": own});
        let sent = send("post", "/api/message", "", message.clone()).await;
        let sent = sent["data"]["id"].as_str().unwrap_or("1").to_owned();
        let first = json!({"message": "hi", "type": "text", "role": "note", "conversationId": "x"});
        for body in [json!({}), first, json!({"message": long})] {
            send("post", "/api/message", "", body).await;
        }
        send("post", "/api/conversation", "", json!({"room": 5})).await;
        for path in ["/api/conversation", "/api/message"] {
            for query in [
                "?limit=100",
                "?limit=100&order=asc",
                "?page=99",
                "?limit=0",
                "?botId=none&conversationId=0",
                "?sort=activity&limit=1",
                "?unread=true&role=client",
                "?sort=x&role=%00",
                "?cursor=x&since=yesterday",
                "?q=halo",
                "?q=hi&sort=relevance&limit=1",
                "?q=nothing",
                "?q=-halo&sort=relevance",
                "?sort=relevance",
            ] {
                bad("get", path, query).await;
            }
        }
        for id in ["1", &own, "999999", "abc", ""] {
            let id = if id.is_empty() { "%00" } else { id };
            send("get", "/api/conversation/{id}", id, Value::Null).await;
            for body in [json!({}), json!({"handler": "human"}), json!({"handler": "x"}), json!(5)] {
                send("patch", "/api/conversation/{id}", id, body).await;
            }
        }
        for id in ["1", "2", &sent, "999999", "abc"] {
            send("get", "/api/message/{id}", id, Value::Null).await;
            for body in [json!({}), json!({"message": "ho"}), json!({"message": ""})] {
                send("patch", "/api/message/{id}", id, body).await;
            }
        }
        for id in [sent.as_str(), "999999", "abc"] {
            for (path, query) in [("delete", "?undo=30"), ("delete", "?undo=0"), ("post", "")] {
                let template =
                    if query.is_empty() { "/api/message/{id}/restore" } else { "/api/message/{id}" };
                judge.send(path, template, query, id, &Value::Null).await;
            }
            send("post", "/api/message/{id}/ask", id, Value::Null).await;
        }
        let question = asked["question_id"].to_string();
        send("post", "/api/message/{id}/ask", &question, Value::Null).await;
        for id in [sent.as_str(), "999999", "abc"] {
            send("delete", "/api/conversation/message/{id}", id, Value::Null).await;
            send("delete", "/api/message/{id}", id, Value::Null).await;
        }
        for id in [own.as_str(), "999999", "abc"] {
            for query in ["?undo=30", "?undo=x"] {
                judge.send("delete", "/api/conversation/{id}", query, id, &Value::Null).await;
            }
            send("post", "/api/conversation/{id}/restore", id, Value::Null).await;
            send("delete", "/api/conversation/{id}", id, Value::Null).await;
        }

        for key in ["0123456789abcdef", "short", ""] {
            let judge = Judge { schemas: &schemas, client: judge.client.with("idempotency-key", key) };
            for body in [json!({"message": "a"}), json!({"message": "b"})] {
                judge.send("post", "/api/questions", "", "", &body).await;
            }
            judge.send("post", "/api/conversation", "", "", &room).await;
            judge
                .send("post", "/api/conversation", "", "", &json!({"room": "2", "integrationType": "w"}))
                .await;
            judge.send("post", "/api/message", "", "", &message).await;
        }

        send("get", "/api/conversation/counts", "", Value::Null).await;
        send("get", "/api/auth/me", "", Value::Null).await;
        send("get", "/api/bot", "", Value::Null).await;
        send("get", "/api/widget", "", Value::Null).await;
        bad("get", "/api/widget", "?bot=none").await;
        for id in ["echo", "slow", "none"] {
            for said in ["halo", "status 500", "wait 5000", ""] {
                send("post", "/api/bot/{id}/try", id, json!({"message": said})).await;
            }
        }
        send("post", "/api/auth/password", "", json!({"old": "wrong", "new": "a new one"})).await;
        for body in [json!({}), json!({"email": "a@b", "password": "wrong"})] {
            send("post", "/api/auth/login", "", body).await;
        }
        for path in ["/healthz", "/readyz"] {
            send("get", path, "", Value::Null).await;
        }
    }
    let right = json!({"email": "admin@localhost", "password": crate::support::app::PASSWORD});
    let judge = Judge { schemas: &schemas, client: app.anonymous() };
    judge.send("post", "/api/auth/login", "", "", &right).await;
    let judge = Judge { schemas: &schemas, client: app.person() };
    judge.send("post", "/api/auth/logout", "", "", &json!({})).await;
    judge.send("get", "/api/auth/me", "", "", &Value::Null).await;
    let plain = app.anonymous().with("content-type", "text/plain");
    let answer = plain.send(Method::POST, "/api/questions", Some(b"halo".to_vec())).await;
    schemas.assert_describe("post", "/api/questions", &answer);
    app.stop().await;
}
