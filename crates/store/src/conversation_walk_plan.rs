//! How a list of conversations is walked: which index its entries come from, and the statements that read them. The rarest
//! thing that the filter asks for decides.
//!
//! What is rare, such as the conversations of a user, or those that wait where a list is sorted by id, is read as a whole and
//! sorted; where it turns out to be more than that, the list walks by its order and looks at each entry.

use std::cmp::Reverse;

use wicara_model::{
    ActivityFilter, AssigneeFilter, Bots, ConversationFilter, Cursor, Handler, Listing, Order, Place, Sort,
    Timestamp, Walked,
};

use crate::effects::activity::MILLIS_A_MINUTE;
use crate::engine::{Sql, Value};
use crate::lists::direction;
use crate::seen_marks::has_unread;
use crate::walks::{Dialect, IndexWalk, LOOKED_AT, Params, all_of, id_list, in_both, start};

const COLUMNS: &str = "conversation_id, minute, state, bot_id, integration_type, handler, assignee_id";

/// Conversations of a user, a room or an integration type that are read as a whole.
const FEW: i64 = 2000;

/// What a list is asked for.
#[derive(Debug, Clone)]
pub struct ConversationWalk {
    pub filter: ConversationFilter,
    pub activity: ActivityFilter,
    /// Who asks ([`Caller::id`](wicara_model::Caller::id)), for what is theirs.
    pub reader: Option<String>,
    pub sort: Sort,
    pub listing: Listing,
    /// Wins over the page of the listing.
    pub after: Option<Place>,
}

/// An index of `conversation_activity`, in the order of activity. Each is there for all bots and for one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Index {
    All,
    WithPeople,
    /// Those with people that nobody has claimed.
    Queue,
    Unanswered,
    Failed,
    Assignee(String),
}

/// What may be rare enough to be read as a whole, before the list walks in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rare {
    entries: Entries,
    /// More are too many.
    pub most: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entries {
    /// A column of `conversations` that has an index with the id.
    Column(&'static str, String),
    /// Those that people have, and those that the reader has opened.
    Readers(String),
    Activity,
}

/// A walk with what its caller's bots and its filter come to.
pub(super) struct Plan<'a> {
    pub walk: &'a ConversationWalk,
    /// `None`: all.
    bots: Option<Vec<String>>,
    index: Index,
    /// The first and the last minute.
    minutes: (i64, i64),
}

impl Index {
    fn condition(&self) -> Option<String> {
        let text = match self {
            Self::All => return None,
            Self::WithPeople => "handler = 'human'",
            Self::Queue => "handler = 'human' AND assignee_id IS NULL",
            Self::Unanswered => "state >= 1",
            Self::Failed => "state = 2",
            Self::Assignee(_) => "assignee_id IS NOT NULL",
        };
        Some(text.to_owned())
    }

    fn name(&self, of_bot: bool) -> &'static str {
        match (self, of_bot) {
            (Self::All, false) => "activity_by_minute",
            (Self::All, true) => "activity_by_bot",
            (Self::WithPeople, false) => "activity_with_people",
            (Self::WithPeople, true) => "activity_with_people_by_bot",
            (Self::Queue, false) => "activity_queue",
            (Self::Queue, true) => "activity_queue_by_bot",
            (Self::Unanswered, false) => "activity_unanswered",
            (Self::Unanswered, true) => "activity_unanswered_by_bot",
            (Self::Failed, false) => "activity_failed",
            (Self::Failed, true) => "activity_failed_by_bot",
            (Self::Assignee(_), _) => "activity_by_assignee",
        }
    }
}

