//! Every field of every body, with every kind of value that a client may put there.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CONVERSATION_ID_INVALID, Chat, Shape, UNAUTHENTICATED};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    fields_of_a_new_conversation,
    fields_of_a_changed_conversation,
    fields_of_a_new_message,
    fields_of_a_changed_message,
    fields_of_a_question,
    fields_of_a_login,
    every_failing_field_is_listed,
);

#[derive(Clone, Copy)]
enum Kind {
    Required,
    /// As if absent where it is null or blank.
    Optional,
    /// As if absent where it is null; it cannot become blank.
    Changed,
    Uuid,
    Handler,
    ConversationId,
}

#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    kind: Kind,
    /// What fills it so that it is as long as it may be.
    limit: usize,
    /// A value that is accepted.
    good: &'static str,
}

const fn field(name: &'static str, kind: Kind, limit: usize, good: &'static str) -> Field {
    Field { name, kind, limit, good }
}

/// What a value is answered with.
enum Expected {
    /// The field has this value now; `None`: as if it was absent.
    Accepted(Option<String>),
    Broken(&'static str),
    InvalidId,
}

impl Field {
    /// JSON values for the field, `None` for absent, each with what it is answered with.
    fn cases(self) -> Vec<(Option<String>, Expected)> {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let long = |length: usize| format!("\"{}\"", "a".repeat(length));
        let mut cases = vec![
            (None, self.missing()),
            (Some("null".into()), self.missing()),
            (Some(r#""""#.into()), self.blank()),
            (Some(r#""  \t\n\u00a0\u3000""#.into()), self.blank()),
        ];
        let wrong = ["true", "false", "[]", r#"["a"]"#, "{}", r#"{"a":1}"#, &deep];
        cases.extend(wrong.map(|value| (Some(value.to_owned()), Expected::Broken("string"))));
        cases.extend(["-1.5", "1e309"].map(|value| (Some(value.to_owned()), self.number())));
        let broken = [r#""\u0000""#, r#""a\u0000b""#, r#""\ud800""#, r#""a\udc00b""#, r#""\ude0a\ud83d""#];
        cases.extend(broken.map(|value| (Some(value.to_owned()), Expected::Broken("string"))));
        let accepted = |value: String| (Some(format!("\"{value}\"")), Expected::Accepted(Some(value)));
        match self.kind {
            Kind::Required | Kind::Optional | Kind::Changed => {
                cases.push((Some("5".into()), Expected::Broken("string")));
                cases.push((Some(long(self.limit + 1)), Expected::Broken("maxLength")));
                cases.push(accepted("a".repeat(self.limit)));
                // A message's limit is one of bytes, every other one of characters.
                let letters = if self.name == "message" { self.limit / 2 } else { self.limit };
                cases.push(accepted("é".repeat(letters)));
                cases.push((Some(format!("\"{}\"", "é".repeat(letters + 1))), Expected::Broken("maxLength")));
            }
            Kind::Uuid => {
                cases.push((Some("5".into()), Expected::Broken("string")));
                for value in
                    ["abc", "1309c142353545b2acdf8bfbe59c3b9a", " 1309c142-3535-45b2-acdf-8bfbe59c3b9a"]
                {
                    cases.push((Some(format!("\"{value}\"")), Expected::Broken("uuid")));
                }
                cases.push((Some(long(self.limit)), Expected::Broken("uuid")));
            }
            Kind::Handler => {
                cases.push((Some("5".into()), Expected::Broken("string")));
                cases.push((Some(r#""Bot""#.into()), Expected::Broken("enum")));
                cases.push((Some(long(65)), Expected::Broken("enum")));
                cases.extend(["human", "bot"].map(|word| accepted(word.into())));
            }
            Kind::ConversationId => {
                for value in
                    ["0", "-1", "1.5", "1e3", "99999999999", "9223372036854775807", "9223372036854775808"]
                {
                    cases.push((Some(value.into()), Expected::InvalidId));
                    cases.push((Some(format!("\"{value}\"")), Expected::InvalidId));
                }
                for value in ["abc", "conversation-123", "1abc", " 1", "😀"] {
                    cases.push((Some(format!("\"{value}\"")), Expected::InvalidId));
                }
            }
        }
        cases
    }

    fn missing(self) -> Expected {
        match self.kind {
            Kind::Required | Kind::ConversationId => Expected::Broken("required"),
            _ => Expected::Accepted(None),
        }
    }

    fn blank(self) -> Expected {
        match self.kind {
            Kind::Optional => Expected::Accepted(None),
            Kind::Uuid => Expected::Broken("uuid"),
            _ => Expected::Broken("required"),
        }
    }

    fn number(self) -> Expected {
        match self.kind {
            Kind::ConversationId => Expected::InvalidId,
            _ => Expected::Broken("string"),
        }
    }
}

/// An endpoint that takes a body.
struct Endpoint<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    shape: Shape,
    fields: &'a [Field],
}

impl Endpoint<'_> {
    /// A body in which one field has this value and the required ones are good.
    fn body(&self, field: Field, value: Option<&str>) -> String {
        let mut pairs = Vec::new();
        for other in self.fields.iter().filter(|other| other.name != field.name) {
            if matches!(other.kind, Kind::Required | Kind::ConversationId) {
                pairs.push(format!("{:?}:{}", other.name, other.good));
            }
        }
        pairs.extend(value.map(|value| format!("{:?}:{value}", field.name)));
        format!("{{{}}}", pairs.join(","))
    }

    /// Sends every value of every field; `accepted` looks at what was taken.
    async fn try_everything(&self, accepted: impl AsyncFn(Field, Option<&str>, &Answer)) {
        for field in self.fields.iter().copied() {
            self.try_field(field, &accepted).await;
        }
    }

    /// Sends every value of one field.
    async fn try_field(&self, field: Field, accepted: &impl AsyncFn(Field, Option<&str>, &Answer)) {
        for (value, expected) in field.cases() {
            let body = self.body(field, value.as_deref());
            let answer = self.client.send_json(self.method.clone(), &self.path, body).await;
            match expected {
                Expected::Accepted(value) => accepted(field, value.as_deref(), &answer).await,
                Expected::Broken(rule) => {
                    answer.is(400, &self.shape.broken(&[(rule, field.name)]));
                }
                Expected::InvalidId => answer.is(400, CONVERSATION_ID_INVALID),
            }
        }
    }
}

async fn fields_of_a_new_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.person();
    let me = client.get("/api/auth/me").await.ok()["data"]["id"].clone();
    let endpoint = Endpoint {
        client: &client,
        method: Method::POST,
        path: "/api/conversation".into(),
        shape: Shape::Rooms,
        fields: &[
            field("room", Kind::Required, 255, r#""a""#),
            field("integrationType", Kind::Required, 64, r#""website""#),
            field("botId", Kind::Optional, 64, ""),
            field("userId", Kind::Optional, 64, ""),
        ],
    };
    endpoint
        .try_everything(async |field, value, answer| {
            let default = if field.name == "botId" { json!("echo") } else { me.clone() };
            assert_eq!(answer.ok()["data"][field.name], value.map_or(default, Value::from));
        })
        .await;
    app.stop().await;
}

async fn fields_of_a_changed_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.person();
    let path = format!("/api/conversation/{}", Chat::on(&app, "echo").await.id);
    let endpoint = Endpoint {
        client: &client,
        method: Method::PATCH,
        path: path.clone(),
        shape: Shape::Rooms,
        fields: &[
            field("room", Kind::Changed, 255, ""),
            field("integrationType", Kind::Changed, 64, ""),
            field("botId", Kind::Changed, 64, ""),
            field("userId", Kind::Changed, 64, ""),
            field("handler", Kind::Handler, 64, ""),
        ],
    };
    endpoint
        .try_everything(async |field, value, answer| {
            let changed = answer.ok()["data"].clone();
            assert_eq!(client.get(&path).await.ok()["data"], changed);
            if let Some(value) = value {
                assert_eq!(changed[field.name], value);
            }
        })
        .await;
    // What was refused changed nothing: the last accepted values stand.
    let last = client.get(&path).await.ok()["data"].clone();
    assert_eq!((&last["room"], &last["botId"]), (&json!("é".repeat(255)), &json!("é".repeat(64))));
    app.stop().await;
}

async fn fields_of_a_new_message(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.person();
    let conversation = Chat::on(&app, "echo").await.id;
    let good = format!("{conversation}");
    let fields = [
        field("message", Kind::Required, 65_536, r#""hii!!""#),
        field("type", Kind::Required, 64, r#""text""#),
        field("role", Kind::Required, 64, r#""bot""#),
        field("conversationId", Kind::ConversationId, 0, good.leak()),
    ];
    let endpoint = Endpoint {
        client: &client,
        method: Method::POST,
        path: "/api/message".into(),
        shape: Shape::Rooms,
        fields: &fields,
    };
    let count = || async {
        client.get(&format!("/api/conversation/{conversation}")).await.ok()["data"]["messageCount"].clone()
    };
    endpoint
        .try_everything(async |field, value, answer| {
            let created = answer.ok()["data"].clone();
            assert_eq!(created[field.name], value.unwrap());
            let id = created["id"].as_str().unwrap();
            assert_eq!(client.get(&format!("/api/message/{id}")).await.ok()["data"], created);
        })
        .await;
    assert_eq!(count().await, 1 + 3 * 2, "only what was accepted is stored");
    for id in [json!(conversation), json!(conversation.to_string())] {
        let body = json!({"message": "a", "type": "text", "role": "client", "conversationId": id});
        assert_eq!(
            client.post("/api/message", &body).await.ok()["data"]["conversationId"],
            conversation.to_string()
        );
    }
    app.stop().await;
}

async fn fields_of_a_changed_message(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.person();
    let path = format!("/api/message/{}", Chat::on(&app, "echo").await.message);
    let endpoint = Endpoint {
        client: &client,
        method: Method::PATCH,
        path: path.clone(),
        shape: Shape::Rooms,
        fields: &[
            field("message", Kind::Changed, 65_536, ""),
            field("type", Kind::Changed, 64, ""),
            field("role", Kind::Changed, 64, ""),
        ],
    };
    endpoint
        .try_everything(async |field, value, answer| {
            let changed = answer.ok()["data"].clone();
            assert_eq!(client.get(&path).await.ok()["data"], changed);
            if let Some(value) = value {
                assert_eq!(changed[field.name], value);
            }
        })
        .await;
    // A message stays where it is: another conversation's id, or what is none, is an unknown field.
    let before = client.get(&path).await.ok()["data"]["conversationId"].clone();
    for elsewhere in [json!("0"), json!({}), json!("abc")] {
        let changed = client.patch(&path, &json!({"conversationId": elsewhere})).await.ok();
        assert_eq!(changed["data"]["conversationId"], before);
    }
    app.stop().await;
}

async fn fields_of_a_question(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.anonymous();
    let endpoint = Endpoint {
        client: &client,
        method: Method::POST,
        path: "/api/questions".into(),
        shape: Shape::Chatbot,
        fields: &[
            field("message", Kind::Required, 65_536, r#""halo""#),
            field("session_id", Kind::Uuid, 100, ""),
        ],
    };
    endpoint
        .try_everything(async |field, value, answer| {
            let asked = if field.name == "message" { value.unwrap() } else { "halo" };
            assert_eq!(answer.ok()["data"][0]["text"], format!("echo: {asked}"));
        })
        .await;

    // What only a program may say, and only of a new conversation.
    let program = app.program();
    let described = [
        field("integrationType", Kind::Optional, 64, ""),
        field("userId", Kind::Optional, 64, ""),
        field("room", Kind::Optional, 255, ""),
    ];
    let required = field("message", Kind::Required, 65_536, r#""halo""#);
    let fields = [&[required], &described[..]].concat();
    let path = "/api/questions".to_owned();
    let endpoint =
        Endpoint { client: &program, method: Method::POST, path, shape: Shape::Chatbot, fields: &fields };
    let person = app.person();
    for field in described {
        endpoint
            .try_field(field, &async |field: Field, value: Option<&str>, answer: &Answer| {
                let id = answer.ok()["conversation_id"].clone();
                let opened = person.get(&format!("/api/conversation/{id}")).await.ok()["data"].clone();
                let default = match field.name {
                    "integrationType" => json!("website"),
                    "userId" => Value::Null,
                    _ => json!(format!("website-{id}")),
                };
                assert_eq!(opened[field.name], value.map_or(default, Value::from));
            })
            .await;
    }

    // A bot is known or it is not: no length of its name is.
    let ask = |bot: &str| format!(r#"{{"message":"halo","botId":{bot}}}"#);
    let refused = |rule| Shape::Chatbot.broken(&[(rule, "botId")]);
    for (bot, rule) in [
        (r#""nobody""#.to_owned(), "exists"),
        (format!("\"{}\"", "a".repeat(64)), "exists"),
        (format!("\"{}\"", "a".repeat(65)), "maxLength"),
        ("5".into(), "string"),
        ("true".into(), "string"),
        ("[]".into(), "string"),
        ("{}".into(), "string"),
        (r#""\u0000""#.into(), "string"),
        (r#""\ud800""#.into(), "string"),
    ] {
        client.post("/api/questions", ask(&bot)).await.is(400, &refused(rule));
    }
    for bot in ["null", r#""""#, r#""  ""#, r#""echo""#] {
        client.post("/api/questions", ask(bot)).await.ok();
    }

    // Any case of the session's letters, and the answer's in lower case.
    let opened = client.post("/api/questions", &json!({"message": "one"})).await.ok();
    let session = opened["session_id"].as_str().unwrap();
    let again = json!({"message": "two", "session_id": session.to_uppercase()});
    assert_eq!(client.post("/api/questions", &again).await.ok()["session_id"], session);
    let thread = client.get(&format!("/api/questions/{}", session.to_uppercase())).await.ok();
    assert_eq!(thread["data"]["session_id"], session);
    assert_eq!(thread["data"]["messages"].as_array().unwrap().len(), 4);
    app.stop().await;
}

async fn fields_of_a_login(engine: Engine) {
    let app = TestApp::start(engine).await;
    let client = app.anonymous();
    let endpoint = Endpoint {
        client: &client,
        method: Method::POST,
        path: "/api/auth/login".into(),
        shape: Shape::Chatbot,
        fields: &[
            field("email", Kind::Required, 254, r#""nobody@localhost""#),
            field("password", Kind::Required, 1024, r#""a wrong password""#),
        ],
    };
    endpoint.try_everything(async |_, _, answer| answer.is(401, UNAUTHENTICATED)).await;
    app.stop().await;
}

async fn every_failing_field_is_listed(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, chat) = (app.person(), Chat::on(&app, "echo").await);
    let wrong = json!({
        "room": 1, "integrationType": "a".repeat(65), "botId": {}, "userId": "\0", "handler": "nobody",
        "message": "", "type": [], "role": " ", "conversationId": null, "session_id": "", "email": null, "password": 1
    });
    let of_conversations =
        [("string", "room"), ("maxLength", "integrationType"), ("string", "botId"), ("string", "userId")];
    let of_a_patch = [&of_conversations[..], &[("enum", "handler")]].concat();
    let of_messages = [("required", "message"), ("string", "type"), ("required", "role")];
    let of_a_message = [&of_messages[..], &[("required", "conversationId")]].concat();
    let of_questions = [("required", "message"), ("uuid", "session_id"), ("string", "botId")];
    for (method, path, shape, broken) in [
        (Method::POST, "/api/conversation".to_owned(), Shape::Rooms, &of_conversations[..]),
        (Method::PATCH, format!("/api/conversation/{}", chat.id), Shape::Rooms, &of_a_patch),
        (Method::POST, "/api/message".into(), Shape::Rooms, &of_a_message),
        (Method::PATCH, format!("/api/message/{}", chat.message), Shape::Rooms, &of_messages),
        (Method::POST, "/api/questions".into(), Shape::Chatbot, &of_questions),
        (
            Method::POST,
            "/api/auth/login".into(),
            Shape::Chatbot,
            &[("required", "email"), ("string", "password")],
        ),
    ] {
        person.send_json(method, &path, wrong.to_string()).await.is(400, &shape.broken(broken));
    }
    app.stop().await;
}
