//! Rows by COPY, as text, which the server writes and reads: bytes are neither parsed nor decoded here.

use backup_core::{Column, Ctx, Error, ErrorKind, Item, Part, PartKind, PartReader, Result};
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use serde::{Deserialize, Serialize};

use crate::connect::Session;
use crate::ddl::quote::{ident, literal, qualified};
use crate::error::{NOT_TAKEN, classify};
use crate::spec::{Gate, read};

/// About how many bytes of rows go to the server in one message.
const MESSAGE: usize = 128 << 10;

/// The spec of a part of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub(crate) enum RowsSpec {
    /// Rows of a table, or of some of its blocks.
    Table {
        gate: Gate,
        /// The database's encoding, which is that of the rows.
        encoding: String,
        /// From this block on, and up to but without that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocks: Option<(u32, Option<u32>)>,
        /// Only these rows: an expression that the server has written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
        /// The partitioned table that they go back into, as schema and name, where only the server knows which partition is right.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<(String, String)>,
    },
    /// The one row that says how far a sequence has come: its last value, and whether that was used.
    Sequence { gate: Gate },
    /// The bytes of the large objects of these numbers, which are all from the first to the last: rows of an object, a place in it and what
    /// is there.
    LargeObjects { gate: Gate, numbers: Vec<u32> },
}

/// How many bytes of a large object are a row.
const PAGE: u32 = 256 << 10;

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ")
}

/// The quoted name of the table of a part.
pub(crate) fn table(part: &Part) -> String {
    qualified(part.object.schema.as_deref().unwrap_or_default(), &part.object.name)
}

/// Rows come in the encoding of their database, exactly as they are.
fn option(spec: &RowsSpec) -> String {
    match spec {
        RowsSpec::Table { encoding, .. } if encoding != "UTF8" => {
            format!(" WITH (ENCODING {})", literal(encoding))
        }
        _ => String::new(),
    }
}

/// The statement that reads the rows of a part.
fn copy_out(part: &Part, columns: &[Column], spec: &RowsSpec) -> String {
    let (table, names) = (table(part), names(columns));
    let options = option(spec);
    match spec {
        RowsSpec::Sequence { .. } => format!("COPY (SELECT last_value, is_called FROM {table}) TO STDOUT"),
        // Descriptors are closed when the savepoint is rolled back to.
        RowsSpec::LargeObjects { numbers, .. } => format!(
            "COPY (SELECT l.oid, o, pg_catalog.lo_get(l.oid, o, {PAGE}) \
             FROM (SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid BETWEEN {first} AND {last} ORDER BY m.oid) AS l, \
             LATERAL pg_catalog.lo_open(l.oid, 262144) AS f, LATERAL pg_catalog.lo_lseek64(f, 0, 2) AS size, \
             LATERAL pg_catalog.generate_series(0, size - 1, {PAGE}) AS o) TO STDOUT",
            first = numbers.first().unwrap_or(&0),
            last = numbers.last().unwrap_or(&0),
        ),
        RowsSpec::Table { blocks: None, condition: None, .. } => {
            // A table may have no columns, and has rows all the same.
            let names = if columns.is_empty() { String::new() } else { format!(" ({names})") };
            format!("COPY {table}{names} TO STDOUT{options}")
        }
        RowsSpec::Table { blocks, condition, .. } => {
            let mut conditions = Vec::new();
            if let Some((from, to)) = blocks {
                conditions.push(format!("ctid >= '({from},0)'"));
                conditions.extend(to.map(|to| format!("ctid < '({to},0)'")));
            }
            conditions.extend(condition.as_ref().map(|condition| format!("({condition})")));
            let conditions = conditions.join(" AND ");
            format!("COPY (SELECT {names} FROM ONLY {table} WHERE {conditions}) TO STDOUT{options}")
        }
    }
}

/// The statement that takes the rows of a part.
pub(crate) fn copy_in(part: &Part, columns: &[Column], spec: &RowsSpec) -> String {
    let names = if columns.is_empty() { String::new() } else { format!(" ({})", names(columns)) };
    let table = match spec {
        RowsSpec::Table { into: Some((schema, name)), .. } => qualified(schema, name),
        _ => table(part),
    };
    format!("COPY {table}{names} FROM stdin{}", option(spec))
}

/// The statement that a row of something other than a table stands for: a sequence's state, bytes of a large object. `None` for a table.
pub(crate) fn statement(part: &Part, spec: &RowsSpec, row: &[u8]) -> Result<Option<String>> {
    let malformed = || Error::damaged(format!("{} has a malformed row", part.object));
    let fields = || {
        let text = std::str::from_utf8(row).ok().and_then(|text| text.strip_suffix('\n'));
        text.ok_or_else(malformed)
    };
    let number = |text: &str| text.parse::<i64>().map_err(|_| malformed());
    match spec {
        RowsSpec::Table { .. } => Ok(None),
        RowsSpec::Sequence { .. } => {
            let (value, called) = fields()?.split_once('\t').ok_or_else(malformed)?;
            let value = number(value)?;
            let called = match called {
                "t" => "true",
                "f" => "false",
                _ => return Err(malformed()),
            };
            Ok(Some(format!("SELECT pg_catalog.setval({}, {value}, {called})", literal(&table(part)))))
        }
        RowsSpec::LargeObjects { numbers, .. } => {
            let mut fields = fields()?.splitn(3, '\t');
            let mut field = || fields.next().ok_or_else(malformed);
            let (oid, place, bytes) = (number(field()?)?, number(field()?)?, field()?);
            if numbers.binary_search_by_key(&oid, |number| i64::from(*number)).is_err() {
                return Err(malformed());
            }
            // COPY doubles the backslash.
            let digits =
                bytes.strip_prefix("\\\\x").filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()));
            let digits = digits.ok_or_else(malformed)?;
            Ok(Some(format!("SELECT pg_catalog.lo_put({oid}, {place}, '\\x{digits}')")))
        }
    }
}

