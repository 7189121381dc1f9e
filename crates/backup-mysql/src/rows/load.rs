//! Rows into a table: LOAD DATA LOCAL from memory, or, where the server does not have it, INSERTs of many rows.

use backup_core::{Column, Ctx, Error, ErrorKind, Item, Part, PartKind, PartReader, Result};

use super::batch::{Batch, Statement, WARNINGS};
use super::inexact::{Inexact, Turn};
use super::members::NoMembers;
use super::text::{FORMAT, TextRows};
use crate::catalog::column::Kind;
use crate::catalog::spec::RowsSpec;
use crate::catalog::{Reading, create_table};
use crate::connect::{Connection, Done, INFILE};
use crate::ddl::create::CreateTable;
use crate::ddl::quote::{identifier, text};
use crate::ddl::value::{LAST_MOMENTS, PRESENT};

/// What is sent at once.
const SEND: usize = 256 << 10;
/// How many bytes one statement loads, and commits.
const STATEMENT: usize = 64 << 20;

/// Loads the rows of a part.
pub(crate) async fn rows(
    ctx: &Ctx,
    connection: &mut Connection,
    part: &Part,
    spec: &RowsSpec,
    has_infile: bool,
    input: &mut PartReader,
) -> Result<()> {
    let PartKind::Rows { columns, .. } = &part.kind else {
        return Err(Error::internal("rows are loaded from a part without any"));
    };
    if columns.len() != spec.columns.len() {
        return Err(Error::damaged("a part of rows has not as many columns as it has kinds of them"));
    }
    // The times of versions, which are the last columns, not every server takes.
    let are_timeless = spec.versioned && !connection.version.takes_history();
    let timeless = columns.len().saturating_sub(if are_timeless { 2 } else { 0 });
    let mut kinds = spec.written();
    kinds.iter_mut().skip(timeless).for_each(|kind| *kind = Kind::Absent);
    let table = spec.aside.as_ref().unwrap_or(&part.object.name);
    for at in json_of_text(ctx, connection, table, columns).await? {
        kinds.get_mut(at).into_iter().for_each(|kind| *kind = Kind::Json);
    }
    let target =
        Target { ctx, table, columns, kinds: &kinds, generated_places: &spec.generated_places, has_infile };
    if has_infile {
        let exactly = !connection.version.is_mariadb;
        let mut inexact = if exactly { Inexact::of(ctx, target.table, columns, &kinds) } else { None };
        while target.infile(connection, input, inexact.as_mut()).await? {}
        Ok(())
    } else {
        target.inserts(connection, input).await
    }
}

/// The columns that MySQL has as JSON and MariaDB, of which the rows are, as texts.
async fn json_of_text(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &str,
    columns: &[Column],
) -> Result<Vec<usize>> {
    if connection.version.is_mariadb || columns.iter().all(|column| column.declared_type != "longtext") {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND DATA_TYPE = 'json'",
        text(table)
    );
    let mut places = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let name = Reading::new(row).text()?;
        places.extend(
            columns.iter().position(|column| column.name == name && column.declared_type == "longtext"),
        );
    }
    Ok(places)
}

/// How long a statement may be: the server reads no more of one, nor the byte that says it is one.
pub(crate) async fn limit(ctx: &Ctx, connection: &mut Connection) -> Result<usize> {
    let limit = Reading::new(connection.row(ctx, "SELECT @@max_allowed_packet").await?).number()?;
    Ok(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(1))
}

pub(super) struct Target<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) table: &'a str,
    pub(super) columns: &'a [Column],
    pub(super) kinds: &'a [Kind],
    pub(super) generated_places: &'a [String],
    /// Rows need not be inserted.
    pub(super) has_infile: bool,
}

