//! Parameters of statements and columns of their results.

use std::error::Error as StdError;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Field, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use uuid::Uuid;
use wicara_model::json;
use wicara_search::Terms;

use super::{Error, Result};

/// A parameter or a column's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Uuid(Uuid),
    Bytes(Vec<u8>),
    /// An array: one parameter's values of many rows. PostgreSQL only.
    Array(Vec<Value>),
    /// A value of a composite type. PostgreSQL only.
    Composite(Vec<Value>),
    /// What a text is searched by: a `tsvector` on PostgreSQL, a text on SQLite. As a parameter only.
    Terms(Terms),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $expression:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $expression
            }
        }
    )*};
}

from! {
    i64 => |value| Value::Int(value);
    bool => |value| Value::Int(value.into());
    String => |value| Value::Text(value);
    &str => |value| Value::Text(value.to_owned());
    Uuid => |value| Value::Uuid(value);
    &[u8] => |value| Value::Bytes(value.to_vec());
    wicara_model::Timestamp => |value| Value::Int(value.0);
    wicara_model::ConversationId => |value| Value::Int(value.0);
    wicara_model::MessageId => |value| Value::Int(value.0);
    wicara_model::UserId => |value| Value::Int(value.0);
    wicara_model::EventNumber => |value| Value::Int(value.0);
    Terms => |value| Value::Terms(value);
    &Terms => |value| Value::Terms(value.clone());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// Turns rows of parameters into columns: one array for each parameter.
pub fn columns(rows: Vec<Vec<Value>>) -> Vec<Value> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns = vec![Vec::with_capacity(rows.len()); width];
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns.into_iter().map(Value::Array).collect()
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Value::Uuid(value), &Type::UUID) => value.to_sql(ty, out),
            (Value::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (Value::Terms(terms), &Type::TS_VECTOR) => write_terms(terms, out),
            (Value::Array(values), _) => values.to_sql(ty, out),
            (Value::Composite(values), _) => match ty.kind() {
                Kind::Composite(fields) if fields.len() == values.len() => write_fields(fields, values, out),
                _ => Err(format!("a parameter of type {ty} got {} fields", values.len()).into()),
            },
            _ => Err(format!("a parameter of type {ty} got another type's value").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The binary form of a composite: the number of its fields, then for each field its type, length and value, as
/// PostgreSQL's `record_send` writes it.
fn write_fields(
    fields: &[Field],
    values: &[Value],
    out: &mut BytesMut,
) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
    out.put_i32(i32::try_from(fields.len())?);
    for (field, value) in fields.iter().zip(values) {
        out.put_u32(field.type_().oid());
        let length = out.len();
        out.put_i32(-1);
        if let IsNull::No = value.to_sql(field.type_(), out)? {
            let written = i32::try_from(out.len() - length - size_of::<i32>())?;
            out[length..length + size_of::<i32>()].copy_from_slice(&written.to_be_bytes());
        }
    }
    Ok(IsNull::No)
}

/// The binary form of a `tsvector`: the number of its lexemes, then for each, in their order, its bytes, a zero, the number
/// of its positions and these, as PostgreSQL's `tsvectorsend` writes it.
fn write_terms(
    terms: &Terms,
    out: &mut BytesMut,
) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
    let mut lexemes: Vec<(&str, u16)> = Vec::new();
    for (position, word) in terms.words() {
        lexemes.push((word, u16::try_from(position)?));
    }
    // Position 0 stands for none here.
    lexemes.extend(terms.unplaced().map(|term| (term, 0)));
    lexemes.sort_unstable();
    let equal = |a: &(&str, u16), b: &(&str, u16)| a.0 == b.0;
    out.put_i32(i32::try_from(lexemes.chunk_by(equal).count())?);
    for places in lexemes.chunk_by(equal) {
        out.put_slice(places[0].0.as_bytes());
        out.put_u8(0);
        let positions = places.iter().map(|(_, position)| *position).filter(|position| *position > 0);
        out.put_u16(u16::try_from(positions.clone().count())?);
        positions.for_each(|position| out.put_u16(position));
    }
    Ok(IsNull::No)
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Value::Int),
            Type::TEXT => String::from_sql(ty, raw).map(Value::Text),
            Type::UUID => Uuid::from_sql(ty, raw).map(Value::Uuid),
            Type::BYTEA => Vec::from_sql(ty, raw).map(Value::Bytes),
            Type::INT8_ARRAY => Vec::from_sql(ty, raw).map(Value::Array),
            _ => Err(format!("a statement returned a column of type {ty}").into()),
        }
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// One row of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Reads the columns in the statement's order; a value that does not fit names `table` and its column.
    pub fn columns(self, table: &'static str) -> Columns {
        Columns { table, values: self.0.into_iter() }
    }

    /// The first column, and the others.
    pub fn split_first(self) -> (Self, Self) {
        let mut values = self.0;
        let others = values.split_off(values.len().min(1));
        (Self(values), Self(others))
    }

    /// About how much memory its values take.
    pub fn bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.0.iter().map(|value| size_of::<Value>() + bytes(value)).sum()
    }

    /// The first column, a number.
    pub fn int(self, table: &'static str, column: &'static str) -> Result<i64> {
        self.columns(table).int(column)
    }
}

