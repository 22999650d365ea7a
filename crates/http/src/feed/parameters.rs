//! The parameters of the feed.

use std::time::Duration;

use utoipa::IntoParams;
use wicara_model::ConversationId;
use wicara_service::Interest;

use crate::input::BOT_ID;
use crate::query::Query;

/// Conversations that one reader may name.
const MAX_CONVERSATIONS: usize = 20;
const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 500;
const MAX_WAIT_SECONDS: i64 = 30;

/// What `kinds` may name.
const KINDS: &[&str] = &[
    "conversation.created",
    "conversation.updated",
    "conversation.deleted",
    "conversation.seen",
    "message.created",
    "message.updated",
    "message.deleted",
    "answer.started",
    "answer.delta",
    "answer.finished",
    "typing",
    "conversation.*",
    "message.*",
    "answer.*",
];

/// From where a reader reads, and how much of a page.
pub struct FeedListing {
    /// As it was sent: what is no position is answered with `resync`.
    pub position: Option<String>,
    pub limit: usize,
    pub wait: Duration,
}

/// `GET /api/events`: the query. An empty parameter counts as left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct FeedQuery {
    /// The position after which to begin: a `cursor`, or the header `X-Wicara-Cursor` of what was read.
    #[param(pattern = r"^[\s\S]*$")]
    pub after: Option<String>,
    /// The same as `after`, by the name that some clients use.
    #[param(rename = "last_event_id", pattern = r"^[\s\S]*$")]
    pub last_event_id_too: Option<String>,
    /// The same as `after`, by the name that some clients use.
    #[param(rename = "lastEventId", pattern = r"^[\s\S]*$")]
    pub last_event_id: Option<String>,
    /// Up to 20 ids, with commas between them: only what is in these conversations, and also their live events.
    #[param(pattern = "^[0-9]{1,19}(,[0-9]{1,19}){0,19}$")]
    pub conversation_id: Option<String>,
    /// Only the conversations of this bot.
    #[param(max_length = 64)]
    pub bot_id: Option<String>,
    /// Only these kinds, with commas between them; `message.*` is all of `message`. Left out: all durable ones, and the
    /// live ones (`answer.*`, `typing`) where `conversationId` is named.
    #[param(
        pattern = r"^(conversation\.(created|updated|deleted|seen|\*)|message\.(created|updated|deleted|\*)|answer\.(started|delta|finished|\*)|typing)(,(conversation\.(created|updated|deleted|seen|\*)|message\.(created|updated|deleted|\*)|answer\.(started|delta|finished|\*)|typing))*$"
    )]
    pub kinds: Option<String>,
    /// Events of a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<i64>,
    /// Seconds to wait for the first event of a page.
    #[param(minimum = 0, maximum = 30, default = 0)]
    pub wait: Option<i64>,
}

impl FeedQuery {
    pub fn read(query: &mut Query) -> (Interest, FeedListing) {
        let mut conversations = query.ids("conversationId", MAX_CONVERSATIONS);
        conversations.sort_unstable();
        conversations.dedup();
        let interest = Interest {
            conversations: conversations.into_iter().map(ConversationId).collect(),
            bot_id: query.text(BOT_ID),
            kinds: query.words("kinds", KINDS),
        };
        (interest, FeedListing::read(query))
    }
}

/// `GET /api/questions/:session_id/events`: the query. An empty parameter counts as left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct VisitorFeedQuery {
    /// The position after which to begin: a `cursor`, or the header `X-Wicara-Cursor` of what was read.
    #[param(pattern = r"^[\s\S]*$")]
    pub after: Option<String>,
    /// The same as `after`, by the name that some clients use.
    #[param(pattern = r"^[\s\S]*$")]
    pub last_event_id: Option<String>,
    /// The same as `after`, by the name that some clients use.
    #[param(rename = "lastEventId", pattern = r"^[\s\S]*$")]
    pub last_event_id_too: Option<String>,
    /// Events of a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<i64>,
    /// Seconds to wait for the first event of a page.
    #[param(minimum = 0, maximum = 30, default = 0)]
    pub wait: Option<i64>,
}

