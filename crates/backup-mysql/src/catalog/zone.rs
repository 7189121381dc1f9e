//! Stored columns and CHECKs that depend on the session of who wrote a row. The server computes and checks them anew when the row comes back; so it
//! is read and written in a time zone in which they are what they were, if there is one. Only zones of a fixed offset tell any two times apart.

use backup_core::{Ctx, Result};

use super::Reading;
use super::expression::{depends, names_session, subtracts};
use super::table::{Computed, Table};
use super::{below_zero, create_table, empty, uncounted};
use crate::connect::Connection;
use crate::ddl::create::CreateTable;
use crate::ddl::quote::identifier;
use crate::ddl::{SUBTRACTING, UTC, in_zone};
use crate::error::{code, is_broken_off};

/// Offsets from UTC that are, or were, in use, and that every server takes.
const OFFSETS: [&str; 36] = [
    "+01:00", "+02:00", "+03:00", "+04:00", "+05:00", "+06:00", "+07:00", "+08:00", "+09:00", "+10:00",
    "+11:00", "+12:00", "+13:00", "-01:00", "-02:00", "-03:00", "-04:00", "-05:00", "-06:00", "-07:00",
    "-08:00", "-09:00", "-10:00", "-11:00", "-12:00", "+03:30", "+04:30", "+05:30", "+05:45", "+06:30",
    "+08:45", "+09:30", "+10:30", "+12:45", "-03:30", "-09:30",
];
/// How many rows are looked at first.
const SAMPLE: u32 = 1000;
/// In how many zones all rows are looked at.
const WHOLE: usize = 4;
/// As rows are written: see [`crate::ddl::PLAIN`].
const WRITING: &str = "SET @reading = @@SESSION.sql_mode, SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',ALLOW_INVALID_DATES')";
/// A day on which no row was written: one of 2038.
const OTHER_DAY: &str = "2145916800";
/// A difference of unsigned numbers that is below zero is no number.
const OUT_OF_RANGE: u16 = 1690;

/// What the rows of a table want when they come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// The zone that they are read and written in, if it is not UTC.
    pub(super) offset: Option<&'static str>,
    /// CHECKs that they violate in any zone, though these are enforced: MySQL would not take them.
    pub(super) unenforced: Vec<String>,
    /// Something is computed of them that only the mode NO_UNSIGNED_SUBTRACTION makes a number.
    pub(super) subtracts: bool,
}

/// Something that is to hold for each row.
struct Condition {
    sql: String,
    what: What,
    /// Some time zone may be the one in which it holds.
    is_zoned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A stored column is what the server would compute, by its name.
    Stored(String),
    /// A CHECK holds, by its name.
    Check(String),
    /// Something else can be computed: nothing says what it was.
    Value,
}

/// What a table wants that comes back without rows.
pub(super) async fn without_rows(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<Zone> {
    let create = match table.is_partitioned {
        true => create_table(ctx, connection, &table.name).await?,
        false => return Ok(Zone::default()),
    };
    Ok(Zone { subtracts: below_zero::is_one(&CreateTable::parse(&create)?), ..Zone::default() })
}

/// Looks for the zone of a table's rows, and tells what holds in none. `has_expressions` says of MySQL that the table may have CHECKs, or keys of expressions.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    has_expressions: bool,
) -> Result<Zone> {
    // MariaDB looks at no CHECK when a whole table comes back, and has no expressions in keys.
    let is_mysql = !connection.version.is_mariadb;
    let has_expressions = has_expressions && is_mysql;
    let may_subtract = is_mysql && table.subtracts || table.is_partitioned;
    if table.computed.is_empty() && table.computed_virtually.is_empty() && !has_expressions && !may_subtract {
        return Ok(Zone::default());
    }
    let create = create_table(ctx, connection, &table.name).await?;
    let create = CreateTable::parse(&create)?;
    let mut conditions = stored(&create, table);
    if has_expressions {
        conditions.extend(checks(&create, table));
    }
    if is_mysql {
        conditions.extend(values(&create, table));
    }
    let mut zone = Zone { subtracts: below_zero::is_one(&create), ..Zone::default() };
    if !conditions.is_empty() {
        connection.execute(ctx, WRITING).await?;
        on_day(ctx, connection, OTHER_DAY).await?;
        if table.subtracts && !is_mysql {
            connection.execute(ctx, SUBTRACTING).await?;
        }
        settle(ctx, connection, table, &conditions, &mut zone).await?;
        on_day(ctx, connection, "DEFAULT").await?;
        connection.execute(ctx, "SET SESSION sql_mode = @reading").await?;
        connection.execute(ctx, &in_zone(UTC)).await?;
    }
    tell_of_keys(ctx, &create, table, zone.offset);
    Ok(zone)
}

