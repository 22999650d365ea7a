//! The parameters of a list, by the same rules as the fields of a body.
//!
//! An empty parameter counts as left out, of a repeated one the last counts, an unknown one is ignored. What is
//! not UTF-8 becomes replacement characters, which no stored name holds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wicara_model::{
    Bounds, Breach, Cursor, Listing, Order, Place, RangeEnd, Rule, Sort, Timestamp, Violation,
};
use wicara_search::{MOST_QUERY_CHARS, QueryError};
use wicara_service::Error;

use crate::input::Field;

/// What a list is searched for.
#[derive(Debug, Clone)]
pub struct Search {
    pub query: wicara_search::Query,
    /// The best of the newest 10,000 hits first, in place of the newest.
    pub is_by_relevance: bool,
}

const RELEVANCE: &str = "relevance";

/// A request's parameters, and the rules broken so far.
#[derive(Debug, Default)]
pub struct Query {
    values: HashMap<String, String>,
    violations: Vec<Violation>,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs: Vec<(String, String)> =
            axum::extract::Query::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
        let values: HashMap<_, _> = pairs.into_iter().collect();
        let values = values.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { values, violations: Vec::new() }
    }

    /// The number of the page, from 1.
    pub fn page(&mut self) -> i64 {
        self.number("page", 1, i64::MAX).unwrap_or(1)
    }

    pub fn limit(&mut self) -> i64 {
        self.number("limit", 1, Listing::MAX_LIMIT).unwrap_or(Listing::DEFAULT_LIMIT)
    }

    /// An id.
    pub fn id(&mut self, name: &'static str) -> Option<i64> {
        self.number(name, 0, i64::MAX)
    }

    /// A name to filter by, compared exactly.
    pub fn text(&mut self, field: Field) -> Option<String> {
        let text = self.values.get(field.name)?.clone();
        match field.check(&text) {
            // No stored name is only white space: the list is empty, without an error.
            Ok(()) | Err(Breach { rule: Rule::Required, .. }) => Some(text),
            Err(breach) => self.broken(field.name, breach),
        }
    }

    /// A text by which nothing is filtered: any is taken.
    pub fn unchecked(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Ids with commas between them, at most `most`.
    pub fn ids(&mut self, name: &'static str, most: usize) -> Vec<i64> {
        let Some(text) = self.values.get(name) else { return Vec::new() };
        let ids: Result<Vec<i64>, Breach> = text.split(',').map(|id| number(id, 0, i64::MAX)).collect();
        match ids {
            Ok(ids) if ids.len() <= most => ids,
            Ok(_) => self.broken(name, Bounds::MaxLength(most)).unwrap_or_default(),
            Err(breach) => self.broken(name, breach).unwrap_or_default(),
        }
    }

    /// Words with commas between them. `known`: what an error names as allowed.
    pub fn words<T: FromStr>(&mut self, name: &'static str, known: &'static [&'static str]) -> Vec<T> {
        let Some(text) = self.values.get(name) else { return Vec::new() };
        match text.split(',').map(T::from_str).collect() {
            Ok(words) => words,
            Err(_) => self.broken(name, Bounds::Choices(known)).unwrap_or_default(),
        }
    }

    pub fn order(&mut self, default: Order) -> Order {
        match self.values.get("order").map(String::as_str) {
            None => default,
            Some("asc") => Order::Ascending,
            Some("desc") => Order::Descending,
            Some(_) => self.broken("order", Bounds::Choices(&["asc", "desc"])).unwrap_or(default),
        }
    }

    /// `before` and `after` win over the page.
    pub fn cursor(&mut self, page: i64) -> Cursor {
        match (self.id("after"), self.id("before")) {
            (None, None) => Cursor::Page(page),
            (after, before) => Cursor::Between { after, before },
        }
    }

    /// One of some words. `known`: what an error names as allowed.
    pub fn word<T: FromStr>(&mut self, name: &'static str, known: &'static [&'static str]) -> Option<T> {
        match self.values.get(name)?.parse() {
            Ok(word) => Some(word),
            Err(_) => self.broken(name, Bounds::Choices(known)),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.values.get(name)?.parse() {
            Ok(flag) => Some(flag),
            Err(_) => self.broken(name, Rule::Boolean),
        }
    }

    /// What a list is sorted by; `None` where that is left out. What is searched may be sorted by relevance, which
    /// [`Query::search`] reads. `has_activity`: whether the list can be sorted by it.
    pub fn sort(&mut self, has_activity: bool) -> Option<Sort> {
        let is_search = self.values.contains_key("q");
        match self.values.get("sort")?.as_str() {
            "created" => Some(Sort::Created),
            "activity" if has_activity => Some(Sort::Activity),
            RELEVANCE if is_search => None,
            _ => {
                let choices: &[&str] = match (has_activity, is_search) {
                    (true, true) => &["activity", "created", RELEVANCE],
                    (true, false) => &["activity", "created"],
                    (false, true) => &["created", RELEVANCE],
                    (false, false) => &["created"],
                };
                self.broken("sort", Bounds::Choices(choices))
            }
        }
    }

    /// What a list is searched for.
    pub fn search(&mut self) -> Option<Search> {
        let text = self.values.get("q")?;
        if text.contains('\0') {
            return self.broken("q", Rule::String);
        }
        let is_by_relevance = self.values.get("sort").is_some_and(|sort| sort == RELEVANCE);
        match wicara_search::Query::parse(text) {
            Ok(query) => Some(Search { query, is_by_relevance }),
            Err(QueryError::TooLong) => self.broken("q", Bounds::MaxLength(MOST_QUERY_CHARS)),
            Err(QueryError::TooManyTerms | QueryError::OnlyUnwanted) => self.broken("q", Rule::Query),
        }
    }

    /// An end of a range of times: a time with its offset or a date.
    pub fn time(&mut self, name: &'static str, end: RangeEnd) -> Option<Timestamp> {
        match Timestamp::range_end(self.values.get(name)?, end) {
            Some(time) => Some(time),
            None => self.broken(name, Rule::Date),
        }
    }

    /// The `nextCursor` of the page before.
    pub fn place(&mut self) -> Option<Place> {
        match self.values.get("cursor")?.parse() {
            Ok(place) => Some(place),
            Err(_) => self.broken("cursor", Rule::Cursor),
        }
    }

    /// Those of these parameters that are there, with their values.
    pub fn given(&self, names: &[&'static str]) -> Vec<(&'static str, String)> {
        names.iter().filter_map(|&name| Some((name, self.values.get(name)?.clone()))).collect()
    }

    /// Fails with every broken rule of the parameters that were read.
    pub fn finish(self) -> Result<(), Error> {
        if self.violations.is_empty() { Ok(()) } else { Err(Error::Invalid(self.violations)) }
    }

    /// A whole number from `least` to `most`.
    pub fn number(&mut self, name: &'static str, least: i64, most: i64) -> Option<i64> {
        match number(self.values.get(name)?, least, most) {
            Ok(number) => Some(number),
            Err(breach) => self.broken(name, breach),
        }
    }

    fn broken<T>(&mut self, field: &'static str, breach: impl Into<Breach>) -> Option<T> {
        self.violations.push(Violation::new(field, breach));
        None
    }
}

fn number(text: &str, least: i64, most: i64) -> Result<i64, Breach> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Rule::Number.into());
    }
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Bounds::Range { start: least, stop: most }.into()),
    }
}

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as it may stand in a query.
#[must_use]
pub fn percent_encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{BOT_ID, ROOM, USER_ID};

    fn query(text: &str) -> Query {
        Query::of(&format!("/api/conversation?{text}").parse().unwrap())
    }

    fn broken(query: Query) -> Vec<(Rule, &'static str)> {
        match query.finish() {
            Ok(()) => Vec::new(),
            Err(Error::Invalid(violations)) => violations.iter().map(|v| (v.rule, v.field)).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_left_out_or_empty_has_its_default() {
        for text in ["", "page=&limit=&order=&before=&after=&userId=", "other=1"] {
            let mut query = query(text);
            let page = query.page();
            assert_eq!((page, query.limit(), query.order(Order::Descending)), (1, 10, Order::Descending));
            assert_eq!(query.cursor(page), Cursor::Page(1));
            assert_eq!(query.text(USER_ID), None);
            assert_eq!(broken(query), []);
        }
    }

    #[test]
    fn of_a_repeated_parameter_the_last_counts() {
        let mut query = query("page=abc&page=3&limit=2&limit=");
        assert_eq!((query.page(), query.limit()), (3, 10));
        assert_eq!(broken(query), []);
    }

    #[test]
    fn page_and_limit_are_numbers_within_their_range() {
        for (value, rule) in [
            ("0", Some(Rule::Range)),
            ("-5", Some(Rule::Range)),
            ("99999999999999999999", Some(Rule::Range)),
            ("abc", Some(Rule::Number)),
            ("1.5", Some(Rule::Number)),
            ("1e3", Some(Rule::Number)),
            ("-", Some(Rule::Number)),
            ("+1", Some(Rule::Number)),
            ("%00", Some(Rule::Number)),
            ("%FF", Some(Rule::Number)),
            ("1%", Some(Rule::Number)),
            ("7", None),
        ] {
            let mut query = query(&format!("page={value}&limit={value}"));
            query.page();
            query.limit();
            let expected: Vec<_> =
                rule.into_iter().flat_map(|rule| [(rule, "page"), (rule, "limit")]).collect();
            assert_eq!(broken(query), expected, "{value}");
        }
        let mut query = query("page=1000000&limit=1000000");
        assert_eq!(query.page(), 1_000_000);
        query.limit();
        assert_eq!(broken(query), [(Rule::Range, "limit")]);
    }

    #[test]
    fn ids_lead_through_a_list_without_pages() {
        let mut query = query("page=4&after=5");
        let page = query.page();
        assert_eq!(query.cursor(page), Cursor::Between { after: Some(5), before: None });
        assert_eq!(broken(query), []);
    }

    #[test]
    fn filters_and_order_are_checked() {
        let long = "a".repeat(65);
        let mut query = query(&format!("userId=a%00b&botId={long}&order=up&room=%E2%82%AC+1"));
        query.text(USER_ID);
        query.text(BOT_ID);
        assert_eq!(query.text(ROOM).as_deref(), Some("€ 1"));
        query.order(Order::Ascending);
        assert_eq!(
            broken(query),
            [(Rule::String, "userId"), (Rule::MaxLength, "botId"), (Rule::Enum, "order")]
        );
    }

    #[test]
    fn an_encoded_value_reads_back() {
        let mut query = query(&format!("room={}", percent_encoded("a+b & c=[]/€ ~")));
        assert_eq!(query.text(ROOM).as_deref(), Some("a+b & c=[]/€ ~"));
    }
}