impl<'a> Plan<'a> {
    /// `None` where nothing can match.
    pub fn new(walk: &'a ConversationWalk, scope: &Bots) -> Option<Self> {
        let ConversationWalk { filter, activity, reader, .. } = walk;
        let bots = match &filter.bot_id {
            Some(bot_id) => Some(if scope.contain(bot_id) { vec![bot_id.clone()] } else { Vec::new() }),
            None => scope.list().map(<[_]>::to_vec),
        };
        let nobodys = activity.assignee == Some(AssigneeFilter::Me) || activity.unread == Some(true);
        if bots.as_ref().is_some_and(Vec::is_empty) || (nobodys && reader.is_none()) {
            return None;
        }
        let index = if activity.failed == Some(true) {
            Index::Failed
        } else if let Some(assignee) = walk.assignee() {
            Index::Assignee(assignee.to_owned())
        } else if activity.unanswered == Some(true) {
            Index::Unanswered
        } else if activity.handler == Some(Handler::Human) {
            match activity.assignee {
                Some(AssigneeFilter::Nobody) => Index::Queue,
                _ => Index::WithPeople,
            }
        } else {
            Index::All
        };
        let minute = |time: Option<Timestamp>| time.map(|time| time.0.div_euclid(MILLIS_A_MINUTE));
        let minutes =
            (minute(activity.since).unwrap_or(i64::MIN), minute(activity.until).unwrap_or(i64::MAX));
        Some(Self { walk, bots, index, minutes })
    }

    /// What to try to read as a whole, one after the other.
    pub fn rare(&self) -> Vec<Rare> {
        let ConversationWalk { filter, activity, reader, sort, .. } = self.walk;
        let column = |name, value: &Option<String>| {
            value.clone().map(|value| Rare { entries: Entries::Column(name, value), most: FEW })
        };
        let of_visitor = column("user_id", &filter.user_id).or(column("room", &filter.room));
        let of_reader = reader.clone().filter(|_| activity.unread == Some(true) && self.index == Index::All);
        let of_reader =
            of_reader.map(|reader| Rare { entries: Entries::Readers(reader), most: Walked::MAX_TOTAL });
        let of_type = column("integration_type", &filter.integration_type);
        let of_type = of_type.filter(|_| self.index == Index::All);
        let by_activity = *sort == Sort::Created && (self.index != Index::All || self.has_times());
        let by_activity = by_activity.then_some(Rare { entries: Entries::Activity, most: Walked::MAX_TOTAL });
        of_visitor.or(of_reader).or(of_type).into_iter().chain(by_activity).collect()
    }

    fn has_times(&self) -> bool {
        self.minutes != (i64::MIN, i64::MAX)
    }

    /// The next entries of the index after a place, in the order of activity.
    fn by_activity(
        &self,
        dialect: Dialect,
        params: &mut Params,
        (order, after): (Order, Place),
        limit: i64,
    ) -> String {
        let (first, last) = self.minutes;
        let (end, after) = match order {
            Order::Ascending => (params.add(last), after.max_of(Place { key: first, id: i64::MIN })),
            Order::Descending => (params.add(first), after.min_of(Place { key: last, id: i64::MAX })),
        };
        let after = format!("{}, {}", params.add(after.key), params.add(after.id));
        let one = |lead: Option<(&str, String)>| {
            let walk = IndexWalk {
                columns: COLUMNS,
                table: "conversation_activity",
                index: Some(self.index.name(lead.is_some())),
                condition: self.index.condition(),
                lead,
                key: &["minute", "conversation_id"],
                order,
                after: after.clone(),
                end: std::slice::from_ref(&end),
                limit,
            };
            walk.text(dialect)
        };
        match (&self.index, &self.bots) {
            (Index::Assignee(id), _) => one(Some(("assignee_id", params.add(id.as_str())))),
            (_, None) => one(None),
            (_, Some(bots)) => {
                let each = bots.iter().map(|bot| one(Some(("bot_id", params.add(bot.as_str())))));
                union(each.collect(), &["minute", "conversation_id"], order, limit)
            }
        }
    }

