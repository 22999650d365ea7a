//! A row as a line of JSON, the same for both engines, and the sums by which the rows of two places are compared.

use std::fmt::Write as _;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::tables::{ColumnType, Table};
use crate::engine::{Error, Result, Value};

/// How many rows of a table there are, and the sum of their hashes, which does not depend on their order: the engines sort
/// texts differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSum {
    pub table: String,
    pub rows: u64,
    sum: u128,
}

impl TableSum {
    pub(super) fn new(table: &str) -> Self {
        Self { table: table.to_owned(), rows: 0, sum: 0 }
    }

    /// Adds a row by its line: the first half of the line's SHA-256.
    pub(super) fn add(&mut self, line: &str) {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(line.as_bytes())[..16]);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(half));
    }

    /// The sum in 32 hexadecimal digits.
    #[must_use]
    pub fn checksum(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// The values as a JSON array: numbers, texts, UUIDs as texts, bytes in hexadecimal, and null.
pub fn line(values: &[Value]) -> String {
    let mut line = String::from("[");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        match value {
            Value::Int(number) => {
                let _ = write!(line, "{number}");
            }
            Value::Text(text) => line.push_str(&Json::from(text.as_str()).to_string()),
            Value::Uuid(uuid) => {
                let _ = write!(line, "\"{uuid}\"");
            }
            Value::Bytes(bytes) => {
                line.push('"');
                for byte in bytes {
                    let _ = write!(line, "{byte:02x}");
                }
                line.push('"');
            }
            Value::Null | Value::Array(_) | Value::Composite(_) | Value::Terms(_) => line.push_str("null"),
        }
    }
    line.push(']');
    line
}

/// The values of a line, by the types of the table's columns; of a key, by those of the first columns.
pub fn values(line: &str, table: &Table, columns: usize) -> Result<Vec<Value>> {
    let wrong = || Error::Setup(format!("a row of {} does not fit its columns", table.name));
    let found: Vec<Json> = serde_json::from_str(line).map_err(|_| wrong())?;
    if found.len() != columns {
        return Err(wrong());
    }
    let value = |(json, (_, kind)): (Json, &(String, ColumnType))| match (json, kind) {
        (Json::Null, _) => Some(Value::Null),
        (Json::Number(number), ColumnType::Int) => number.as_i64().map(Value::Int),
        (Json::String(text), ColumnType::Text) => Some(Value::Text(text)),
        (Json::String(text), ColumnType::Uuid) => Uuid::parse_str(&text).ok().map(Value::Uuid),
        (Json::String(text), ColumnType::Bytes) => bytes(&text).map(Value::Bytes),
        _ => None,
    };
    found.into_iter().zip(&table.columns).map(value).collect::<Option<_>>().ok_or_else(wrong)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_its_line() {
        let columns = [
            ("a", ColumnType::Int),
            ("b", ColumnType::Text),
            ("c", ColumnType::Uuid),
            ("d", ColumnType::Bytes),
            ("e", ColumnType::Text),
        ];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).into();
        let table = Table { name: "t".into(), key: 1, columns };
        for number in [0, -1, i64::MIN, i64::MAX] {
            let row = vec![
                Value::Int(number),
                Value::Text("\"\u{0}\n\u{2028}😊\\".into()),
                Value::Uuid(Uuid::from_u128(5)),
                Value::Bytes(vec![0, 1, 254, 255]),
                Value::Null,
            ];
            let line = line(&row);
            assert!(!line.contains('\n'));
            assert_eq!(values(&line, &table, 5).unwrap(), row);
        }
        for wrong in [
            "[1]",
            "[1.5,null,null,null,null]",
            "[1,2,null,null,null]",
            "[1,null,\"x\",null,null]",
            "[1,null,null,\"0\",null]",
            "[",
        ] {
            assert!(values(wrong, &table, 5).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sum_tells_rows_apart_and_not_their_order() {
        let sum = |lines: &[&str]| {
            let mut sum = TableSum::new("t");
            lines.iter().for_each(|line| sum.add(line));
            sum
        };
        assert_eq!(sum(&["[1]", "[2]"]), sum(&["[2]", "[1]"]));
        assert_ne!(sum(&["[1]", "[2]"]), sum(&["[1]", "[3]"]));
        assert_ne!(sum(&["[1]", "[1]"]).checksum(), sum(&["[2]", "[2]"]).checksum());
    }
}