/// What the rows want so that all of it holds; tells of what does not.
async fn settle(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    conditions: &[Condition],
    zone: &mut Zone,
) -> Result<()> {
    let all: Vec<_> = conditions.iter().collect();
    let mut holds = fits(ctx, connection, UTC, &table.from(), &all).await;
    if holds.as_ref().is_err_and(|error| code(error) == Some(OUT_OF_RANGE)) && !connection.version.is_mariadb
    {
        connection.execute(ctx, SUBTRACTING).await?;
        zone.subtracts = true;
        holds = fits(ctx, connection, UTC, &table.from(), &all).await;
    }
    if known(holds)?.unwrap_or_default() {
        return Ok(());
    }
    let (zoned, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|condition| condition.is_zoned);
    // The server may not be able to compare them: nobody has said that it can.
    let offset = known(choose(ctx, connection, table, &zoned).await)?.flatten();
    zone.offset = offset.filter(|offset| *offset != UTC);
    let unsettled = if offset.is_none() { zoned } else { Vec::new() };
    let offset = offset.unwrap_or(UTC);
    for condition in unsettled.into_iter().chain(others) {
        let holds = known(fits(ctx, connection, offset, &table.from(), &[condition]).await)?;
        if holds.unwrap_or(!condition.is_zoned) {
            continue;
        }
        let table = table.name.escape_debug();
        match &condition.what {
            What::Value => {}
            What::Stored(column) => ctx.warn(format!(
                "column {} of table {table} holds values that depend on the sessions that stored them: they come back as a session of {offset} stores them on the day of the restore",
                column.escape_debug()
            )),
            What::Check(name) => {
                ctx.warn(format!(
                    "constraint {} of table {table} does not hold for all rows, whatever the time zone of who writes them: it comes back NOT ENFORCED",
                    name.escape_debug()
                ));
                zone.unenforced.push(name.clone());
            }
        }
    }
    Ok(())
}

/// What the server answered, if it could answer.
fn known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if code(&error).is_some() && !is_broken_off(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Lets it be another day for the session, where the server lets it be.
async fn on_day(ctx: &Ctx, connection: &mut Connection, day: &str) -> Result<()> {
    known(connection.execute(ctx, &format!("SET SESSION timestamp = {day}")).await).map(|_| ())
}

/// The first zone in which all of it holds; nothing if there is none.
async fn choose(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    conditions: &[&Condition],
) -> Result<Option<&'static str>> {
    if conditions.is_empty() || fits(ctx, connection, UTC, &table.from(), conditions).await? {
        return Ok(Some(UTC));
    }
    // Versions of rows are read in other ways too, and what comes back as statements is written in UTC.
    if table.versioned
        || uncounted::of(ctx, connection, table).await?.is_some()
        || empty::of(ctx, connection, table).await?.is_some()
    {
        return Ok(None);
    }
    let names: Vec<_> = table.names.iter().map(|name| identifier(name)).collect();
    let some = format!("(SELECT {} FROM {} LIMIT {SAMPLE}) sample", names.join(","), table.from());
    let mut wholly = 0;
    for offset in own(ctx, connection).await?.into_iter().chain(OFFSETS) {
        if wholly == WHOLE {
            break;
        }
        if fits(ctx, connection, offset, &some, conditions).await? {
            wholly += 1;
            if fits(ctx, connection, offset, &table.from(), conditions).await? {
                return Ok(Some(offset));
            }
        }
    }
    Ok(None)
}

/// The zone of the server, as its offset now.
async fn own(ctx: &Ctx, connection: &mut Connection) -> Result<Option<&'static str>> {
    connection.execute(ctx, "SET SESSION time_zone = @@GLOBAL.time_zone").await?;
    on_day(ctx, connection, "DEFAULT").await?;
    let row = connection.row(ctx, "SELECT TIME_FORMAT(TIMEDIFF(NOW(), UTC_TIMESTAMP()), '%H:%i')").await?;
    let said = Reading::new(row).text()?;
    on_day(ctx, connection, OTHER_DAY).await?;
    let said = if said.starts_with('-') { said } else { format!("+{said}") };
    Ok(OFFSETS.into_iter().find(|offset| *offset == said))
}