impl Target<'_> {
    /// Loads the next rows by one statement, if there are any that it may load, and inserts those behind that it must not; false if they were
    /// the last.
    async fn infile(
        &self,
        connection: &mut Connection,
        input: &mut PartReader,
        mut inexact: Option<&mut Inexact<'_>>,
    ) -> Result<bool> {
        if let Some(inexact) = &mut inexact {
            let next = inexact.seek(input).await?;
            if next != Some(Turn::Load) {
                self.insert_waiting(connection, inexact).await?;
                return Ok(next.is_some());
            }
        }
        let mut infile = connection.infile(self.ctx, &self.load_data()).await?;
        let mut text = TextRows::default();
        let mut no_members = NoMembers::of(self.columns, self.kinds);
        let (mut rows, mut sent, mut more) = (0u64, 0, true);
        let mut waiting = inexact.as_mut().and_then(|inexact| inexact.waiting());
        loop {
            let (bytes, is_whole) = if let Some(is_whole) = waiting.take() {
                (&[][..], is_whole)
            } else {
                let Some(item) = input.next().await? else {
                    more = false;
                    break;
                };
                let (bytes, is_whole) = piece(item)?;
                match inexact.as_mut().map_or(Ok(Turn::Load), |inexact| inexact.take(bytes, is_whole))? {
                    Turn::Load => (bytes, is_whole),
                    Turn::Wait => continue,
                    Turn::Insert => break,
                }
            };
            let bytes = inexact.as_ref().map_or(bytes, |inexact| inexact.row());
            text.piece(bytes)?;
            if let Some(no_members) = &mut no_members {
                no_members.piece(bytes, is_whole)?;
            }
            if is_whole {
                text.end(self.columns.len())?;
                rows += 1;
            }
            if text.out.len() >= SEND {
                infile.write(self.ctx, &text.out).await?;
                sent += text.out.len();
                text.out.clear();
            }
            let warns = no_members.as_ref().map_or(0, |no_members| no_members.count);
            if is_whole && (sent >= STATEMENT || warns >= WARNINGS) {
                break;
            }
        }
        infile.write(self.ctx, &text.out).await?;
        let done = infile.finish(self.ctx).await?;
        self.check(connection, done, rows, no_members.map_or(0, |no_members| no_members.count)).await?;
        if let Some(inexact) = inexact {
            self.insert_waiting(connection, inexact).await?;
        }
        Ok(more)
    }

    async fn insert_waiting(&self, connection: &mut Connection, inexact: &mut Inexact<'_>) -> Result<()> {
        if inexact.batch.is_empty() {
            return Ok(());
        }
        let limit = limit(self.ctx, connection).await?;
        self.insert(connection, &mut inexact.batch, limit).await
    }

    fn too_long(&self, limit: usize) -> Error {
        let hint = if self.has_infile {
            "raise max_allowed_packet"
        } else {
            "raise max_allowed_packet, or set local_infile=1, which reads rows in pieces"
        };
        Error::unsupported(format!(
            "table {}: a row takes more bytes than the server reads of a statement, which are {limit} by its max_allowed_packet",
            self.table.escape_debug()
        ))
        .hint(hint)
    }

    fn load_data(&self) -> String {
        let (mut columns, mut set) = (Vec::new(), Vec::new());
        for (i, (column, kind)) in self.columns.iter().zip(self.kinds).enumerate() {
            let name = identifier(&column.name);
            let value = match kind {
                Kind::Index => format!("CAST(@v{i} AS UNSIGNED)"),
                Kind::Ascii => format!("CONVERT(@v{i} USING ascii)"),
                Kind::Json => format!("CONVERT(@v{i} USING utf8mb4)"),
                Kind::RowEnd => {
                    let [last, later] = LAST_MOMENTS;
                    format!("IF(@v{i} IN ('{last}','{later}'),{PRESENT},@v{i})")
                }
                Kind::Absent => {
                    columns.push(format!("@v{i}"));
                    continue;
                }
                _ => {
                    columns.push(name);
                    continue;
                }
            };
            columns.push(format!("@v{i}"));
            set.push(format!("{name} = {value}"));
        }
        set.extend(self.generated_places.iter().map(|name| format!("{} = DEFAULT", identifier(name))));
        let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
        let table = identifier(self.table);
        format!("LOAD DATA LOCAL INFILE '{INFILE}' INTO TABLE {table} {FORMAT} ({}){set}", columns.join(","))
    }

    async fn inserts(&self, connection: &mut Connection, input: &mut PartReader) -> Result<()> {
        let limit = limit(self.ctx, connection).await?;
        let mut batch = Batch::new(self.table, self.columns, self.kinds);
        while let Some(item) = input.next().await? {
            let (bytes, is_whole) = piece(item)?;
            batch.piece(bytes, is_whole)?;
            if batch.last_row() > limit {
                return Err(self.too_long(limit));
            }
            if batch.is_full() {
                self.insert(connection, &mut batch, limit).await?;
            }
        }
        self.insert(connection, &mut batch, limit).await
    }

    async fn insert(&self, connection: &mut Connection, batch: &mut Batch<'_>, limit: usize) -> Result<()> {
        while let Some(Statement { sql, rows, warns }) = batch.statement(limit) {
            if sql.len() > limit {
                return Err(self.too_long(limit));
            }
            let done = connection.execute_bytes(self.ctx, sql).await?;
            self.check(connection, done, rows, warns).await?;
        }
        Ok(())
    }

    /// What a warning is of.
    fn subject(&self, number: &[u8], message: &str) -> Subject {
        // MySQL says it of the values in a definition of partitions, as often as it reads that; of bytes that are brought into a column, it does not.
        if number == NO_TEXT {
            let is_ours = self.kinds.iter().any(|kind| matches!(kind, Kind::Ascii | Kind::Json));
            return if is_ours { Subject::Sent } else { Subject::Other };
        }
        let message = message.to_lowercase();
        let names = |name: &str| {
            let name = name.to_lowercase();
            message.contains(&format!("column '{name}'")) || message.contains(&format!("`{name}` at row"))
        };
        // What is generated as a date from another column is warned of under the name of that one.
        let is_ours = (self.columns.iter().zip(self.kinds)).any(|(column, kind)| {
            (matches!(kind, Kind::Plain | Kind::RowEnd) || number != NO_DATE) && names(&column.name)
        });
        let is_said = |column: &Column| message.contains(&format!("'{}'", column.name.to_lowercase()));
        match number {
            // Nobody sends a value for a column that is not said.
            UNSAID if !self.columns.iter().any(is_said) => Subject::Other,
            UNSAID => Subject::Sent,
            _ if is_ours || OF_ROWS.contains(&number) => Subject::Sent,
            // A warning of storing names its column. One in which none is found, in whatever words, may be of ours.
            _ if OF_STORING.contains(&number) => {
                match message.contains("column '") || message.contains("` at row") {
                    true => Subject::Other,
                    false => Subject::Sent,
                }
            }
            _ if OF_EXPRESSIONS.contains(&number) => Subject::Other,
            _ => Subject::Computed,
        }
    }

    /// Whether the server computes anything of the rows: what it says of that is as it was in the source.
    async fn computes(&self, connection: &mut Connection) -> Result<bool> {
        let create = create_table(self.ctx, connection, self.table).await?;
        Ok(CreateTable::parse(&create)?.computes())
    }

    /// The server leaves out rows, and changes values, where it could refuse them: nothing of that may have happened. Of values that are no
    /// members of their ENUM, and of nothing else, it may warn.
    async fn check(&self, connection: &mut Connection, done: Done, rows: u64, no_members: u64) -> Result<()> {
        let warned = self.warned(connection, done).await?;
        self.compare(done, rows, warned, no_members)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Database, format!("table {}: {what}", self.table.escape_debug()))
            .hint("is the server of another product or version, or another sql_mode forced upon it?")
    }

    /// Of how many values it has warned that may be no members of their ENUM; an error if it warned of anything else.
    pub(super) async fn warned(&self, connection: &mut Connection, done: Done) -> Result<u64> {
        let mut warned = 0;
        if done.warnings > 0 {
            let warnings = connection.rows(self.ctx, "SHOW WARNINGS").await?;
            if (warnings.len() as u64) < done.warnings {
                return Err(self.wrong(format_args!(
                    "the server has {} warnings, and does not show them",
                    done.warnings
                )));
            }
            if done.warnings == MOST_WARNINGS {
                self.tell_unshown(connection).await?;
            }
            let mut computes = None;
            for row in &warnings {
                let field = |i: usize| row.get(i).cloned().flatten().unwrap_or_default();
                let (level, number, message) = (field(0), field(1), field(2));
                let message = String::from_utf8_lossy(&message);
                if level == b"Note" || number == SEVERAL_ENGINES {
                    continue;
                }
                let is_other = match self.subject(&number, &message) {
                    Subject::Other => true,
                    Subject::Sent => false,
                    Subject::Computed => match computes {
                        Some(computes) => computes,
                        None => *computes.insert(self.computes(connection).await?),
                    },
                };
                match number.as_slice() {
                    _ if is_other => {}
                    TRUNCATED => warned += 1,
                    _ => return Err(self.wrong(message.escape_debug())),
                }
            }
        }
        Ok(warned)
    }

    /// The server answers with no greater number, and shows no more: what it changed may stand behind what is of generated columns.
    async fn tell_unshown(&self, connection: &mut Connection) -> Result<()> {
        let all = Reading::new(connection.row(self.ctx, "SHOW COUNT(*) WARNINGS").await?).number()?;
        if all > MOST_WARNINGS {
            self.ctx.warn(format!(
                "table {}: the server warned {all} times of what is loaded and shows {MOST_WARNINGS}, all of generated columns: whether it changed a value as well is not known",
                self.table.escape_debug()
            ));
        }
        Ok(())
    }

    /// Whether it took as many rows as were sent, and changed no values.
    pub(super) fn compare(&self, done: Done, rows: u64, warned: u64, no_members: u64) -> Result<()> {
        if warned != no_members {
            return Err(self.wrong(format_args!(
                "the server changed {warned} values, where it had to keep {no_members}"
            )));
        }
        if done.affected != rows {
            return Err(self.wrong(format_args!("the server took {} of {rows} rows", done.affected)));
        }
        Ok(())
    }
}