/// A row, read column by column in the statement's order.
pub struct Columns {
    table: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Columns {
    fn corrupt<T>(&self, column: &'static str, found: impl Into<String>) -> Result<T> {
        Err(Error::Corrupt { table: self.table, column, found: found.into() })
    }

    fn next(&mut self, column: &'static str) -> Result<Value> {
        match self.values.next() {
            Some(value) => Ok(value),
            None => self.corrupt(column, "nothing: the statement did not return it"),
        }
    }

    /// The columns of a table that a LEFT JOIN added; `None` where it found no row, so that the first of them, the key,
    /// is null.
    pub fn joined(self, table: &'static str) -> Option<Self> {
        let has_row = !matches!(self.values.as_slice().first(), Some(Value::Null));
        has_row.then_some(Self { table, ..self })
    }

    pub fn int(&mut self, column: &'static str) -> Result<i64> {
        match self.next(column)? {
            Value::Int(value) => Ok(value),
            value => self.corrupt(column, kind(&value)),
        }
    }

    pub fn opt_int(&mut self, column: &'static str) -> Result<Option<i64>> {
        match self.next(column)? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(value)),
            value => self.corrupt(column, kind(&value)),
        }
    }

    /// An array of numbers, some of which may be null. A null array is returned as an empty one. PostgreSQL only.
    pub fn ints(&mut self, column: &'static str) -> Result<Vec<Option<i64>>> {
        let values = match self.next(column)? {
            Value::Null => return Ok(Vec::new()),
            Value::Array(values) => values,
            value => return self.corrupt(column, kind(&value)),
        };
        let int = |value| match value {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(value)),
            value => self.corrupt(column, kind(&value)),
        };
        values.into_iter().map(int).collect()
    }

    pub fn text(&mut self, column: &'static str) -> Result<String> {
        match self.next(column)? {
            Value::Text(value) => Ok(value),
            value => self.corrupt(column, kind(&value)),
        }
    }

    pub fn opt_text(&mut self, column: &'static str) -> Result<Option<String>> {
        match self.next(column)? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            value => self.corrupt(column, kind(&value)),
        }
    }

    /// A text column that holds one of a type's names.
    pub fn word<T: FromStr>(&mut self, column: &'static str) -> Result<T> {
        let word = self.text(column)?;
        word.parse().or_else(|_| self.corrupt(column, format!("the unknown word {word:?}")))
    }

    pub fn opt_word<T: FromStr>(&mut self, column: &'static str) -> Result<Option<T>> {
        match self.opt_text(column)? {
            None => Ok(None),
            Some(word) => match word.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => self.corrupt(column, format!("the unknown word {word:?}")),
            },
        }
    }

    pub fn uuid(&mut self, column: &'static str) -> Result<Uuid> {
        match self.next(column)? {
            Value::Uuid(value) => Ok(value),
            Value::Bytes(bytes) => match Uuid::from_slice(&bytes) {
                Ok(value) => Ok(value),
                Err(_) => self.corrupt(column, format!("{} bytes, which are no UUID", bytes.len())),
            },
            value => self.corrupt(column, kind(&value)),
        }
    }

    pub fn opt_uuid(&mut self, column: &'static str) -> Result<Option<Uuid>> {
        match self.values.as_slice().first() {
            Some(Value::Null) => self.next(column).map(|_| None),
            _ => self.uuid(column).map(Some),
        }
    }

    pub fn bytes(&mut self, column: &'static str) -> Result<Vec<u8>> {
        match self.next(column)? {
            Value::Bytes(value) => Ok(value),
            value => self.corrupt(column, kind(&value)),
        }
    }

    /// A text column that holds JSON.
    pub fn opt_json<T: for<'de> serde::Deserialize<'de>>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>> {
        match self.opt_text(column)? {
            None => Ok(None),
            Some(text) => match serde_json::from_str(&text) {
                Ok(value) => Ok(Some(value)),
                Err(error) => {
                    self.corrupt(column, format!("JSON that does not fit: {}", json::fault(&error)))
                }
            },
        }
    }
}

/// A value's type, without the value: a message's text does not belong in a log.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Int(_) => "a number",
        Value::Text(_) => "a text",
        Value::Uuid(_) => "a UUID",
        Value::Bytes(_) => "bytes",
        Value::Array(_) => "an array",
        Value::Composite(_) => "a row",
        Value::Terms(_) => "terms",
    }
}
