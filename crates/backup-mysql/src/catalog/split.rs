//! Where large tables are split: bounds in the order of the primary key, found by asking the server how many rows it thinks lie between
//! two of them, which it looks up in the index and which reads no rows.
//!
//! Parts go from one bound up to the next, in the server's own order of the values, and the server is asked whether the bounds are in that
//! order. So every row is in one part, wherever the bounds are. Of a partitioned table parts are partitions: by a condition the server would look for
//! a row only where it belongs.

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::Reading;
use super::scale::{self, Stretch};
use super::size::Size;
use super::table::{KeyColumn, Table};
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};

/// About how many bytes of rows a part has at most, and so twice what it has at least.
pub(crate) const PART: u64 = 32 << 20;
/// Into how many parts a table is split at most, about: of larger tables parts are larger.
const PARTS: u64 = 4096;
/// A part that has so small a share of what it may have is joined to the next.
const TINY: u64 = 8;
/// How often the server is asked about one table.
const QUESTIONS: u64 = 6 * PARTS;

/// The start of a part: values of the first columns of the key, as literals.
type Bound = Vec<String>;

/// Rows from a bound up to another.
#[derive(Debug, Clone, Default)]
struct Range {
    from: Option<Bound>,
    to: Option<Bound>,
    rows: u64,
}

/// Some rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// What tells them from others, if that is a condition or a partition.
    pub(super) condition: Option<String>,
    pub(super) partition: Option<String>,
    pub(super) bytes: u64,
}

impl Slice {
    /// All of them.
    pub(super) fn whole(bytes: u64) -> Self {
        Self { condition: None, partition: None, bytes }
    }
}

/// The parts of a table that is of this size, in the order of its key.
pub(super) async fn slices(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    size: Size,
    part: u64,
) -> Result<Vec<Slice>> {
    let whole = Slice::whole(size.bytes);
    let columns = table.key.as_slice();
    if size.bytes <= part && !size.has_more {
        return Ok(vec![whole]);
    }
    if table.splits_by_partitions() {
        return partitions(ctx, connection, table, part).await;
    }
    if !table.splits() {
        return Ok(vec![whole]);
    }
    let mut splitting = Splitting { ctx, connection, table, columns, most: 0, questions: 0 };
    let rows = splitting.rows(&Range::default(), &[]).await?.unwrap_or(0);
    // A power of two: where rows are a little longer or shorter than last time, bounds stay where they were.
    let most = (part / size.row_bytes.max(1)).max(rows / PARTS).max(1);
    splitting.most = 1 << most.ilog2();
    let bounds = splitting.bounds(rows).await?;
    if bounds.is_empty() {
        return Ok(vec![whole]);
    }
    let ends = bounds.iter().map(|(bound, _)| Some(bound)).chain([None]);
    let starts = [None].into_iter().chain(bounds.iter().map(|(bound, _)| Some(bound)));
    let last = rows.saturating_sub(bounds.iter().map(|(_, rows)| rows).sum());
    let counts = bounds.iter().map(|(_, rows)| *rows).chain([last]);
    let slices = starts.zip(ends).zip(counts).map(|((from, to), rows)| Slice {
        condition: condition(columns, from, to),
        partition: None,
        // At least so large that it is dumped by itself, whatever the server thinks.
        bytes: rows.saturating_mul(size.row_bytes).max(part / 4),
    });
    Ok(slices.collect())
}

/// A table partition by partition, or by what these are parted into.
async fn partitions(ctx: &Ctx, connection: &mut Connection, table: &Table, part: u64) -> Result<Vec<Slice>> {
    let sql = format!(
        "SELECT COALESCE(SUBPARTITION_NAME, PARTITION_NAME), COALESCE(DATA_LENGTH, 0) FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION",
        text(&table.name)
    );
    let mut slices = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (partition, bytes) = (row.text()?, row.number()?);
        // What the server thinks of its size makes no difference to what is read.
        slices.push(Slice { condition: None, partition: Some(partition), bytes: bytes.max(part / 4) });
    }
    if slices.is_empty() {
        let name = table.name.escape_debug();
        return Err(Error::new(
            ErrorKind::Database,
            format!("the server does not say which partitions table {name} has"),
        ));
    }
    Ok(slices)
}

struct Splitting<'a> {
    ctx: &'a Ctx,
    connection: &'a mut Connection,
    table: &'a Table,
    columns: &'a [KeyColumn],
    /// Of so many rows a part has at most.
    most: u64,
    questions: u64,
}

/// A range that is yet to be halved.
struct Work {
    range: Range,
    /// Values that the first columns have in all of it.
    fixed: Bound,
    /// On which scale the next column is halved; nothing before its ends were looked at.
    stretch: Option<Stretch>,
}

