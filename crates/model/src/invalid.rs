//! Validation errors of a client's input: the contract's rules, and the field that broke one.

use std::fmt;

/// A rule that a field broke. The names are on the wire (contract, "Rules for every endpoint").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Absent, null, empty or blank.
    Required,
    /// Not a JSON string, or one that holds a NUL or half a surrogate pair.
    String,
    /// Longer than the field's limit.
    MaxLength,
    /// Shorter than a password may be.
    MinLength,
    /// Not an e-mail address.
    Email,
    /// Neither true nor false.
    Boolean,
    /// Not a UUID.
    Uuid,
    /// The body is not a JSON object.
    Json,
    /// Refers to something that does not exist for this caller.
    Exists,
    /// Not a whole number.
    Number,
    /// A number outside its limits.
    Range,
    /// Not one of the allowed values.
    Enum,
    /// Neither a time with its offset (RFC 3339) nor a date.
    Date,
    /// Not the `nextCursor` of a list.
    Cursor,
    /// A search that finds nothing by itself, or that has too many words.
    Query,
    /// Not the caller's password.
    Password,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Required => "required",
            Rule::String => "string",
            Rule::MaxLength => "maxLength",
            Rule::MinLength => "minLength",
            Rule::Email => "email",
            Rule::Boolean => "boolean",
            Rule::Uuid => "uuid",
            Rule::Json => "json",
            Rule::Exists => "exists",
            Rule::Number => "number",
            Rule::Range => "range",
            Rule::Enum => "enum",
            Rule::Date => "date",
            Rule::Cursor => "cursor",
            Rule::Query => "query",
            Rule::Password => "password",
        })
    }
}

/// What a rule allows where it has bounds (contract: `args`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Both ends are allowed.
    Range {
        start: i64,
        stop: i64,
    },
    /// In characters, of a message in bytes of UTF-8.
    MaxLength(usize),
    MinLength(usize),
    Choices(&'static [&'static str]),
}

impl Bounds {
    fn rule(self) -> Rule {
        match self {
            Bounds::Range { .. } => Rule::Range,
            Bounds::MaxLength(_) => Rule::MaxLength,
            Bounds::MinLength(_) => Rule::MinLength,
            Bounds::Choices(_) => Rule::Enum,
        }
    }
}

/// A rule that was broken, with its bounds where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    pub rule: Rule,
    pub bounds: Option<Bounds>,
}

impl From<Rule> for Breach {
    fn from(rule: Rule) -> Self {
        Self { rule, bounds: None }
    }
}

impl From<Bounds> for Breach {
    fn from(bounds: Bounds) -> Self {
        Self { rule: bounds.rule(), bounds: Some(bounds) }
    }
}

/// One field that broke one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// The field's name on the wire.
    pub field: &'static str,
    pub bounds: Option<Bounds>,
}

impl Violation {
    pub fn new(field: &'static str, breach: impl Into<Breach>) -> Self {
        let Breach { rule, bounds } = breach.into();
        Self { rule, field, bounds }
    }
}
