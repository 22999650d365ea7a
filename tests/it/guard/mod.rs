//! Who may do what. The OpenAPI document that the server serves names the operations; [`ROWS`] says of each who may
//! call it and what they are answered.

mod callers;
mod cross_site;
mod hosts;
mod matrix;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;
use wicara_model::{Api, ConversationId, NewConversation, NewMessage, Role, Timestamp, role};
use wicara_store::{Append, Ask, Outcome, Target};

use self::Document::{Chatbot, Either, Live, Plain, Rooms};
use self::Names::{Answer as AnAnswer, Bot, Conversation, DefaultBot, Filter, Message, Nothing, Session};
use self::Who::{Everybody, Monitors, People, Public, Readers, Unasked, Writers};
use self::callers::{Is, Rights};
use crate::http::{
    CONVERSATION_ID_INVALID, Chat, FORBIDDEN, MESSAGE_ID_INVALID, NOT_FOUND, SESSION_NOT_FOUND, Shape,
    UNAUTHENTICATED, UNKNOWN,
};
use crate::support::{Answer, Client, TestApp};

/// Every operation of the OpenAPI document by its `operationId`, perhaps with a query; one that has several rows is
/// tried by each. A body is one that the operation takes; `{conversation}`, `{message}` and `{session}` stand for
/// what it names, `{start}` for a position in the feed before all that there is.
const ROWS: &[Row] = &[
    row("healthz", Everybody, Nothing, Plain, ""),
    row("readyz", Everybody, Nothing, Plain, ""),
    row("metrics", Monitors, Nothing, Plain, ""),
    row("login", Unasked, Nothing, Plain, "{}"),
    row("logout", Public, Nothing, Plain, ""),
    row("me", Readers, Nothing, Plain, ""),
    row("password_change", People, Nothing, Plain, "{}"),
    row("bot_list", Readers, Nothing, Plain, ""),
    row("bot_try", Writers, Bot, Plain, r#"{"message":"halo"}"#),
    row("widget_get", Public, DefaultBot, Plain, ""),
    row("question_ask", Public, DefaultBot, Chatbot, r#"{"message":"halo"}"#),
    row("question_ask", Public, Session, Chatbot, r#"{"message":"halo","session_id":"{session}"}"#),
    row("question_list", Public, Session, Chatbot, ""),
    row("question_feed_read?after={start}&limit=500", Public, Session, Chatbot, ""),
    row("feed_read?after={start}&limit=500", Readers, Nothing, Plain, ""),
    row("question_handover", Public, Session, Chatbot, ""),
    row("question_answer_stop", Public, Session, Chatbot, ""),
    row("question_seen", Public, Session, Chatbot, r#"{"upTo":"{message}"}"#),
    row("question_typing", Public, Session, Chatbot, ""),
    row("question_feedback", Public, AnAnswer, Chatbot, r#"{"value":1}"#),
    row("conversation_restore", Writers, Conversation, Live, ""),
    row("message_restore", Writers, Message, Live, ""),
    row("message_ask", Writers, Message, Live, ""),
    row("conversation_delete?undo=30", Writers, Conversation, Either, ""),
    row("message_delete?undo=30", Writers, Message, Rooms, ""),
    row("conversation_claim", Writers, Conversation, Live, "{}"),
    row("conversation_release", Writers, Conversation, Live, r#"{"to":"bot"}"#),
    row("conversation_answer_stop", Writers, Conversation, Live, ""),
    row("conversation_seen", Readers, Conversation, Live, r#"{"upTo":"{message}"}"#),
    row("conversation_typing", Writers, Conversation, Live, ""),
    row("conversation_list", Readers, Nothing, Either, ""),
    row("conversation_counts", Readers, Nothing, Live, ""),
    row("conversation_list?sort=activity", Readers, Nothing, Either, ""),
    row("message_list?role=client", Readers, Nothing, Rooms, ""),
    row("conversation_get", Readers, Conversation, Either, ""),
    row("conversation_delete", Writers, Conversation, Either, ""),
    row("conversation_create", Writers, DefaultBot, Rooms, r#"{"room":"new","integrationType":"website"}"#),
    row("conversation_update", Writers, Conversation, Rooms, r#"{"room":"changed"}"#),
    row("conversation_message_delete", Writers, Message, Chatbot, ""),
    row("message_list", Readers, Nothing, Rooms, ""),
    row("message_list?conversationId={conversation}", Readers, Filter, Rooms, ""),
    row("message_get", Readers, Message, Rooms, ""),
    row("message_delete", Writers, Message, Rooms, ""),
    row(
        "message_create",
        Writers,
        Conversation,
        Rooms,
        r#"{"message":"new","type":"text","role":"bot","conversationId":"{conversation}"}"#,
    ),
    row("message_update", Writers, Message, Rooms, r#"{"message":"changed"}"#),
];

/// A list of the Message API in which nothing is found.
const EMPTY_LIST: &str =
    r#"{"status":200,"data":[],"pagination":{"page":1,"pageSize":10,"totalPages":0,"totalItems":0}}"#;

struct Row {
    operation: &'static str,
    who: Who,
    names: Names,
    document: Document,
    body: &'static str,
}

const fn row(operation: &'static str, who: Who, names: Names, document: Document, body: &'static str) -> Row {
    Row { operation, who, names, document, body }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Whoever calls: what they bring to say who they are is not looked at.
    Everybody,
    /// The same, told what their body lacks: passwords are slow on purpose and tried elsewhere.
    Unasked,
    /// Everybody but a wrong key. Cookies give no rights.
    Public,
    /// Those with a cookie, told what their body lacks.
    People,
    /// From role viewer up.
    Readers,
    /// From role agent up.
    Writers,
    /// Keys of admins.
    Monitors,
}

/// What a request names that may be there and may be visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Nothing,
    /// Opens a conversation on the default bot, or shows it.
    DefaultBot,
    /// The object's bot.
    Bot,
    Conversation,
    /// A conversation that a list is searched by.
    Filter,
    Message,
    Session,
    /// A message of the bot's, by its session.
    Answer,
}

/// Whose words the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    /// No document's: what stands beyond them.
    Plain,
    /// The Conversation API's or the Message API's.
    Rooms,
    Chatbot,
    /// What stands beyond them below a path of the Conversation API's: its errors.
    Live,
    /// The Conversation API's or the Chatbot API's: the caller decides.
    Either,
}

/// What a request has to be answered.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    /// Done, in the words of this document.
    Done(Api),
    /// Refused or not there: this status and exactly this body.
    Not(u16, String),
}

impl Row {
    fn operation_id(&self) -> &'static str {
        self.operation.split('?').next().unwrap()
    }

    /// `open`: whether callers without credentials may use the Chatbot API.
    fn expected(&self, is: &Is, object: &Object, open: bool) -> Expected {
        let of_the_chatbot_api = matches!(self.document, Chatbot | Either);
        let rights = match (self.who, is) {
            (Everybody, _) => return Expected::Done(Api::Chatbot),
            (Unasked, _) => {
                let lacks = Shape::Chatbot.broken(&[("required", "email"), ("required", "password")]);
                return Expected::Not(400, lacks);
            }
            (_, Is::WrongKey) => return Expected::Not(401, UNAUTHENTICATED.into()),
            (Public, Is::Known(rights)) if !rights.cookie => rights,
            (Public, _) => &Rights::of_nobody(Role::Viewer),
            (_, Is::Known(rights)) => rights,
            (_, Is::Nobody) if open && of_the_chatbot_api => &Rights::of_nobody(Role::Agent),
            (_, Is::Nobody) => return Expected::Not(401, UNAUTHENTICATED.into()),
        };
        let api = match self.document {
            Rooms | Live => Api::Conversation,
            Plain | Chatbot => Api::Chatbot,
            Either => rights.api,
        };
        let may = match self.who {
            Writers => rights.role >= Role::Agent,
            Monitors => rights.role == Role::Admin && !rights.cookie,
            People => rights.cookie,
            _ => true,
        };
        if !may {
            Expected::Not(403, FORBIDDEN.into())
        } else if self.who == People {
            let lacks = Shape::Chatbot.broken(&[("required", "old"), ("required", "new")]);
            Expected::Not(400, lacks)
        } else if self.shows(rights, object) {
            Expected::Done(if self.document == Live { Api::Chatbot } else { api })
        } else {
            self.unseen(api)
        }
    }

    fn shows(&self, rights: &Rights, object: &Object) -> bool {
        let of_ones_bots = object.bot.is_some_and(|bot| rights.bots.contain(bot));
        match self.names {
            Nothing => true,
            DefaultBot => rights.bots.contain("echo"),
            Bot | Conversation | Filter | Message => of_ones_bots,
            Session | AnAnswer => of_ones_bots && (object.by_visitor || rights.role >= Role::Agent),
        }
    }

    /// What is answered about what is missing, and about what is foreign.
    fn unseen(&self, api: Api) -> Expected {
        let (status, body) = match (self.names, api) {
            (Nothing, _) => unreachable!("nothing is always there"),
            (DefaultBot, _) => (403, FORBIDDEN),
            (Bot, _) => (404, NOT_FOUND),
            (Filter, _) => (200, EMPTY_LIST),
            (Session | AnAnswer, _) => (404, SESSION_NOT_FOUND),
            (Conversation | Message, Api::Chatbot) => (404, NOT_FOUND),
            (Conversation, Api::Conversation) => (400, CONVERSATION_ID_INVALID),
            (Message, Api::Conversation) => (400, MESSAGE_ID_INVALID),
        };
        Expected::Not(status, body.into())
    }
}

/// What a request names: a conversation with a message.
struct Object {
    name: &'static str,
    /// `None`: there is none.
    bot: Option<&'static str>,
    by_visitor: bool,
    chat: Chat,
    /// What the bot says without being asked.
    answer: i64,
}

impl Object {
    async fn new(app: &TestApp, name: &'static str, bot: &'static str, by_visitor: bool) -> Self {
        let session_id = Uuid::new_v4();
        let conversation = NewConversation {
            session_id,
            by_visitor,
            room: None,
            integration_type: "website".into(),
            bot_id: bot.into(),
            user_id: None,
        };
        let says = NewMessage { role: role::BOT.into(), ..NewMessage::question(format!("said {name} too")) };
        let messages = vec![NewMessage::question(format!("said {name}")), says];
        let (at, target) = (Timestamp(1_000), Target::New(conversation));
        let append = Append { at, target, messages, ask: Ask::No, claim: None };
        let Ok(Outcome::Stored(appended)) = app.store().append(append).await else {
            panic!("{name}: not stored")
        };
        let chat = Chat {
            id: appended.conversation_id.0,
            message: appended.messages[0].id.0,
            session: session_id.to_string(),
        };
        Self { name, bot: Some(bot), by_visitor, chat, answer: appended.messages[1].id.0 }
    }

    /// Another one like it, for a request that may change it.
    async fn copy(&self, app: &TestApp) -> Self {
        Self::new(app, self.name, self.bot.unwrap(), self.by_visitor).await
    }

    fn missing() -> Self {
        let session = "00000000-0000-4000-8000-000000000000".into();
        let chat = Chat { id: UNKNOWN, message: UNKNOWN, session };
        Self { name: "missing", bot: None, by_visitor: false, chat, answer: UNKNOWN }
    }
}

/// A request of a row, as it is sent.
struct Request {
    method: Method,
    path: String,
    body: Option<String>,
}

impl Request {
    /// Without the header the feed would be a stream, which does not end.
    async fn send(&self, client: &Client) -> Answer {
        let client = client.with("accept", "application/json");
        match &self.body {
            Some(body) => client.send_json(self.method.clone(), &self.path, body.clone()).await,
            None => client.send(self.method.clone(), &self.path, None).await,
        }
    }
}

/// The operations that the server's own document names, by their `operationId`.
struct Operations {
    by_id: BTreeMap<String, (Method, String)>,
    /// A position in the feed.
    start: String,
}

impl Operations {
    /// Fails on an operation without a row, and on a row without an operation.
    async fn of(app: &TestApp) -> Self {
        let document = app.anonymous().get("/api/openapi.json").await.ok();
        let mut operations = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(
                    operations.insert(id.clone(), (method, path.clone())).is_none(),
                    "{id} is there twice"
                );
            }
        }
        let described: BTreeSet<&str> = operations.keys().map(String::as_str).collect();
        let ruled: BTreeSet<&str> = ROWS.iter().map(Row::operation_id).collect();
        assert_eq!(described, ruled, "each operation has a row in ROWS, and each row an operation");
        let reader = app.person().with("accept", "application/json");
        let start = reader.get("/api/events").await.ok()["cursor"].as_str().unwrap().to_owned();
        Self { by_id: operations, start }
    }

    fn method(&self, row: &Row) -> &Method {
        &self.by_id[row.operation_id()].0
    }

    fn request(&self, row: &Row, object: &Object) -> Request {
        let (method, template) = &self.by_id[row.operation_id()];
        let Chat { id, message, session } = &object.chat;
        let filled = |text: &str| {
            text.replace("{conversation}", &id.to_string())
                .replace("{message}", &message.to_string())
                .replace("{session}", session)
                .replace("{start}", &self.start)
        };
        let id = match row.names {
            Message => message.to_string(),
            AnAnswer => object.answer.to_string(),
            Bot => object.bot.unwrap_or("missing").to_owned(),
            _ => id.to_string(),
        };
        let path = template.replace("{id}", &id).replace("{session_id}", session);
        assert!(!path.contains('{'), "{path}: a parameter that no row fills");
        let query = &row.operation[row.operation_id().len()..];
        let body = (!row.body.is_empty()).then(|| filled(row.body));
        Request { method: method.clone(), path: path + &filled(query), body }
    }
}

/// All that is stored, as the administrator sees it, and how often the bot was asked.
#[derive(Debug, PartialEq)]
struct Everything {
    conversations: Value,
    messages: Value,
    asked: usize,
}

impl Everything {
    async fn of(app: &TestApp, admin: &Client) -> Self {
        let conversations = admin.get("/api/conversation?limit=100").await.ok();
        let messages = admin.get("/api/message?limit=100").await.ok();
        Self { conversations, messages, asked: app.bot.asked() }
    }

    /// Takes away every conversation that was not there then.
    async fn restore(&self, app: &TestApp, now: &Self) {
        let ids = |everything: &Self| -> BTreeSet<i64> {
            let conversations = everything.conversations["data"].as_array().unwrap();
            conversations.iter().map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect()
        };
        for id in &ids(now) - &ids(self) {
            app.store().conversation_delete(ConversationId(id)).await.unwrap();
        }
    }
}