/// The statement that reads the rows of a part.
pub(crate) fn reading(part: &Part) -> Result<String> {
    match &part.kind {
        PartKind::Rows { columns, .. } => Ok(copy_out(part, columns, &read(part)?)),
        _ => Err(Error::internal(format!("{} has no rows", part.object))),
    }
}

/// Loads the rows of a part.
pub(crate) async fn load(
    ctx: &Ctx,
    session: &Session,
    part: &Part,
    columns: &[Column],
    input: &mut PartReader,
) -> Result<()> {
    let spec: RowsSpec = read(part)?;
    if !matches!(spec, RowsSpec::Table { .. }) {
        return statements(ctx, session, part, &spec, input).await;
    }
    let sink = session.run(ctx, session.client().copy_in::<_, Bytes>(&copy_in(part, columns, &spec))).await?;
    let mut sink = std::pin::pin!(sink);
    session.set_busy(true);
    let mut message = BytesMut::with_capacity(2 * MESSAGE);
    while let Some(item) = input.next_rows(MESSAGE).await? {
        match item {
            Item::Row(bytes) | Item::Fragment { bytes, .. } => message.extend_from_slice(bytes),
            _ => return Err(Error::damaged("a part of rows holds something else")),
        }
        if message.len() >= MESSAGE {
            let full = std::mem::replace(&mut message, BytesMut::with_capacity(2 * MESSAGE)).freeze();
            session.wait(ctx, async { sink.send(full).await.map_err(classify) }).await?;
        }
    }
    if !message.is_empty() {
        session.wait(ctx, async { sink.send(message.freeze()).await.map_err(classify) }).await?;
    }
    session.wait(ctx, async { sink.finish().await.map_err(classify) }).await.map_err(refused)?;
    session.set_busy(false);
    Ok(())
}

/// Loads rows that are no table's.
async fn statements(
    ctx: &Ctx,
    session: &Session,
    part: &Part,
    spec: &RowsSpec,
    input: &mut PartReader,
) -> Result<()> {
    // They are ours to the last digit, so that many can go at once.
    let mut sql = String::new();
    while let Some(item) = input.next().await? {
        let Item::Row(row) = item else { return Err(Error::damaged("a row is longer than it can be")) };
        if let Some(statement) = statement(part, spec, row)? {
            sql += &statement;
            sql.push(';');
        }
        if sql.len() >= MESSAGE {
            session.execute(ctx, &std::mem::take(&mut sql)).await?;
        }
    }
    if sql.is_empty() { Ok(()) } else { session.execute(ctx, &sql).await }
}

/// Rows that the target does not take although the source had them.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Database => error.hint(NOT_TAKEN),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use backup_core::{Object, RowLayout};

    use super::*;

    fn part() -> Part {
        Part::rows(0, Object::new("table", "a\"b").in_schema("s"), RowLayout::CopyText, vec![])
    }

    fn spec(blocks: Option<(u32, Option<u32>)>, encoding: &str) -> RowsSpec {
        RowsSpec::Table {
            gate: Gate::Rows,
            encoding: encoding.to_owned(),
            blocks,
            condition: None,
            into: None,
        }
    }

    #[test]
    fn a_table_is_copied_whole_or_by_its_blocks_with_its_columns_named() {
        let columns = [Column::new("x", "int"), Column::new("select", "int")];
        assert_eq!(
            copy_out(&part(), &columns, &spec(None, "LATIN1")),
            "COPY \"s\".\"a\"\"b\" (\"x\", \"select\") TO STDOUT WITH (ENCODING 'LATIN1')"
        );
        assert_eq!(
            copy_out(&part(), &columns, &spec(Some((8, Some(16))), "UTF8")),
            "COPY (SELECT \"x\", \"select\" FROM ONLY \"s\".\"a\"\"b\" WHERE ctid >= '(8,0)' AND ctid < '(16,0)') TO STDOUT"
        );
        assert_eq!(copy_out(&part(), &[], &spec(None, "UTF8")), "COPY \"s\".\"a\"\"b\" TO STDOUT");
    }

    #[test]
    fn a_sequence_says_how_far_it_has_come_and_a_large_object_what_it_holds() {
        let sequence = RowsSpec::Sequence { gate: Gate::Rows };
        let sql = statement(&part(), &sequence, b"-5\tt\n").unwrap().unwrap();
        assert_eq!(sql, "SELECT pg_catalog.setval('\"s\".\"a\"\"b\"', -5, true)");
        for row in [&b"x\tt\n"[..], b"1", b"1\tx\n", b"1); DROP\tt\n", b"1\tt"] {
            assert!(statement(&part(), &sequence, row).is_err());
        }
        let large = RowsSpec::LargeObjects { gate: Gate::Rows, numbers: vec![7, 9] };
        let sql = statement(&part(), &large, b"9\t0\t\\\\x00ff\n").unwrap().unwrap();
        assert_eq!(sql, "SELECT pg_catalog.lo_put(9, 0, '\\x00ff')");
        for row in [&b"9\t0\t\\\\x00'\n"[..], b"8\t0\t\\\\x00\n", b"10\t0\t\\\\x00\n", b"9\t0\n"] {
            assert!(statement(&part(), &large, row).is_err());
        }
        // What does not say which they are is no backup of ours.
        let error = read::<RowsSpec>(
            &part().spec(serde_json::json!({ "of": "large-objects", "gate": "rows", "oids": [7, 9] })),
        );
        assert!(error.unwrap_err().to_string().contains("numbers"));
    }
}
