//! The documents' examples, field by field in their order, each with what we add behind it.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use wicara_model::{
    self as model, Api, AuthorKind, Bots, Caller, ConversationFilter, ConversationId, Cursor, Failure,
    FailureReason, Handler, HandoverReason, Json, KeyId, Listing, MessageId, Order, Person, Program, Role,
    Timestamp, UserId,
};

use super::answer_object::answer_object;
use super::chatbot_api::{ChatDeleted, ChatDetail, ChatListEntry, ChatMessage, ChatMessageDeleted, Meta};
use super::conversation_api::{
    Conversation, ConversationCreated, ConversationDeleted, ConversationDetail, ConversationList,
    ConversationUpdated, Pagination,
};
use super::message_api::{
    Message, MessageCreated, MessageDeleted, MessageDetail, MessageList, MessageUpdated,
};
use super::sessions::{LoggedIn, Me};
use super::visitor_thread::ThreadMessage;

const SESSION: Uuid = Uuid::from_u128(0x1309c142_3535_45b2_acdf_8bfbe59c3b9a);

/// The documents' answer object, whose number and spacing show whether its text is kept.
const PAYLOAD: &str = r#"{"text":"I'm here to assist you 😊","properties":{ "source":{"id":"OpenAIModel-b1JlZ","display_name":"OpenAI","source":"gpt-4o-mini"},"icon":"OpenAI","allow_markdown":false,"state":"complete","text_color":"","background_color":""},"category":"message","id":"803966c8-c95c-4a6a-99af-1e9ef2bcda01","flow_id":"52776abd-422d-40f0-a44a-dd074ecf6c40","suggest_links":[],"score":1.0}"#;

fn conversation() -> model::Conversation {
    model::Conversation {
        id: ConversationId(5),
        session_id: SESSION,
        by_visitor: true,
        room: "client1-123 + client2-123".into(),
        integration_type: "whatsapp".into(),
        bot_id: "bot-123".into(),
        user_id: Some("aidj983j93jd0ojdnvjk8".into()),
        handler: Handler::Bot,
        assignee: None,
        handed_over_at: None,
        handover_reason: None,
        unclaimed_since: None,
        given_back_after: MessageId(0),
        seen_by_visitor: MessageId(0),
        message_count: 3,
        note_count: 1,
        message_bytes: 0,
        created_at: Timestamp(1_752_470_016_312),
        updated_at: Timestamp(1_752_470_016_333),
    }
}

fn question() -> model::Message {
    model::Message {
        id: MessageId(15),
        conversation_id: ConversationId(5),
        seq: 1,
        role: "client".into(),
        kind: "text".into(),
        text: "halo".into(),
        payload: None,
        reply_to: None,
        failure: None,
        feedback: None,
        author: None,
        time: None,
        created_at: Timestamp(1_752_470_016_351),
        updated_at: Timestamp(1_752_470_016_352),
    }
}

fn answer() -> model::Message {
    model::Message {
        id: MessageId(16),
        seq: 2,
        role: "bot".into(),
        text: "I'm here to assist you 😊".into(),
        payload: Some(Json::parse(PAYLOAD.into()).unwrap()),
        reply_to: Some(MessageId(15)),
        ..question()
    }
}

#[track_caller]
fn shows<T: Serialize>(value: &T, expected: &str) {
    // Written here over several lines, sent in one.
    let expected: String = expected.lines().map(str::trim_start).collect();
    assert_eq!(serde_json::to_string(value).unwrap(), expected);
}

const CONVERSATION: &str = r#"{"room":"client1-123 + client2-123","integrationType":"whatsapp","botId":"bot-123","id":"5","userId":"aidj983j93jd0ojdnvjk8","handler":"bot","assignee":null,"handedOverAt":null,"handoverReason":null,"seenByVisitorUpTo":null,"messageCount":3,"lastMessage":null,"createdAt":"2025-07-14T05:13:36.312+00:00","updatedAt":"2025-07-14T05:13:36.333+00:00"}"#;

const MESSAGE: &str = r#"{"message":"halo","type":"text","role":"client","conversationId":"5","id":"15","replyTo":null,"payload":null,"failure":null,"feedback":null,"author":null,"createdAt":"2025-07-14T05:13:36.351+00:00","updatedAt":"2025-07-14T05:13:36.352+00:00"}"#;