impl Splitting<'_> {
    /// The bounds between parts, in order, with how many rows lie before each, since the one before.
    async fn bounds(&mut self, rows: u64) -> Result<Vec<(Bound, u64)>> {
        let range = Range { rows, ..Range::default() };
        let mut todo = vec![Work { range, fixed: Vec::new(), stretch: None }];
        let mut done: Vec<Range> = Vec::new();
        while let Some(work) = todo.pop() {
            if work.range.rows <= self.most || self.questions >= QUESTIONS {
                done.push(work.range);
                continue;
            }
            match self.step(&work).await? {
                Some(halves) => todo.extend(halves.into_iter().rev()),
                None => done.push(work.range),
            }
        }
        let tiny = self.most / TINY;
        let last_is_tiny = done.last().is_some_and(|last| last.rows < tiny);
        let (mut bounds, mut rows) = (Vec::new(), 0);
        for range in done {
            rows += range.rows;
            let Some(to) = range.to.filter(|_| rows >= tiny) else { continue };
            bounds.push((to, std::mem::take(&mut rows)));
        }
        if last_is_tiny {
            bounds.pop();
        }
        self.in_order(bounds).await
    }

    /// The next step of splitting: two halves, or the same range looked at more closely; nothing where there is no way to split it.
    async fn step(&mut self, work: &Work) -> Result<Option<Vec<Work>>> {
        let Some(column) = self.columns.get(work.fixed.len()) else { return Ok(None) };
        if let Some(stretch) = &work.stretch
            && let Some(middle) = stretch.middle()
        {
            let mut bound = work.fixed.clone();
            bound.push(stretch.scale.literal(middle));
            let (mut before, mut behind) = (work.range.clone(), work.range.clone());
            before.to = Some(bound.clone());
            behind.from = Some(bound);
            let (Some(rows_before), Some(rows_behind)) =
                (self.rows(&before, &work.fixed).await?, self.rows(&behind, &work.fixed).await?)
            else {
                return Ok(None);
            };
            (before.rows, behind.rows) = (rows_before, rows_behind);
            let half = |range, stretch| Work { range, fixed: work.fixed.clone(), stretch: Some(stretch) };
            return Ok(Some(vec![
                half(before, stretch.before(middle)),
                half(behind, stretch.behind(middle)),
            ]));
        }
        // Nothing lies between: looked at more closely, all values may have more in common, or be one.
        let Some((least, most)) = self.ends(column, &work.range, &work.fixed).await? else { return Ok(None) };
        let (mut fixed, mut stretch) = (work.fixed.clone(), None);
        if least == most {
            let Some(value) = scale::literal(column, &least) else { return Ok(None) };
            fixed.push(value);
        } else {
            stretch = Stretch::of(column, &least, &most);
            let is_closer = match (&stretch, &work.stretch) {
                (Some(now), Some(before)) => now.scale != before.scale && now.middle().is_some(),
                (Some(now), None) => now.middle().is_some(),
                (None, _) => false,
            };
            if !is_closer {
                return Ok(None);
            }
        }
        Ok(Some(vec![Work { range: work.range.clone(), fixed, stretch }]))
    }

    /// The least and the greatest value of a column in a range.
    async fn ends(
        &mut self,
        column: &KeyColumn,
        range: &Range,
        fixed: &[String],
    ) -> Result<Option<(String, String)>> {
        self.questions += 1;
        let name = identifier(&column.name);
        let (value, from) = (scale::selected(column, &name), self.table.from());
        let condition = self.within(range, fixed);
        let end =
            |order: &str| format!("(SELECT {value} FROM {from}{condition} ORDER BY {name}{order} LIMIT 1)");
        let row = self.connection.row(self.ctx, &format!("SELECT {}, {}", end(""), end(" DESC"))).await?;
        // Bytes that are no text have no scale.
        let mut values = row.into_iter().map(|value| String::from_utf8(value?).ok());
        Ok(values.next().flatten().zip(values.next().flatten()))
    }

    /// How many rows of a range there are, by what the server thinks; nothing if it would read all of the table to find them.
    async fn rows(&mut self, range: &Range, fixed: &[String]) -> Result<Option<u64>> {
        self.questions += 1;
        // MySQL does not look where it is forced to use an index, unless there is more to the query.
        let (explain, offset) = if self.connection.version.is_mariadb {
            ("EXPLAIN SELECT", 0)
        } else {
            ("EXPLAIN FORMAT=TRADITIONAL SELECT DISTINCT", 1)
        };
        let condition = self.within(range, fixed);
        let sql = format!("{explain} 1 FROM {}{condition}", self.table.from());
        let mut row = Reading::new(self.connection.row(self.ctx, &sql).await?);
        let mut fields = Vec::new();
        for _ in 0..9 + offset {
            fields.push(row.maybe()?);
        }
        let field = |at: usize| fields.get(at).and_then(Option::as_deref);
        let by_range = matches!(field(3 + offset), None | Some("range" | "ref" | "const" | "eq_ref"));
        let rows = field(8 + offset).map_or(Some(0), |rows| rows.parse().ok());
        Ok(rows.filter(|_| by_range || condition.is_empty()))
    }

    /// The condition of a range in which the first columns have fixed values.
    fn within(&self, range: &Range, fixed: &[String]) -> String {
        let mut conditions: Vec<_> = self
            .columns
            .iter()
            .zip(fixed)
            .map(|(column, value)| format!("{} = {value}", identifier(&column.name)))
            .collect();
        conditions.extend(condition(self.columns, range.from.as_ref(), range.to.as_ref()));
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    /// Leaves out bounds that, by the server's order, are not behind the one before.
    async fn in_order(&mut self, mut bounds: Vec<(Bound, u64)>) -> Result<Vec<(Bound, u64)>> {
        let mut checked = 0;
        while checked + 1 < bounds.len() {
            // As many as a statement may well have in it.
            let some = bounds.iter().skip(checked).zip(bounds.iter().skip(checked + 1)).take(64);
            let pairs: Vec<_> = some.map(|((a, _), (b, _))| before(a, b)).collect();
            let answers = self.connection.row(self.ctx, &format!("SELECT {}", pairs.join(", "))).await?;
            let wrong = answers.iter().position(|answer| answer.as_deref() != Some(b"1"));
            checked += wrong.unwrap_or(pairs.len());
            if wrong.is_some() && checked + 1 < bounds.len() {
                let (_, rows) = bounds.remove(checked + 1);
                if let Some((_, next)) = bounds.get_mut(checked + 1) {
                    *next += rows;
                }
            }
        }
        Ok(bounds)
    }
}

