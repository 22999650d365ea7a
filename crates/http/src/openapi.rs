//! `/api/openapi.json`, generated from the handlers, and `/docs`, which shows it without a network.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, Object, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::Http;
use crate::contract::answer_object::AnswerObject;
use crate::contract::chatbot_api::MessageContent;
use crate::contract::errors::{Forbidden, Refused};
use crate::credentials::SESSION_COOKIE;
use crate::error::Failure;
use crate::openapi_examples::{Alternatives, add_error_examples};
use crate::request_memory::shared;
use crate::security;

const DOCUMENT_PATH: &str = "/api/openapi.json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Wicara",
        description = "Keeps the conversations between an organisation's bots and its public. \
            Where the Conversation API and the Chatbot API share a path, the caller decides: a person with a \
            cookie gets the Conversation API's answer, a program the one that its key was made for."
    ),
    tags(
        (name = "Chatbot API", description = "The public's questions, and what programs read of them"),
        (name = "Conversation API", description = "Rooms"),
        (name = "Message API", description = "What is said in the rooms"),
        (name = "Feed", description = "What changes, as it changes"),
        (name = "Hand-over", description = "Who has a conversation, the bot or people; stops; marks of what was read"),
        (name = "Sessions", description = "People's cookie sessions"),
        (name = "Bots", description = "The configured bots, and what their widgets show"),
        (name = "Health")
    ),
    components(schemas(Refused, Forbidden, AnswerObject, MessageContent)),
    security(("cookie" = []), ("bearer" = []), ("X-API-Key" = []), ("API_KEY" = []))
)]
struct Document;

/// The document before the handlers add their operations.
pub fn document() -> OpenApi {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    let schemes = [
        ("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE)))),
        ("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build())),
        ("X-API-Key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")))),
        ("API_KEY", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("API_KEY")))),
    ];
    for (name, scheme) in schemes {
        components.add_security_scheme(name, scheme);
    }
    document
}

/// The finished document, as JSON.
pub fn json(mut document: OpenApi) -> String {
    finish(&mut document);
    document.to_json().expect("plain data serialises")
}

/// Serves the finished document and the pages that show it.
pub fn pages(document: OpenApi) -> Router<Http> {
    let json = Bytes::from(json(document));
    let config = Config::new([DOCUMENT_PATH]).validator_url("none");
    Router::new()
        .route(DOCUMENT_PATH, get(async move || ([(CONTENT_TYPE, "application/json")], json)))
        .merge(
            Router::from(SwaggerUi::new("/docs").config(config))
                .layer(map_response(as_json))
                .layer(map_response(security::docs)),
        )
        .layer(map_response(shared))
}

/// Swagger UI's own 404 is not JSON: it gets the body that every error has.
async fn as_json(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_FOUND => Failure::NoSuchPath.into_response(),
        _ => response,
    }
}

fn finish(document: &mut OpenApi) {
    add_common_errors(document);
    let_parameters_be_empty(document);
    say_what_texts_hold(document);
    let_alternatives_overlap(document);
    let alternatives = Alternatives::new(document);
    for (path, method, operation) in operations(document) {
        if let Some(RefOr::T(body)) = &mut operation.request_body
            && MAY_LACK_BODY.contains(&operation.operation_id.as_deref().unwrap_or_default())
        {
            body.required = Some(Required::False);
        }
        add_error_examples(path, &method, operation, &alternatives);
    }
}

/// The operations whose body may be left out: [`crate::body::OptionalBody`].
const MAY_LACK_BODY: [&str; 3] = ["conversation_claim", "conversation_release", "logout"];

/// An empty query parameter counts as missing: [`crate::query`] drops it first. utoipa does not know the field
/// `allowEmptyValue`, which is in all versions of OpenAPI.
fn let_parameters_be_empty(document: &mut OpenApi) {
    for (_, _, operation) in operations(document) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(parameter) = parameter
                && parameter.parameter_in == ParameterIn::Query
            {
                let extensions = parameter.extensions.get_or_insert_default();
                extensions.insert("allowEmptyValue".to_owned(), true.into());
            }
        }
    }
}