#[test]
fn the_conversation_api() {
    let conversation = conversation();
    let data = || Conversation::new(&conversation, None, None);
    shows(&data(), CONVERSATION);
    shows(
        &ConversationCreated::new(data()),
        &format!(r#"{{"status":200,"message":"Conversation created succesfully!!","data":{CONVERSATION}}}"#),
    );
    shows(&ConversationDetail::new(data()), &format!(r#"{{"status":200,"data":{CONVERSATION}}}"#));
    shows(
        &ConversationUpdated::new(data()),
        &format!(
            r#"{{"status":200,"message":"Conversation updated successufully!!","data":{CONVERSATION}}}"#
        ),
    );
    shows(&ConversationDeleted::new(), r#"{"status":200,"message":"Conversation deleted Successfuly"}"#);
}

#[test]
fn a_conversation_shows_its_newest_message_in_short() {
    let (conversation, answer) = (conversation(), answer());
    let text = serde_json::to_string(&Conversation::new(&conversation, Some(&answer), None)).unwrap();
    assert!(
        text.contains(r#""lastMessage":{"id":"16","message":"I'm here to assist you 😊","type":"text","role":"bot","createdAt":"2025-07-14T05:13:36.351+00:00"},"#),
        "{text}"
    );
}

#[test]
fn a_conversation_shows_who_has_it_and_what_is_unread() {
    let assignee = model::Author { id: "key-5".into(), kind: AuthorKind::Program, name: "desk".into() };
    let mut conversation = conversation();
    conversation.hand_over(HandoverReason::BotFailed, Some(assignee), Timestamp(1_752_470_016_352));
    conversation.seen_by_visitor = MessageId(16);
    let text = serde_json::to_string(&Conversation::new(&conversation, None, Some(2))).unwrap();
    let expected = r#""handler":"human","assignee":{"id":"key-5","kind":"program","name":"desk"},"handedOverAt":"2025-07-14T05:13:36.352+00:00","handoverReason":"bot-failed","unreadCount":2,"seenByVisitorUpTo":"16","#;
    assert!(text.contains(expected), "{text}");
}

fn page(page: i64, limit: i64) -> Listing {
    Listing { cursor: Cursor::Page(page), limit, order: Order::Descending }
}

#[test]
fn the_conversation_apis_pages() {
    for (total_items, total_pages) in [(0, 0), (1, 1), (2, 1), (3, 2), (10, 5)] {
        let pagination = Pagination::new(total_items, &page(1, 2), None);
        shows(
            &ConversationList::new(pagination),
            &format!(
                r#"{{"status":200,"data":[],"pagination":{{"page":1,"pageSize":2,"totalPages":{total_pages},"totalItems":{total_items}}}}}"#
            ),
        );
    }
    shows(
        &MessageList::new(Pagination::new(10, &page(9, 2), None)),
        r#"{"status":200,"data":[],"pagination":{"page":9,"pageSize":2,"totalPages":5,"totalItems":10}}"#,
    );
}

#[test]
fn the_message_api() {
    let question = question();
    let data = || Message::new(&question);
    shows(&data(), MESSAGE);
    shows(
        &MessageCreated::new(data()),
        &format!(r#"{{"status":200,"message":"Message created succesfully!!","data":{MESSAGE}}}"#),
    );
    shows(&MessageDetail::new(data()), &format!(r#"{{"status":200,"data":{MESSAGE}}}"#));
    shows(
        &MessageUpdated::new(data()),
        &format!(r#"{{"status":200,"message":"Message updated successufully!!","data":{MESSAGE}}}"#),
    );
    shows(&MessageDeleted::new(), r#"{"status":200,"message":"Message deleted Successfuly"}"#);
}

#[test]
fn a_message_shows_its_payload_as_it_came_and_its_failure() {
    let text = serde_json::to_string(&Message::new(&answer())).unwrap();
    assert!(
        text.contains(&format!(
            r#""id":"16","replyTo":"15","payload":{PAYLOAD},"failure":null,"feedback":null,"#
        )),
        "{text}"
    );

    let failed = model::Message {
        failure: Some(Failure { reason: FailureReason::Timeout, at: Timestamp(1_752_470_016_352) }),
        ..question()
    };
    let text = serde_json::to_string(&Message::new(&failed)).unwrap();
    let failure = r#""failure":{"reason":"timeout","at":"2025-07-14T05:13:36.352+00:00"},"#;
    assert!(text.contains(failure), "{text}");
}

const CHAT_QUESTION: &str = r#"{"id":15,"sender_type":"question","message":"halo","createdAt":"2025-07-14T05:13:36.351+00:00","updatedAt":"2025-07-14T05:13:36.352+00:00","conversationId":5}"#;

const ABOUT: &str = r#""messageCount":2,"room":"client1-123 + client2-123","integrationType":"whatsapp","botId":"bot-123","handler":"bot","createdAt":"2025-07-14T05:13:36.312+00:00","updatedAt":"2025-07-14T05:13:36.333+00:00""#;

fn chat_answer() -> String {
    format!(
        r#"{{"id":16,"sender_type":"answer","message":{PAYLOAD},"createdAt":"2025-07-14T05:13:36.351+00:00","updatedAt":"2025-07-14T05:13:36.352+00:00","conversationId":5}}"#
    )
}

#[test]
fn the_chatbot_apis_conversations() {
    let (conversation, messages) = (conversation(), [question(), answer()]);
    let chat_answer = chat_answer();
    shows(&ChatMessage::new(&messages[0]), CHAT_QUESTION);
    shows(&ChatMessage::new(&messages[1]), &chat_answer);
    shows(
        &ChatListEntry::new(&conversation, &messages),
        &format!(
            r#"{{"id":5,"session_id":"{SESSION}","last_messages":{PAYLOAD},"messages":[{CHAT_QUESTION},{chat_answer}],{ABOUT}}}"#
        ),
    );
    shows(
        &ChatListEntry::new(&conversation, &messages[..1]),
        &format!(
            r#"{{"id":5,"session_id":"{SESSION}","last_messages":"halo","messages":[{CHAT_QUESTION}],{ABOUT}}}"#
        ),
    );
    shows(
        &ChatListEntry::new(&conversation, &[]),
        &format!(r#"{{"id":5,"session_id":"{SESSION}","last_messages":null,"messages":[],{ABOUT}}}"#),
    );
    shows(
        &ChatDetail::new(&conversation, Some(&messages[1])),
        &format!(
            r#"{{"status":200,"message":"success","data":{{"id":5,"session_id":"{SESSION}","lastMessages":{PAYLOAD},{ABOUT},"messages":[]}}}}"#
        ),
    );
    shows(
        &ChatDeleted::new(&conversation, Some(&messages[1])),
        &format!(
            r#"{{"status":200,"message":"success","data":{{"id":5,"session_id":"{SESSION}","last_messages":{PAYLOAD},{ABOUT}}}}}"#
        ),
    );
    shows(
        &ChatMessageDeleted::new(&messages[1]),
        &format!(
            r#"{{"status":200,"message":"success","data":{{"id":16,"sender_type":"answer","message":{PAYLOAD},"created_at":"2025-07-14T05:13:36.351+00:00","updated_at":"2025-07-14T05:13:36.352+00:00","conversation_id":5}}}}"#
        ),
    );
}

#[test]
fn whoever_is_not_the_client_answers() {
    for (role, sender_type) in
        [("client", "question"), ("bot", "answer"), ("agent", "answer"), ("?", "answer")]
    {
        let message = model::Message { role: role.into(), ..question() };
        let text = serde_json::to_string(&ChatMessage::new(&message)).unwrap();
        assert!(text.contains(&format!(r#""sender_type":"{sender_type}""#)), "{role}: {text}");
    }
}

#[test]
fn the_chatbot_apis_pages() {
    let none = ConversationFilter::default();
    shows(
        &Meta::new(20, &none, &page(1, 10), None),
        r#"{"total":20,"perPage":10,"currentPage":1,"lastPage":2,"nextPageUrl":"/api/conversation?page=2&limit=10","prevPageUrl":null}"#,
    );
    shows(
        &Meta::new(20, &none, &page(2, 10), None),
        r#"{"total":20,"perPage":10,"currentPage":2,"lastPage":2,"nextPageUrl":null,"prevPageUrl":"/api/conversation?page=1&limit=10"}"#,
    );
    shows(
        &Meta::new(0, &none, &page(1, 10), None),
        r#"{"total":0,"perPage":10,"currentPage":1,"lastPage":1,"nextPageUrl":null,"prevPageUrl":null}"#,
    );
    shows(
        &Meta::new(20, &none, &page(9, 10), None),
        r#"{"total":20,"perPage":10,"currentPage":9,"lastPage":2,"nextPageUrl":null,"prevPageUrl":"/api/conversation?page=2&limit=10"}"#,
    );
}

#[test]
fn the_next_page_keeps_the_filters_and_walking_has_no_pages() {
    let filter =
        ConversationFilter { bot_id: Some("guide".into()), room: Some("a & b".into()), ..Default::default() };
    let mut listing = Listing { order: Order::Ascending, ..page(1, 10) };
    let meta = serde_json::to_value(Meta::new(20, &filter, &listing, None)).unwrap();
    assert_eq!(
        meta["nextPageUrl"],
        "/api/conversation?page=2&limit=10&botId=guide&room=a%20%26%20b&order=asc"
    );
    listing.cursor = Cursor::Between { after: Some(1), before: None };
    let meta = serde_json::to_value(Meta::new(20, &filter, &listing, None)).unwrap();
    assert!(meta["nextPageUrl"].is_null() && meta["prevPageUrl"].is_null(), "{meta}");
}

#[test]
fn a_whole_answer_object_is_shown_as_the_bot_sent_it() {
    let shown = serde_json::to_string(&answer_object(&answer(), "guide")).unwrap();
    assert_eq!(shown, PAYLOAD);
}

#[test]
fn a_mere_text_becomes_an_answer_object() {
    let bare = model::Message { payload: None, text: "halo".into(), ..answer() };
    let shown = serde_json::to_string(&answer_object(&bare, "guide")).unwrap();
    let ids = serde_json::from_str::<serde_json::Value>(&shown).unwrap();
    let (id, flow_id) = (ids["id"].as_str().unwrap(), ids["flow_id"].as_str().unwrap());
    assert_eq!(
        shown,
        format!(
            r#"{{"text":"halo","properties":{{"source":{{"id":"guide","display_name":"guide","source":"guide"}},"icon":"","allow_markdown":false,"state":"complete","text_color":"","background_color":""}},"category":"message","id":"{id}","flow_id":"{flow_id}","suggest_links":[]}}"#
        )
    );
    for id in [id, flow_id] {
        assert_eq!(id.parse::<Uuid>().unwrap().get_version_num(), 5);
    }

    let again = serde_json::to_string(&answer_object(&bare, "guide")).unwrap();
    assert_eq!(again, shown, "the ids stay");
    let other = model::Message { id: MessageId(17), ..bare };
    let other = serde_json::to_value(answer_object(&other, "guide")).unwrap();
    assert_ne!(other["id"], id);
    assert_eq!(other["flow_id"], flow_id);
}

#[test]
fn an_answer_object_is_completed_and_what_is_strange_in_it_stays() {
    let sent = |payload: &str| {
        let payload = Some(Json::parse(payload.into()).unwrap());
        let message = model::Message { payload, ..answer() };
        serde_json::to_value(answer_object(&message, "guide")).unwrap()
    };
    let object =
        sent(r#"{"text":"a","properties":{"source":{"id":"x"},"icon":"i"},"suggest_links":[{"title":"t"}]}"#);
    assert_eq!(
        object["properties"]["source"],
        serde_json::json!({"id":"x","display_name":"guide","source":"guide"})
    );
    assert_eq!(
        (&object["properties"]["icon"], &object["properties"]["state"]),
        (&"i".into(), &"complete".into())
    );
    assert_eq!(object["suggest_links"], serde_json::json!([{"title":"t"}]));
    assert!(sent(r#"{"text":"a","properties":null}"#)["properties"].is_null());
    assert_eq!(sent(r#"{"text":"a","properties":{"source":"s"}}"#)["properties"]["source"], "s");
}

#[test]
fn a_visitor_sees_its_messages() {
    shows(
        &ThreadMessage::new(&question(), true),
        r#"{"id":15,"role":"client","text":"halo","payload":null,"replyTo":null,"failure":null,"feedback":null,"author":null,"createdAt":"2025-07-14T05:13:36.351+00:00"}"#,
    );
    let author = model::Author { id: "5".into(), kind: AuthorKind::Person, name: "ani".into() };
    let answer = model::Message { author: Some(author), ..answer() };
    let shown = |shows_names| {
        let text = serde_json::to_string(&ThreadMessage::new(&answer, shows_names)).unwrap();
        let text: &RawValue = serde_json::from_str(&text).unwrap();
        assert!(text.get().contains(PAYLOAD), "{text}");
        text.get().contains(r#""replyTo":15,"failure":null,"feedback":null,"author":{"name":"ani"},"#)
    };
    assert_eq!([true, false].map(shown), [true, false]);
}

#[test]
fn people_and_programs_see_who_they_are() {
    let bots = Bots::Only(vec!["guide".into()]);
    let person =
        Person { id: UserId(1), email: "a@b".into(), name: "a".into(), role: Role::Admin, bots: Bots::All };
    let expected = r#"{"status":200,"message":"success","data":{"id":"1","email":"a@b","name":"a","role":"admin","bots":null}}"#;
    shows(&LoggedIn::new(&person), expected);
    shows(&Me::new(&Caller::Person(person)).unwrap(), expected);

    let program =
        Program { id: KeyId(2), name: "dashboard".into(), role: Role::Viewer, bots, api: Api::Chatbot };
    shows(
        &Me::new(&Caller::Program(program)).unwrap(),
        r#"{"status":200,"message":"success","data":{"id":"2","name":"dashboard","role":"viewer","bots":["guide"],"api":"chatbot"}}"#,
    );
    assert!(Me::new(&Caller::Visitor).is_none());
}
