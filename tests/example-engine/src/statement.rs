//! The language of kv databases: a statement a line.
//!
//! ```text
//! -- a comment
//! table {"name":"accounts","columns":[["id","integer"],["owner","text"]]}
//! row "accounts" [1,"Ada"]
//! reference {"name":"boss","table":"accounts","column":"id","to":"accounts"}
//! ```
//!
//! JSON escapes newlines, so whatever a name or a text holds, a statement stays one line.

use backup_core::rows::{TaggedValue, read_tagged};
use backup_core::{Error, ErrorKind, Result, TaggedRow};
use serde::{Deserialize, Serialize};

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement<'a> {
    /// Makes a table.
    Table(Table),
    /// Adds a row to a table: its name, as it stands in the file, and its values.
    Row(&'a str, &'a str),
    /// Says that the values of a column are found in another table.
    Reference(Reference),
    /// Nothing.
    Comment,
}

/// A table: its name, and the name and type of each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they say it all")]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, String)>,
}

/// A reference from a table to a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they say it all")]
pub struct Reference {
    pub name: String,
    pub table: String,
    pub column: String,
    pub to: String,
}

/// A value of a row. Floats are kept by their bits: JSON would round them, and knows no infinity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "they say it all")]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
    Float { float: u64 },
    Bytes { bytes: Vec<u8> },
}

impl<'a> Statement<'a> {
    /// Reads a line, without its newline.
    pub fn parse(line: &'a str) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Database, format!("not a kv statement: {line:.60?}"));
        let json = |error: serde_json::Error| unknown().because(error);
        if line.is_empty() || line.starts_with("--") {
            return Ok(Self::Comment);
        }
        match line.split_once(' ') {
            Some(("table", rest)) => Ok(Self::Table(serde_json::from_str(rest).map_err(json)?)),
            Some(("reference", rest)) => Ok(Self::Reference(serde_json::from_str(rest).map_err(json)?)),
            Some(("row", rest)) => {
                let mut names = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
                names.next().ok_or_else(unknown)?.map_err(json)?;
                let (name, values) = rest.split_at(names.byte_offset());
                Ok(Self::Row(name, values.strip_prefix(' ').ok_or_else(unknown)?))
            }
            _ => Err(unknown()),
        }
    }

    /// The statement that adds rows to `table`, up to their values.
    pub fn row_prefix(table: &str) -> String {
        format!("row {} ", serde_json::Value::from(table))
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Database, "a row's values are no values of kv").because(error)
}

/// Turns the values of a row statement into the row that a backup keeps.
pub fn pack(values: &str, row: &mut TaggedRow) -> Result<()> {
    row.clear();
    for value in serde_json::from_str::<Vec<Value>>(values).map_err(not_json)? {
        match value {
            Value::Null => row.null(),
            Value::Integer(value) => row.integer(value),
            Value::Text(value) => row.text(value.as_bytes()),
            Value::Float { float } => row.float(f64::from_bits(float)),
            Value::Bytes { bytes } => row.bytes(&bytes),
        }
    }
    Ok(())
}

/// Turns a row that a backup kept into the values of a row statement.
pub fn unpack(mut row: &[u8]) -> Result<String> {
    let mut values = Vec::new();
    while !row.is_empty() {
        let malformed = || Error::damaged("a row does not follow its layout");
        values.push(match read_tagged(&mut row).ok_or_else(malformed)? {
            TaggedValue::Null => Value::Null,
            TaggedValue::Integer(value) => Value::Integer(value),
            TaggedValue::Text(text) => {
                Value::Text(String::from_utf8(text.to_vec()).map_err(|error| malformed().because(error))?)
            }
            TaggedValue::Float(value) => Value::Float { float: value.to_bits() },
            TaggedValue::Bytes(bytes) => Value::Bytes { bytes: bytes.to_vec() },
        });
    }
    serde_json::to_string(&values).map_err(not_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_packing_bit_for_bit() {
        let nan = f64::NAN.to_bits() | 1;
        let values = format!(
            r#"[null,-9223372036854775808,"two\nlines \u0000",{{"float":{nan}}},{{"bytes":[0,255]}},{{"float":9223372036854775808}}]"#
        );
        let mut row = TaggedRow::new();
        pack(&values, &mut row).unwrap();
        assert_eq!(unpack(row.as_bytes()).unwrap(), values);
    }

    #[test]
    fn a_name_cannot_start_a_statement() {
        let prefix = Statement::row_prefix("a\" [1]\ntable {");
        assert!(!prefix.contains('\n'));
        let line = prefix + "[1]";
        assert_eq!(Statement::parse(&line).unwrap(), Statement::Row(r#""a\" [1]\ntable {""#, "[1]"));
        assert!(Statement::parse("drop everything").is_err());
    }
}