    /// The next entries after a place by id.
    fn by_id(
        &self,
        dialect: Dialect,
        params: &mut Params,
        (order, after): (Order, Place),
        limit: i64,
    ) -> String {
        let after = params.add(after.id);
        let Some(bots) = &self.bots else {
            let walk = IndexWalk {
                columns: COLUMNS,
                table: "conversation_activity",
                index: None,
                condition: None,
                lead: None,
                key: &["conversation_id"],
                order,
                after,
                end: &[],
                limit,
            };
            return walk.text(dialect);
        };
        let each = bots.iter().map(|bot| {
            let bot = params.add(bot.as_str());
            rows_of(dialect, &ids_of(dialect, ("bot_id", bot), (order, after.clone()), limit))
        });
        union(each.collect(), &["conversation_id"], order, limit)
    }

    /// In a row without an id how many there are, one more than allowed at most; in the others the minute and the id of those
    /// that meet the filter, in no order, and of none where there are too many.
    pub fn whole(&self, Rare { entries, most }: &Rare) -> (Sql, Vec<Value>) {
        let limit = most + 1;
        let newest = (Order::Descending, start(Order::Descending));
        in_both(|dialect, params| {
            let few = match entries {
                Entries::Activity => self.by_activity(dialect, params, newest, limit),
                Entries::Column(column, value) => {
                    let (value, after) = (params.add(value.as_str()), params.add(i64::MAX));
                    ids_of(dialect, (column, value), (Order::Descending, after), limit)
                }
                Entries::Readers(reader) => {
                    let people = Self {
                        walk: self.walk,
                        bots: self.bots.clone(),
                        index: Index::WithPeople,
                        minutes: self.minutes,
                    };
                    let people = people.by_activity(dialect, params, newest, limit);
                    let reader = params.add(reader.as_str());
                    format!(
                        "SELECT conversation_id AS id FROM ({people}) AS people UNION SELECT conversation_id FROM \
                         (SELECT conversation_id FROM seen_marks WHERE reader = {reader} ORDER BY conversation_id \
                         LIMIT {limit}) AS marks LIMIT {limit}"
                    )
                }
            };
            let is_by_index = *entries == Entries::Activity;
            let rows = if is_by_index {
                "SELECT * FROM few".to_owned()
            } else {
                rows_of(dialect, "SELECT id FROM few")
            };
            let count = "(SELECT count(*) FROM few)";
            format!(
                "WITH few AS MATERIALIZED ({few}) SELECT {count} AS minute, CAST(NULL AS bigint) AS conversation_id \
                 UNION ALL SELECT minute, conversation_id FROM ({rows}) AS walked WHERE {count} <= {most} AND {}",
                all_of(&self.conditions(params, is_by_index))
            )
        })
    }

    /// What an entry has to meet beside what its source makes sure of, over the columns of `walked`.
    ///
    /// `is_by_index`: the source is the walk's index of activity, in the walk's minutes.
    fn conditions(&self, params: &mut Params, is_by_index: bool) -> Vec<String> {
        let ConversationWalk { filter, activity, reader, .. } = self.walk;
        let mut all = Vec::new();
        let is_known = |index: &Index| is_by_index && self.index == *index;
        if let Some(bots) = &self.bots
            && (!is_by_index || matches!(self.index, Index::Assignee(_)))
        {
            all.push(format!("bot_id IN ({})", params.add_all(bots)));
        }
        if let Some(handler) =
            activity.handler.filter(|_| !is_known(&Index::WithPeople) && !is_known(&Index::Queue))
        {
            all.push(format!("handler = '{}'", handler.as_str()));
        }
        match (&activity.assignee, self.walk.assignee()) {
            (Some(AssigneeFilter::Nobody), _) if !is_known(&Index::Queue) => {
                all.push("assignee_id IS NULL".into());
            }
            (_, Some(id)) if !is_known(&Index::Assignee(id.into())) => {
                all.push(format!("assignee_id = {}", params.add(id)));
            }
            _ => {}
        }
        match activity.failed {
            Some(true) if !is_known(&Index::Failed) => all.push("state = 2".into()),
            Some(false) => all.push("state <> 2".into()),
            _ => {}
        }
        match activity.unanswered {
            Some(true) if !is_known(&Index::Unanswered) => all.push("state >= 1".into()),
            Some(false) => all.push("state = 0".into()),
            _ => {}
        }
        if let Some(value) = &filter.integration_type {
            all.push(format!("integration_type = {}", params.add(value.as_str())));
        }
        for (column, value) in [("user_id", &filter.user_id), ("room", &filter.room)] {
            if let Some(value) = value {
                let value = params.add(value.as_str());
                all.push(format!(
                    "(SELECT {column} FROM conversations WHERE conversations.id = conversation_id) = {value}"
                ));
            }
        }
        all.extend(self.times(params, is_by_index));
        if let Some(unread) = activity.unread {
            let has_unread = match reader {
                Some(reader) => has_unread(&params.add(reader.as_str())),
                None => "1 = 0".into(),
            };
            all.push(if unread { has_unread } else { format!("NOT ({has_unread})") });
        }
        all
    }