/// The texts that [`crate::input`] accepts: no NUL and, in a required field or a patch, not only white space.
fn say_what_texts_hold(document: &mut OpenApi) {
    const NO_NUL: &str = r"^[^\x00]*$";
    const NOT_BLANK: &str = r"^[^\x00]*[^\s\x00][^\x00]*$";

    let mut bodies = Vec::new();
    for (_, method, operation) in operations(document) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(text))), .. }) = parameter
                && is_free_text(text)
            {
                text.pattern = Some(NO_NUL.to_owned());
            }
        }
        if let Some(RefOr::T(body)) = &operation.request_body
            && let Some(RefOr::T(content)) = body.content.get("application/json")
            && let Some(RefOr::Ref(schema)) = &content.schema
        {
            let name = schema.ref_location.rsplit('/').next().unwrap_or_default().to_owned();
            bodies.push((name, method == HttpMethod::Patch));
        }
    }
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for (name, is_patch) in bodies {
        let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(&name) else { continue };
        for (field, schema) in &mut body.properties {
            if let RefOr::T(Schema::Object(text)) = schema
                && is_free_text(text)
            {
                let not_blank = is_patch || body.required.contains(field);
                text.pattern = Some(if not_blank { NOT_BLANK } else { NO_NUL }.to_owned());
            }
        }
    }
}

/// A text without a format or a pattern.
fn is_free_text(schema: &Object) -> bool {
    let text = match &schema.schema_type {
        SchemaType::Type(schema_type) => *schema_type == Type::String,
        SchemaType::Array(types) => types.contains(&Type::String),
        SchemaType::AnyValue => false,
    };
    let free = !matches!(&schema.format, Some(SchemaFormat::Custom(_)));
    text && free && schema.pattern.is_none()
}

/// `oneOf` forbids a response that matches two alternatives, such as one whose fields are a subset of the other's.
fn let_alternatives_overlap(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::OneOf(alternatives)) = schema {
            let alternatives = std::mem::take(alternatives);
            let mut any = AnyOfBuilder::new().description(alternatives.description);
            for alternative in alternatives.items {
                any = any.item(alternative);
            }
            *schema = RefOr::T(Schema::AnyOf(any.build()));
        }
    }
}

/// Adds the errors of every operation under `/api`, so that handlers list only their own.
fn add_common_errors(document: &mut OpenApi) {
    for (path, method, operation) in operations(document) {
        if !path.starts_with("/api/") {
            continue;
        }
        add_error(operation, "401", "No credentials, or wrong ones", false);
        if method != HttpMethod::Get {
            add_error_as(
                operation,
                "Forbidden",
                "403",
                "Not allowed to this caller, or from this page",
                false,
            );
        }
        if operation.request_body.is_some() {
            add_error(operation, "408", "The body did not arrive in time", false);
            add_error(operation, "413", "The body is too large", false);
            add_error(operation, "415", "The body is not JSON", false);
        }
        add_error(operation, "500", "Something went wrong in the server", false);
        add_error(operation, "503", "The server cannot answer just now; nothing was stored", true);
    }
}

/// The operations with their paths and methods.
fn operations(document: &mut OpenApi) -> impl Iterator<Item = (&str, HttpMethod, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Put, &mut item.put),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        let operations = operations.into_iter();
        operations.filter_map(|(method, operation)| Some((path.as_str(), method, operation.as_mut()?)))
    })
}

fn add_error(operation: &mut Operation, status: &str, description: &str, later: bool) {
    add_error_as(operation, "Refused", status, description, later);
}