/// Whether all rows are as they should be in this zone.
async fn fits(
    ctx: &Ctx,
    connection: &mut Connection,
    offset: &str,
    from: &str,
    conditions: &[&Condition],
) -> Result<bool> {
    connection.execute(ctx, &in_zone(offset)).await?;
    let conditions: Vec<_> = conditions.iter().map(|condition| format!("NOT ({})", condition.sql)).collect();
    let sql = format!("SELECT 1 FROM {from} WHERE {} LIMIT 1", conditions.join(" OR "));
    Ok(connection.rows(ctx, &sql).await?.is_empty())
}

fn stored(create: &CreateTable<'_>, table: &Table) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, expression) in create.generated() {
        let Some(Computed { declared, is_zoned }) = table.computed.get(&name) else { continue };
        let (own, cast) = (identifier(&name), cast(declared));
        let own = match cast.starts_with("CHAR") || cast.starts_with("BINARY") {
            true => format!("CAST({own} AS {cast})"),
            false => own,
        };
        let sql = format!("{own} <=> CAST(({expression}) AS {cast})");
        conditions.push(Condition { sql, what: What::Stored(name), is_zoned: *is_zoned });
    }
    conditions
}

fn checks(create: &CreateTable<'_>, table: &Table) -> Vec<Condition> {
    let checks = create.enforced_checks().into_iter();
    let check = |(name, expression): (String, String)| Condition {
        is_zoned: depends(&expression, &table.dependent),
        sql: format!("({expression}) IS NOT FALSE"),
        what: What::Check(name),
    };
    checks.map(check).collect()
}

/// Differences that are computed of a row and not stored: of columns, keys and partitions.
fn values(create: &CreateTable<'_>, table: &Table) -> Vec<Condition> {
    let columns = create.generated().into_iter();
    let columns = columns.filter(|(name, _)| !table.computed.contains_key(name)).map(|(_, value)| value);
    let keys = create.indexes().into_iter().flat_map(|index| index.expressions);
    let differences = columns.chain(keys).chain(create.partitioned_by()).filter(|value| subtracts(value));
    let value = |value: String| Condition {
        sql: format!("COALESCE(LENGTH(({value})), 0) >= 0"),
        what: What::Value,
        is_zoned: false,
    };
    differences.map(value).collect()
}

/// Tells of keys whose entries no query reads as they are: they are those of who wrote the rows, and come back as those of a session of this zone.
fn tell_of_keys(ctx: &Ctx, create: &CreateTable<'_>, table: &Table, offset: Option<&str>) {
    for key in create.indexes() {
        let is_virtual = key.columns.iter().any(|column| table.computed_virtually.contains(column));
        let mut expressions = key.expressions.iter();
        if is_virtual || expressions.any(|expression| names_session(expression, &table.dependent)) {
            ctx.warn(format!(
                "key {} of table {} is of values that depend on the sessions that stored rows: it comes back as a session of {} would make it, and takes no row that is then like another, if it is unique",
                key.name.escape_debug(),
                table.name.escape_debug(),
                offset.unwrap_or("UTC")
            ));
        }
    }
}

/// What an expression is cast to as a value of a column that is declared so; if nothing is cast to its type, a text.
fn cast(declared: &str) -> String {
    let declared = declared.to_ascii_lowercase();
    let of = |kinds: &[&str]| kinds.iter().any(|kind| declared.starts_with(kind));
    let plain = declared.split_once(')').map_or(declared.as_str(), |(before, _)| before);
    let plain = if plain.contains('(') { format!("{plain})") } else { plain.to_owned() };
    if of(&["date", "time", "decimal"]) {
        plain.replace("timestamp", "datetime")
    } else if of(&["year", "tinyint", "smallint", "mediumint", "int", "bigint"]) {
        if declared.contains("unsigned") || of(&["year"]) { "UNSIGNED" } else { "SIGNED" }.to_owned()
    } else if of(&["double"]) {
        "DOUBLE".to_owned()
    } else if of(&["binary"]) {
        plain.to_ascii_uppercase()
    } else if declared.contains("binary") || declared.contains("blob") {
        "BINARY".to_owned()
    } else if of(&["char", "varchar"]) {
        plain.replace("varchar", "char").to_ascii_uppercase()
    } else {
        "CHAR".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_expression_is_cast_to_the_type_of_its_column() {
        for (declared, cast) in [
            ("date", "date"),
            ("timestamp(6)", "datetime(6)"),
            ("decimal(20,10) unsigned zerofill", "decimal(20,10)"),
            ("int(10) unsigned", "UNSIGNED"),
            ("varchar(30)", "CHAR(30)"),
            ("varbinary(30)", "BINARY"),
            ("binary(3)", "BINARY(3)"),
            ("longtext", "CHAR"),
        ] {
            assert_eq!(super::cast(declared), cast);
        }
    }
}
