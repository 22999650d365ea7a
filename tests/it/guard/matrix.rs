//! Every operation for every caller and everything that it may name.

use reqwest::Method;
use wicara_model::{Api, Bots, Role};

use super::callers::{self, Caller, Is};
use super::{Everything, Expected, Names, Object, Operations, ROWS, Request, Row};
use crate::support::{Answer, Client, Engine, TestApp, manual_clock, on_both_engines};

on_both_engines!(every_operation_for_every_caller, the_open_chatbot_api_is_that_and_no_more);

/// The bot `other`, which some callers have and others have not.
const OTHER_BOT: &str = "[[bot]]\nid = \"other\"\nkind = \"http\"\nurl = \"{bot}\"\n";

async fn every_operation_for_every_caller(engine: Engine) {
    let (clock, time) = manual_clock(1_752_470_016_351);
    let app = TestApp::at(engine, OTHER_BOT, clock).await;
    let mut callers = callers::strangers(&app, &time).await;
    callers.extend(callers::known(&app).await);
    Matrix::new(app, false).await.run(&callers).await;
}

async fn the_open_chatbot_api_is_that_and_no_more(engine: Engine) {
    let (clock, time) = manual_clock(1_752_470_016_351);
    let open = format!("auth.anonymous = \"chatbot-api\"\n{OTHER_BOT}");
    let app = TestApp::at(engine, &open, clock).await;
    // Whoever has credentials is who they say: wrong ones stay wrong, and nobody gains a right.
    let mut callers = callers::strangers(&app, &time).await;
    let known = callers::known(&app).await;
    // One way to send a key is enough here.
    callers.extend(known.into_iter().filter(|caller| !caller.name.contains(" by a")));
    Matrix::new(app, true).await.run(&callers).await;
}

struct Matrix {
    app: TestApp,
    admin: Client,
    operations: Operations,
    objects: [Object; 4],
    /// Whether callers without credentials may use the Chatbot API.
    open: bool,
}

impl Matrix {
    async fn new(app: TestApp, open: bool) -> Self {
        let operations = Operations::of(&app).await;
        let admin = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
        let objects = [
            Object::new(&app, "to echo", "echo", true).await,
            Object::new(&app, "to other", "other", true).await,
            Object::new(&app, "at the console", "echo", false).await,
            Object::missing(),
        ];
        Self { app, admin, operations, objects, open }
    }

    async fn run(self, callers: &[Caller]) {
        let before = Everything::of(&self.app, &self.admin).await;
        for caller in callers {
            for row in ROWS {
                self.what_changes_nothing(caller, row).await;
            }
            let after = Everything::of(&self.app, &self.admin).await;
            assert_eq!(after, before, "{} did something that is refused", caller.name);
        }
        for caller in callers {
            for row in ROWS {
                self.what_changes_something(caller, row).await;
            }
            let after = Everything::of(&self.app, &self.admin).await;
            before.restore(&self.app, &after).await;
        }
        // Last, since it ends the sessions of those who may.
        let logout = ROWS.iter().find(|row| row.operation == "logout").unwrap();
        for caller in callers {
            let request = self.operations.request(logout, &self.objects[0]);
            let answer = request.send(&caller.client.named(&caller.name)).await;
            assert_answered(&answer, &self.expected(caller, logout, &self.objects[0]));
            if matches!(&caller.is, Is::Known(rights) if rights.cookie) {
                caller.client.get("/api/auth/me").await.has_status(401);
            }
        }
        self.app.stop().await;
    }

    /// What a row may name: where it names nothing, once is enough.
    fn objects(&self, row: &Row) -> &[Object] {
        match row.names {
            Names::Nothing | Names::DefaultBot => &self.objects[..1],
            _ => &self.objects,
        }
    }

    fn expected(&self, caller: &Caller, row: &Row, object: &Object) -> Expected {
        row.expected(&caller.is, object, self.open)
    }

    /// What is only read, and what is refused.
    async fn what_changes_nothing(&self, caller: &Caller, row: &Row) {
        let reads = *self.operations.method(row) == Method::GET;
        let mut refused: Option<Answer> = None;
        for object in self.objects(row) {
            let case = format!("{}: {} ({})", caller.name, row.operation, object.name);
            let expected = self.expected(caller, row, object);
            if !reads && matches!(expected, Expected::Done(_)) {
                continue;
            }
            let request = self.operations.request(row, object);
            let answer = request.send(&caller.client.named(&case)).await;
            assert_answered(&answer, &expected);
            self.assert_tells_no_more(
                &answer,
                caller,
                (row.names != Names::Nothing).then_some(object),
                &case,
            );
            if reads {
                let head = Request { method: Method::HEAD, ..request }.send(&caller.client).await;
                assert_eq!((head.status, head.text.as_str()), (answer.status, ""), "{case}: HEAD");
            }
            if let Expected::Not(..) = expected {
                // Byte for byte the same for what is foreign as for what is missing.
                let first = refused.get_or_insert_with(|| answer.clone());
                assert_eq!(answer.without_its_own(), first.without_its_own(), "{case}");
            }
        }
    }

    /// Nothing of what the caller does not see, but for what was asked by its session.
    fn assert_tells_no_more(&self, answer: &Answer, caller: &Caller, asked: Option<&Object>, case: &str) {
        let detail = ROWS.iter().find(|row| row.operation == "conversation_get").unwrap();
        for object in &self.objects[..3] {
            let unseen = matches!(self.expected(caller, detail, object), Expected::Not(..));
            if unseen && asked.is_none_or(|asked| asked.name != object.name) {
                let said = format!("said {}", object.name);
                let told = [&said, &object.chat.session].iter().any(|secret| answer.text.contains(*secret));
                assert!(!told, "{case}: {}", answer.text);
            }
        }
    }

    /// What else is allowed, each time with an object that nobody changed yet.
    async fn what_changes_something(&self, caller: &Caller, row: &Row) {
        if *self.operations.method(row) == Method::GET || row.operation == "logout" {
            return;
        }
        for object in self.objects(row) {
            let expected = self.expected(caller, row, object);
            if matches!(expected, Expected::Done(_)) {
                let case = format!("{}: {} ({})", caller.name, row.operation, object.name);
                let object = object.copy(&self.app).await;
                let answer = self.operations.request(row, &object).send(&caller.client.named(&case)).await;
                assert_answered(&answer, &expected);
            }
        }
    }
}

#[track_caller]
fn assert_answered(answer: &Answer, expected: &Expected) {
    match expected {
        Expected::Not(status, body) => answer.is(*status, body),
        Expected::Done(api) => {
            answer.has_status(200);
            if answer.header("content-type") != Some("application/json; charset=utf-8") {
                return;
            }
            assert_eq!(answer.json()["status"], 200, "{}", answer.request);
            // The Chatbot API's every success says so, which no other document's does.
            let said_by =
                if answer.json()["message"] == "success" { Api::Chatbot } else { Api::Conversation };
            assert_eq!(said_by, *api, "{}: {}", answer.request, answer.text);
        }
    }
}