/// `later`: whether the client should try again, and is told when.
fn add_error_as(operation: &mut Operation, schema: &str, status: &str, description: &str, later: bool) {
    let schema = Ref::from_schema_name(schema);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(description).content("application/json", content);
    if later {
        let seconds = utoipa::openapi::HeaderBuilder::new()
            .schema(Some(utoipa::schema!(u64)))
            .description(Some("Seconds"))
            .build();
        response = response.header("Retry-After", seconds);
    }
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.build().into());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn finished() -> Value {
        serde_json::from_str(&crate::openapi_json()).unwrap()
    }

    fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
        document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
    }

    #[test]
    fn every_operation_is_there_once_by_its_own_name() {
        let document = finished();
        let mut names: Vec<_> = operations(&document)
            .map(|(path, method, operation)| {
                format!("{} {method} {path}", operation["operationId"].as_str().unwrap())
            })
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "bot_list get /api/bot",
                "bot_try post /api/bot/{id}/try",
                "conversation_answer_stop delete /api/conversation/{id}/answer",
                "conversation_claim post /api/conversation/{id}/claim",
                "conversation_counts get /api/conversation/counts",
                "conversation_create post /api/conversation",
                "conversation_delete delete /api/conversation/{id}",
                "conversation_get get /api/conversation/{id}",
                "conversation_list get /api/conversation",
                "conversation_message_delete delete /api/conversation/message/{id}",
                "conversation_release post /api/conversation/{id}/release",
                "conversation_restore post /api/conversation/{id}/restore",
                "conversation_seen post /api/conversation/{id}/seen",
                "conversation_typing post /api/conversation/{id}/typing",
                "conversation_update patch /api/conversation/{id}",
                "feed_read get /api/events",
                "healthz get /healthz",
                "login post /api/auth/login",
                "logout post /api/auth/logout",
                "me get /api/auth/me",
                "message_ask post /api/message/{id}/ask",
                "message_create post /api/message",
                "message_delete delete /api/message/{id}",
                "message_get get /api/message/{id}",
                "message_list get /api/message",
                "message_restore post /api/message/{id}/restore",
                "message_update patch /api/message/{id}",
                "metrics get /metrics",
                "password_change post /api/auth/password",
                "question_answer_stop delete /api/questions/{session_id}/answer",
                "question_ask post /api/questions",
                "question_feed_read get /api/questions/{session_id}/events",
                "question_feedback put /api/questions/{session_id}/messages/{id}/feedback",
                "question_handover post /api/questions/{session_id}/handover",
                "question_list get /api/questions/{session_id}",
                "question_seen post /api/questions/{session_id}/seen",
                "question_typing post /api/questions/{session_id}/typing",
                "readyz get /readyz",
                "widget_get get /api/widget",
            ]
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = finished();
        let mut found = HashSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_answer_and_body_has_a_schema() {
        let document = finished();
        for (path, method, operation) in operations(&document) {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let kinds = answer["content"].as_object().unwrap();
                assert!(
                    kinds.contains_key("application/json") || path == "/metrics",
                    "{method} {path} {status}"
                );
                let described = kinds.values().all(|kind| kind["schema"].is_object());
                let streams = kinds.contains_key("text/event-stream");
                assert!(described && kinds.len() == 1 + usize::from(streams), "{method} {path} {status}");
            }
            if let Some(body) = operation.get("requestBody") {
                let schema = &body["content"]["application/json"]["schema"];
                let name = operation["operationId"].as_str().unwrap();
                let is_required = body["required"] == true;
                assert!(
                    schema.is_object() && is_required != MAY_LACK_BODY.contains(&name),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn every_error_shows_its_own_status() {
        let document = finished();
        let mut shown = 0;
        for (path, method, operation) in operations(&document) {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let content = &answer["content"]["application/json"];
                let named = content["examples"].as_object().into_iter().flatten();
                let examples: Vec<_> = named
                    .map(|(_, example)| &example["value"])
                    .chain(Some(&content["example"]).filter(|example| !example.is_null()))
                    .collect();
                assert_eq!(examples.is_empty(), status.starts_with('2'), "{method} {path} {status}");
                for example in examples {
                    assert_eq!(example["status"].to_string(), *status, "{method} {path}: {example}");
                    shown += 1;
                }
            }
        }
        assert!(shown > 100, "{shown}");
        // What a page shows that makes examples of schemas names no other status.
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let status = &schema["properties"]["status"]["example"];
            let shared = ["Refused", "BotUnavailable", "QuestionRunning"].contains(&name.as_str());
            assert!(!shared || status.is_null(), "{name}: {status}");
        }
    }

    /// Swagger UI leaves the lock away where there is no security requirement but the empty one.
    #[test]
    fn what_is_public_has_no_lock() {
        let document = finished();
        let mut public: Vec<_> = operations(&document)
            .filter(|(_, _, operation)| operation["security"] == serde_json::json!([{}]))
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
            .collect();
        public.sort_unstable();
        let questions = [
            "question_answer_stop",
            "question_ask",
            "question_feed_read",
            "question_feedback",
            "question_handover",
            "question_list",
            "question_seen",
            "question_typing",
        ];
        assert_eq!(
            public,
            [&["healthz", "login", "logout"], &questions[..], &["readyz", "widget_get"]].concat()
        );
        // And every other one has a lock.
        for (path, method, operation) in operations(&document) {
            let security = operation.get("security").unwrap_or(&document["security"]);
            let ways = security.as_array().unwrap();
            let is_open = ways.iter().any(|way| way.as_object().unwrap().is_empty());
            assert_eq!(is_open, ways.len() == 1, "{method} {path}");
        }
    }

    #[test]
    fn texts_say_whether_they_may_be_blank() {
        let document = finished();
        let matches = |pattern: &Value| match pattern.as_str().unwrap() {
            r"^[^\x00]*$" => "no NUL",
            r"^[^\x00]*[^\s\x00][^\x00]*$" => "not blank",
            other => panic!("{other}"),
        };
        for (body, field, expected) in [
            ("NewConversation", "room", "not blank"),
            ("NewConversation", "botId", "no NUL"),
            ("ConversationPatch", "botId", "not blank"),
            ("NewMessage", "message", "not blank"),
            ("MessagePatch", "message", "not blank"),
            ("Question", "message", "not blank"),
            ("Question", "botId", "no NUL"),
            ("Question", "room", "no NUL"),
        ] {
            let schema = &document["components"]["schemas"][body]["properties"][field];
            assert_eq!(matches(&schema["pattern"]), expected, "{body} {field}");
        }
        let session = &document["components"]["schemas"]["Question"]["properties"]["session_id"];
        assert!(session["pattern"].is_null(), "its format says it");
        for parameter in document["paths"]["/api/conversation"]["get"]["parameters"].as_array().unwrap() {
            let pattern = &parameter["schema"]["pattern"];
            match parameter["name"].as_str().unwrap() {
                "userId" | "botId" | "integrationType" | "room" | "assignee" => {
                    assert_eq!(matches(pattern), "no NUL");
                }
                "order" => assert_eq!(pattern, "^(asc|desc)$"),
                "page" | "limit" | "before" | "after" => assert!(pattern.is_null()),
                // The others have a pattern of their own.
                name => assert!(pattern.is_string(), "{name}"),
            }
        }
    }

    #[test]
    fn every_parameter_of_a_query_may_be_empty_and_no_other() {
        let document = finished();
        let parameters = operations(&document)
            .flat_map(|(path, method, operation)| {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                parameters.map(move |parameter| (path, method, parameter))
            })
            .collect::<Vec<_>>();
        let in_queries = parameters.iter().filter(|(_, _, parameter)| parameter["in"] == "query");
        assert!(in_queries.count() > 10);
        for (path, method, parameter) in parameters {
            let may = &parameter["allowEmptyValue"];
            let expected = if parameter["in"] == "query" { Value::Bool(true) } else { Value::Null };
            assert_eq!(*may, expected, "{method} {path} {}", parameter["name"]);
        }
    }

    #[test]
    fn shared_paths_show_both_answers() {
        let document = finished();
        for (pointer, answers) in [
            ("/paths/~1api~1conversation/get", ["ConversationList", "ChatList"]),
            ("/paths/~1api~1conversation~1{id}/get", ["ConversationDetail", "ChatDetail"]),
            ("/paths/~1api~1conversation~1{id}/delete", ["ConversationDeleted", "ChatDeleted"]),
        ] {
            let schema = &document.pointer(pointer).unwrap()["responses"]["200"]["content"]["application/json"]
                ["schema"];
            let schema = document.pointer(&schema["$ref"].as_str().unwrap()[1..]).unwrap();
            let alternatives: Vec<_> =
                schema["anyOf"].as_array().unwrap().iter().map(|one| one["$ref"].as_str().unwrap()).collect();
            assert_eq!(alternatives, answers.map(|name| format!("#/components/schemas/{name}")));
        }
    }
}