/// What a warning is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A value, or a row, that was sent.
    Sent,
    /// Something else.
    Other,
    /// What the server computes of the rows, if it computes anything.
    Computed,
}

/// What is said of a value that is stored: NULL, out of range, cut off, of the wrong form, too long.
const OF_STORING: [&[u8]; 6] = [b"1048", b"1263", b"1264", b"1265", b"1366", b"1406"];
/// What is said of a row: with too few values or too many, like another, of no partition, not as a constraint has it; or of a value that is no JSON, no geometry,
/// or none at all.
const OF_ROWS: [&[u8]; 12] = [
    b"1261", b"1262", b"1062", b"1586", b"1526", b"1748", b"1452", b"3819", b"4025", b"3140", b"1416",
    b"1690",
];
/// What is said of a value in an expression, too: of the wrong form, divided by zero, and the like; and of a counter that is a DOUBLE.
const OF_EXPRESSIONS: [&[u8]; 6] = [b"1292", b"1365", b"1411", b"1441", b"1916", b"1918"];
/// Bytes that are no text where they are converted.
const NO_TEXT: &[u8] = b"1300";
/// A value that is no date, or no number where an expression needs one.
const NO_DATE: &[u8] = b"1292";
/// As many as a server counts in an answer, and keeps (`max_error_count`).
const MOST_WARNINGS: u64 = 65_535;
/// A column without a default that gets no value.
const UNSAID: &[u8] = b"1364";
/// Data truncated.
const TRUNCATED: &[u8] = b"1265";
/// MySQL 9 does not like tables of two engines in one transaction, nor in one session.
const SEVERAL_ENGINES: &[u8] = b"6414";