    /// Those of some conversations, ids with commas between them, that meet the whole filter; `None` where all do.
    pub fn fitting(&self, ids: String) -> Option<(Sql, Vec<Value>)> {
        self.has_conditions().then(|| {
            in_both(|dialect, params| {
            let ids = id_list(dialect, &params.add(ids.as_str()));
            let fits = all_of(&self.conditions(params, false));
            format!(
                "SELECT conversation_id FROM (SELECT {COLUMNS} FROM conversation_activity WHERE conversation_id {ids}) \
                 AS walked WHERE {fits}"
            )
        })
        })
    }

    /// Whether `conversation_activity` is looked at to tell what meets the filter.
    pub fn has_conditions(&self) -> bool {
        !self.conditions(&mut Params::default(), false).is_empty()
    }

    fn times(&self, params: &mut Params, is_by_index: bool) -> Vec<String> {
        let ActivityFilter { since, until, .. } = self.walk.activity;
        let mut all = Vec::new();
        let (first, last) = self.minutes;
        if !is_by_index && since.is_some() {
            all.push(format!("minute >= {}", params.add(first)));
        }
        if !is_by_index && until.is_some() {
            all.push(format!("minute <= {}", params.add(last)));
        }
        // In the minutes at the ends each conversation is looked at.
        let active =
            "(SELECT updated_at FROM conversation_states WHERE conversation_states.id = conversation_id)";
        if let Some(since) = since.filter(|since| since.0.rem_euclid(MILLIS_A_MINUTE) != 0) {
            let (first, since) = (params.add(first), params.add(since));
            all.push(format!("(minute > {first} OR {active} >= {since})"));
        }
        if let Some(until) = until.filter(|until| until.0.rem_euclid(MILLIS_A_MINUTE) != MILLIS_A_MINUTE - 1)
        {
            let (last, until) = (params.add(last), params.add(until));
            all.push(format!("(minute < {last} OR {active} <= {until})"));
        }
        all
    }

    /// What follows the list's place of what was read as a whole, in the order of the list.
    pub fn in_order(&self, mut whole: Vec<Place>) -> Vec<Place> {
        let ConversationWalk { sort, after, listing: Listing { order, .. }, .. } = *self.walk;
        if sort == Sort::Created {
            whole.iter_mut().for_each(|place| place.key = 0);
        }
        let key = |place: &Place| (place.key, place.id);
        let after = key(&after.unwrap_or(start(order)));
        whole.retain(|place| {
            let follows = match order {
                Order::Ascending => key(place) > after,
                Order::Descending => key(place) < after,
            };
            follows && self.walk.is_between(place.id)
        });
        match order {
            Order::Ascending => whole.sort_unstable_by_key(key),
            Order::Descending => whole.sort_unstable_by_key(|place| Reverse(key(place))),
        }
        whole
    }

    /// Counts the entries up to [`LOOKED_AT`], and those that match. A list that is walked by id is counted in its index of
    /// activity all the same: there are fewer to look at.
    pub fn count(&self) -> (Sql, Vec<Value>) {
        in_both(|dialect, params| {
            let newest = (Order::Descending, start(Order::Descending));
            let entries = self.by_activity(dialect, params, newest, LOOKED_AT);
            let fits = all_of(&self.conditions(params, true));
            format!(
                "SELECT count(*), coalesce(CAST(sum(CASE WHEN {fits} THEN 1 ELSE 0 END) AS bigint), 0) \
                 FROM ({entries}) AS walked"
            )
        })
    }