impl VisitorFeedQuery {
    pub fn read(query: &mut Query) -> FeedListing {
        FeedListing::read(query)
    }
}

impl FeedListing {
    fn read(query: &mut Query) -> Self {
        let names = ["after", "last_event_id", "lastEventId"];
        let position = names.into_iter().find_map(|name| query.unchecked(name)).map(str::to_owned);
        let limit = query.number("limit", 1, MAX_LIMIT).unwrap_or(DEFAULT_LIMIT);
        let wait = query.number("wait", 0, MAX_WAIT_SECONDS).unwrap_or(0);
        Self {
            position,
            limit: usize::try_from(limit).unwrap_or(1),
            wait: Duration::from_secs(wait.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wicara_model::{Rule, Violation};
    use wicara_service::{Error, EventKind, KindPattern};

    use super::*;

    fn read(text: &str) -> (Interest, FeedListing, Vec<Violation>) {
        let mut query = Query::of(&format!("/api/events?{text}").parse().unwrap());
        let (interest, listing) = FeedQuery::read(&mut query);
        match query.finish() {
            Ok(()) => (interest, listing, Vec::new()),
            Err(Error::Invalid(violations)) => (interest, listing, violations),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_left_out_or_empty_has_its_default() {
        for text in ["", "after=&last_event_id=&lastEventId=&conversationId=&botId=&kinds=&limit=&wait="] {
            let (interest, listing, broken) = read(text);
            assert_eq!((interest.conversations.len(), interest.kinds.len(), interest.bot_id), (0, 0, None));
            assert_eq!((listing.position, listing.limit, listing.wait), (None, 100, Duration::ZERO));
            assert_eq!(broken, []);
        }
    }

    #[test]
    fn a_position_has_three_names_and_is_never_refused() {
        for (text, position) in [
            ("after=e.1&last_event_id=e.2&lastEventId=e.3", "e.1"),
            ("last_event_id=e.2&lastEventId=e.3", "e.2"),
            ("lastEventId=e.3", "e.3"),
            ("after=%00%20%FF", "\0 \u{fffd}"),
        ] {
            let (_, listing, broken) = read(text);
            assert_eq!((listing.position.as_deref(), broken), (Some(position), vec![]), "{text}");
        }
    }

    #[test]
    fn every_kind_may_be_named() {
        assert!(EventKind::ALL.iter().all(|kind| KINDS.contains(&kind.as_str())));
        assert!(KINDS.iter().all(|kind| kind.parse::<KindPattern>().is_ok()));
    }

    #[test]
    fn lists_have_commas() {
        let many = |count: usize| vec!["7"; count].join(",");
        let (interest, ..) = read("conversationId=5,6&kinds=message.*,typing&botId=b");
        assert_eq!(interest.conversations, [ConversationId(5), ConversationId(6)]);
        assert_eq!((interest.kinds.len(), interest.bot_id.as_deref()), (2, Some("b")));
        assert_eq!(read(&format!("conversationId={}", many(20))).2, []);
        for (text, rule) in [
            (format!("conversationId={}", many(21)), Rule::MaxLength),
            ("conversationId=5,,6".to_owned(), Rule::Number),
            ("conversationId=5,".to_owned(), Rule::Number),
            ("conversationId=5,%206".to_owned(), Rule::Number),
            ("conversationId=9223372036854775808".to_owned(), Rule::Range),
            ("conversationId=-1".to_owned(), Rule::Range),
            ("kinds=message.made".to_owned(), Rule::Enum),
            ("kinds=message.created,".to_owned(), Rule::Enum),
            ("kinds=*".to_owned(), Rule::Enum),
            ("limit=501".to_owned(), Rule::Range),
            ("limit=0".to_owned(), Rule::Range),
            ("wait=31".to_owned(), Rule::Range),
            ("wait=x".to_owned(), Rule::Number),
        ] {
            let field = text.split('=').next().unwrap();
            let found: Vec<_> = read(&text).2.iter().map(|broken| (broken.rule, broken.field)).collect();
            assert_eq!(found, [(rule, field)], "{text}");
        }
    }
}