/// A row or a piece of one, and whether it is its end.
pub(super) fn piece(item: Item<'_>) -> Result<(&[u8], bool)> {
    match item {
        Item::Row(row) => Ok((row, true)),
        Item::Fragment { bytes, last, .. } => Ok((bytes, last)),
        _ => Err(Error::internal("something else stands among the rows")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_warning_that_names_another_column_is_of_a_value_that_nobody_sent() {
        let ctx = Ctx::new();
        let columns = [Column::new("a", "int"), Column::new("f", "float")];
        let kinds = [Kind::Plain, Kind::Float];
        let target = Target {
            ctx: &ctx,
            table: "t",
            columns: &columns,
            kinds: &kinds,
            generated_places: &[],
            has_infile: true,
        };
        let of_another = |number: &str, message| target.subject(number.as_bytes(), message) == Subject::Other;
        assert!(of_another("1264", "Out of range value for column 'g' at row 1"));
        assert!(of_another("1366", "Incorrect integer value: 'x' for column `db`.`t`.`g` at row 1"));
        assert!(of_another("1292", "Truncated incorrect DOUBLE value: 'x'"));
        assert!(of_another("1365", "Division by 0"));
        assert!(!of_another("1264", "Out of range value for column 'a' at row 1"));
        assert!(!of_another("1366", "Incorrect integer value: 'x' for column `db`.`t`.`a` at row 1"));
        assert!(!of_another("1265", "Data truncated for column 'f' at row 1"));
        assert!(!of_another("1292", "Incorrect date value: 'x' for column `db`.`t`.`a` at row 1"));
        // In another language, or of another kind.
        assert!(!of_another("1265", "Daten abgeschnitten für Feld 'a' in Zeile 1"));
        assert!(!of_another("1062", "Duplicate entry '1' for key 'g'"));
        assert!(of_another("1048", "Column 'g' cannot be null"));
        assert!(!of_another("1048", "Column 'A' cannot be null"));
        let subject = |number: &str, message| target.subject(number.as_bytes(), message);
        assert_eq!(subject("3020", "Invalid argument for logarithm"), Subject::Computed);
        assert_eq!(subject("3156", "Invalid value for column 'a' at row 1"), Subject::Sent);
        assert_eq!(subject("1690", "BIGINT UNSIGNED value is out of range in '(a - b)'"), Subject::Sent);
    }
}