    /// The next entries after a place, each with whether it matches all but [`ConversationWalk::is_between`].
    pub fn page(&self, after: Place, limit: i64) -> (Sql, Vec<Value>) {
        let ConversationWalk { sort, listing: Listing { order, .. }, .. } = *self.walk;
        in_both(|dialect, params| {
            let (entries, is_by_index) = match sort {
                Sort::Activity => (self.by_activity(dialect, params, (order, after), limit), true),
                Sort::Created => (self.by_id(dialect, params, (order, after), limit), false),
            };
            let fits = all_of(&self.conditions(params, is_by_index));
            format!(
                "SELECT minute, conversation_id, CAST(CASE WHEN {fits} THEN 1 ELSE 0 END AS bigint) FROM ({entries}) AS walked"
            )
        })
    }

    /// Whether every entry of the walk is one of the list.
    pub fn is_exactly(&self) -> bool {
        let is_narrowed = matches!(
            self.walk.listing.cursor,
            Cursor::Between { after: Some(_), .. } | Cursor::Between { before: Some(_), .. }
        );
        !is_narrowed && self.conditions(&mut Params::default(), self.walk.sort == Sort::Activity).is_empty()
    }
}

/// The rows of `conversation_activity` for a SELECT of ids, one by one.
fn rows_of(dialect: Dialect, ids: &str) -> String {
    match dialect {
        Dialect::Postgres => format!(
            "SELECT activity.* FROM ({ids}) AS few CROSS JOIN LATERAL (SELECT {COLUMNS} FROM conversation_activity \
                 WHERE conversation_activity.conversation_id = few.id LIMIT 1) AS activity"
        ),
        Dialect::Sqlite => format!(
            "SELECT {COLUMNS} FROM ({ids}) AS few CROSS JOIN conversation_activity ON conversation_id = few.id"
        ),
    }
}

/// A SELECT of the ids of the conversations that have a value in a column, which has an index with the id.
fn ids_of(dialect: Dialect, lead: (&str, String), (order, after): (Order, String), limit: i64) -> String {
    let condition = (lead.0 == "user_id").then(|| "user_id IS NOT NULL".to_owned());
    let walk = IndexWalk {
        columns: "id",
        table: "conversations",
        index: None,
        condition,
        lead: Some(lead),
        key: &["id"],
        order,
        after,
        end: &[],
        limit,
    };
    walk.text(dialect)
}

/// The first entries of several SELECTs that are each in this order.
fn union(each: Vec<String>, key: &[&str], order: Order, limit: i64) -> String {
    match <[String; 1]>::try_from(each) {
        Ok([one]) => one,
        Err(each) => {
            let each: Vec<_> = (0..)
                .zip(each)
                .map(|(number, one)| format!("SELECT * FROM ({one}) AS of_bot_{number}"))
                .collect();
            let by: Vec<_> = key.iter().map(|column| format!("{column} {}", direction(order))).collect();
            format!(
                "SELECT * FROM ({}) AS of_bots ORDER BY {} LIMIT {limit}",
                each.join(" UNION ALL "),
                by.join(", ")
            )
        }
    }
}

impl ConversationWalk {
    /// Whether `before` and `after` of the documented lists leave a conversation in.
    pub(super) fn is_between(&self, id: i64) -> bool {
        match self.listing.cursor {
            Cursor::Between { after, before } => {
                after.is_none_or(|after| id > after) && before.is_none_or(|before| id < before)
            }
            _ => true,
        }
    }

    /// Whose conversations are looked for.
    fn assignee(&self) -> Option<&str> {
        match self.activity.assignee.as_ref()? {
            AssigneeFilter::Me => self.reader.as_deref(),
            AssigneeFilter::Of(id) => Some(id),
            AssigneeFilter::Nobody => None,
        }
    }
}