/// Whether a bound comes before another, for the server to say.
fn before(a: &Bound, b: &Bound) -> String {
    let mut is_before = String::from(if a.len() < b.len() { "1" } else { "0" });
    for (a, b) in a.iter().zip(b).rev() {
        is_before = format!("({a} < {b} OR ({a} = {b} AND {is_before}))");
    }
    is_before
}

/// What is true of rows from a bound up to another. Of values that both have in common only one is possible, which the server finds more
/// easily if it is said so.
fn condition(columns: &[KeyColumn], from: Option<&Bound>, to: Option<&Bound>) -> Option<String> {
    let same = match (from, to) {
        (Some(from), Some(to)) => from.iter().zip(to).take_while(|(a, b)| a == b).count(),
        _ => 0,
    };
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    let mut conditions: Vec<_> = from
        .into_iter()
        .flat_map(|from| from.iter().zip(&names).take(same))
        .map(|(value, name)| format!("{name} = {value}"))
        .collect();
    let names = names.get(same..).unwrap_or_default();
    let rest = |bound: Option<&Bound>| bound.and_then(|bound| bound.get(same..).map(<[String]>::to_vec));
    conditions.extend(rest(from).and_then(|from| side(names, &from, '>', "1")));
    conditions.extend(rest(to).and_then(|to| side(names, &to, '<', "0")));
    (!conditions.is_empty()).then(|| conditions.join(" AND "))
}

/// The comparison with one bound; `equal` is whether what begins with all of its values is within.
fn side(names: &[String], bound: &[String], sign: char, equal: &str) -> Option<String> {
    let mut pairs = names.iter().zip(bound).rev();
    let (name, value) = pairs.next()?;
    let or_equal = if equal == "1" { "=" } else { "" };
    let innermost = format!("{name} {sign}{or_equal} {value}");
    Some(pairs.fold(innermost, |inner, (name, value)| {
        format!("({name} {sign} {value} OR ({name} = {value} AND {inner}))")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<KeyColumn> {
        let column = |name: &&str| KeyColumn {
            name: (*name).to_owned(),
            data_type: "int".into(),
            charset: String::new(),
            collation: String::new(),
        };
        names.iter().map(column).collect()
    }

    fn bound(values: &[i32]) -> Bound {
        values.iter().map(i32::to_string).collect()
    }

    #[test]
    fn a_range_is_said_by_its_bounds() {
        let columns = columns(&["a", "b"]);
        let said = |from: &[i32], to: &[i32]| {
            let of = |values: &[i32]| (!values.is_empty()).then(|| bound(values));
            condition(&columns, of(from).as_ref(), of(to).as_ref())
        };
        assert_eq!(said(&[], &[]), None);
        assert_eq!(said(&[5], &[]).unwrap(), "`a` >= 5");
        assert_eq!(said(&[5], &[7]).unwrap(), "`a` >= 5 AND `a` < 7");
        assert_eq!(said(&[5], &[5, 2]).unwrap(), "`a` = 5 AND `b` < 2");
        assert_eq!(said(&[5, 1], &[5, 2]).unwrap(), "`a` = 5 AND `b` >= 1 AND `b` < 2");
        assert_eq!(
            said(&[5, 1], &[6, 2]).unwrap(),
            "(`a` > 5 OR (`a` = 5 AND `b` >= 1)) AND (`a` < 6 OR (`a` = 6 AND `b` < 2))"
        );
    }

    #[test]
    fn bounds_are_compared_value_by_value() {
        assert_eq!(before(&bound(&[5]), &bound(&[5, 2])), "(5 < 5 OR (5 = 5 AND 1))");
        assert_eq!(before(&bound(&[5, 2]), &bound(&[6])), "(5 < 6 OR (5 = 6 AND 0))");
        assert_eq!(
            before(&bound(&[5, 2]), &bound(&[5, 2])),
            "(5 < 5 OR (5 = 5 AND (2 < 2 OR (2 = 2 AND 0))))"
        );
    }
}
