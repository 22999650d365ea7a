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
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Required => "required",
            Rule::String => "string",
            Rule::MaxLength => "maxLength",
            Rule::MinLength => "minLength",
            Rule::Email => "email",
            Rule::Uuid => "uuid",
            Rule::Json => "json",
            Rule::Exists => "exists",
            Rule::Number => "number",
            Rule::Range => "range",
            Rule::Enum => "enum",
        })
    }
}

/// One field that broke one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// The field's name on the wire.
    pub field: &'static str,
}
