//! Stored columns and CHECKs that depend on the time zone of who wrote a row. The server computes and checks them anew when the row comes back; so it
//! is read and written in a zone in which they are what they were. Only zones of a fixed offset tell any two times apart.

use backup_core::{Ctx, Result};

use super::Reading;
use super::table::Table;
use super::{empty, uncounted};
use crate::connect::Connection;
use crate::ddl::create::CreateTable;
use crate::ddl::lex::{Token, tokens};
use crate::ddl::quote::identifier;
use crate::ddl::{UTC, in_zone};
use crate::error::{code, is_broken_off};

/// Offsets from UTC that are, or were, in use, and that every server takes.
const OFFSETS: [&str; 36] = [
    "+01:00", "+02:00", "+03:00", "+04:00", "+05:00", "+06:00", "+07:00", "+08:00", "+09:00", "+10:00",
    "+11:00", "+12:00", "+13:00", "-01:00", "-02:00", "-03:00", "-04:00", "-05:00", "-06:00", "-07:00",
    "-08:00", "-09:00", "-10:00", "-11:00", "-12:00", "+03:30", "+04:30", "+05:30", "+05:45", "+06:30",
    "+08:45", "+09:30", "+10:30", "+12:45", "-03:30", "-09:30",
];
/// Functions whose results depend on the time zone, or on how the session says names and numbers.
const OF_SESSIONS: [&str; 9] = [
    "from_unixtime",
    "unix_timestamp",
    "dayname",
    "monthname",
    "date_format",
    "time_format",
    "str_to_date",
    "format",
    "convert_tz",
];
/// How many rows are looked at first.
const SAMPLE: u32 = 1000;
/// In how many zones all rows are looked at.
const WHOLE: usize = 4;

/// What the rows of a table want when they come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// The zone that they are read and written in, if it is not UTC.
    pub(super) offset: Option<&'static str>,
    /// CHECKs that they violate in any zone, though these are enforced: MySQL would not take them.
    pub(super) unenforced: Vec<String>,
}

/// Something that is to hold for each row.
struct Condition {
    sql: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A stored column is what the server would compute, by its name.
    Stored(String),
    /// A CHECK holds, by its name.
    Check(String),
}

/// Looks for the zone of a table's rows, and tells what holds in none. `has_expressions` says of MySQL that the table may have CHECKs, or keys of expressions.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    has_expressions: bool,
) -> Result<Zone> {
    // MariaDB looks at no CHECK when a whole table comes back, and has no expressions in keys.
    let has_expressions = has_expressions && !connection.version.is_mariadb;
    if table.computed.is_empty() && table.computed_virtually.is_empty() && !has_expressions {
        return Ok(Zone::default());
    }
    let row = connection.row(ctx, &format!("SHOW CREATE TABLE {}", identifier(&table.name))).await?;
    let mut row = Reading::new(row);
    row.text()?;
    let create = row.text()?;
    let create = CreateTable::parse(&create)?;
    let mut conditions = stored(&create, table);
    if has_expressions {
        conditions.extend(checks(&create, table));
    }
    if conditions.is_empty() {
        tell_of_keys(ctx, &create, table, None);
        return Ok(Zone::default());
    }
    let offset = match choose(ctx, connection, table, &conditions).await {
        // The server cannot compare them, as nobody has said that it can.
        Err(error) if code(&error).is_some() && !is_broken_off(&error) => None,
        chosen => chosen?,
    };
    let mut zone = Zone { offset: offset.filter(|offset| *offset != UTC), unenforced: Vec::new() };
    if offset.is_none() {
        for condition in &conditions {
            let holds = fits(ctx, connection, UTC, &table.from(), &[condition]).await;
            match holds {
                Err(error) if code(&error).is_none() || is_broken_off(&error) => {
                    return Err(error);
                }
                Ok(true) => continue,
                _ => {}
            }
            let table = table.name.escape_debug();
            match &condition.what {
                What::Stored(column) => ctx.warn(format!(
                    "column {} of table {table} holds values that depend on the sessions that stored them: they come back as a session of UTC would store them",
                    column.escape_debug()
                )),
                What::Check(name) => {
                    ctx.warn(format!(
                        "constraint {} of table {table} depends on the time zone of who writes a row, and in none do all rows keep to it: it comes back NOT ENFORCED",
                        name.escape_debug()
                    ));
                    zone.unenforced.push(name.clone());
                }
            }
        }
    }
    tell_of_keys(ctx, &create, table, zone.offset);
    connection.execute(ctx, &in_zone(UTC)).await?;
    Ok(zone)
}

/// The first zone in which all of it holds; nothing if there is none.
async fn choose(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    conditions: &[Condition],
) -> Result<Option<&'static str>> {
    let all: Vec<_> = conditions.iter().collect();
    if fits(ctx, connection, UTC, &table.from(), &all).await? {
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
        if fits(ctx, connection, offset, &some, &all).await? {
            wholly += 1;
            if fits(ctx, connection, offset, &table.from(), &all).await? {
                return Ok(Some(offset));
            }
        }
    }
    Ok(None)
}

/// The zone of the server, as its offset now.
async fn own(ctx: &Ctx, connection: &mut Connection) -> Result<Option<&'static str>> {
    connection.execute(ctx, "SET SESSION time_zone = @@GLOBAL.time_zone").await?;
    let row = connection.row(ctx, "SELECT TIME_FORMAT(TIMEDIFF(NOW(), UTC_TIMESTAMP()), '%H:%i')").await?;
    let said = Reading::new(row).text()?;
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

/// Whether an expression may depend on the session.
pub(super) fn depends(expression: &str, dependent: &[String]) -> bool {
    names_session(expression, dependent) || divides(expression)
}

/// Whether it may by what it names: these columns, or a function.
pub(super) fn names_session(expression: &str, dependent: &[String]) -> bool {
    tokens(expression).any(|token| match token {
        Token::Name(_) => token.name().is_some_and(|name| dependent.contains(&name)),
        Token::Word(word) => OF_SESSIONS.iter().any(|one| word.eq_ignore_ascii_case(one)),
        _ => false,
    })
}

/// A quotient has as many digits as the session says.
fn divides(expression: &str) -> bool {
    let all: Vec<_> = tokens(expression).collect();
    let is_star = |token: Option<&Token<'_>>| token == Some(&Token::Other("*"));
    all.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).and_then(|before| all.get(before));
        *token == Token::Other("/") && !is_star(all.get(at + 1)) && !is_star(before)
    })
}

fn stored(create: &CreateTable<'_>, table: &Table) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, expression) in create.generated() {
        let Some(declared) = table.computed.get(&name) else { continue };
        let (own, computed) = (identifier(&name), as_declared(&expression, declared));
        let stored = if computed.ends_with(" AS CHAR)") { format!("CAST({own} AS CHAR)") } else { own };
        conditions.push(Condition { sql: format!("{stored} <=> {computed}"), what: What::Stored(name) });
    }
    conditions
}

fn checks(create: &CreateTable<'_>, table: &Table) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, expression) in create.enforced_checks() {
        if depends(&expression, &table.dependent) {
            conditions
                .push(Condition { sql: format!("({expression}) IS NOT FALSE"), what: What::Check(name) });
        }
    }
    conditions
}

/// Tells of keys whose entries no query reads as they are: they are those of who wrote the rows, and come back as those of a session of this zone.
fn tell_of_keys(ctx: &Ctx, create: &CreateTable<'_>, table: &Table, offset: Option<&str>) {
    for key in create.indexes() {
        let is_virtual = key.columns.iter().any(|column| table.computed_virtually.contains(column));
        if is_virtual || names_session(&key.expressions, &table.dependent) {
            ctx.warn(format!(
                "key {} of table {} is of values that depend on the sessions that stored rows: it comes back as a session of {} would make it, and takes no row that is then like another, if it is unique",
                key.name.escape_debug(),
                table.name.escape_debug(),
                offset.unwrap_or("UTC")
            ));
        }
    }
}

/// An expression as a value of a column that is declared so; of types that nothing is cast to, as a text.
fn as_declared(expression: &str, declared: &str) -> String {
    let declared = declared.to_ascii_lowercase();
    let of = |kinds: &[&str]| kinds.iter().any(|kind| declared.starts_with(kind));
    let plain = declared.split_once(')').map_or(declared.as_str(), |(before, _)| before);
    let plain = if plain.contains('(') { format!("{plain})") } else { plain.to_owned() };
    let cast = if of(&["date", "time", "decimal"]) {
        plain.replace("timestamp", "datetime")
    } else if of(&["tinyint", "smallint", "mediumint", "int", "bigint"]) {
        if declared.contains("unsigned") { "UNSIGNED" } else { "SIGNED" }.to_owned()
    } else if of(&["double"]) {
        "DOUBLE".to_owned()
    } else {
        "CHAR".to_owned()
    };
    format!("CAST(({expression}) AS {cast})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_session_is_known() {
        let timestamps = ["ts".to_owned()];
        for (expression, is_it) in [
            ("cast(`ts` as date)", true),
            ("cast(`other` as date)", false),
            ("from_unixtime(`a`)", true),
            ("`a` / `b`", true),
            ("`other` > TIMESTAMP/*WITH LOCAL TIME ZONE*/'2020-01-01'", false),
            ("concat(`a`,'`ts` / x')", false),
        ] {
            assert_eq!(depends(expression, &timestamps), is_it, "{expression}");
        }
    }

    #[test]
    fn an_expression_is_cast_to_the_type_of_its_column() {
        for (declared, cast) in [
            ("date", "date"),
            ("timestamp(6)", "datetime(6)"),
            ("decimal(20,10) unsigned zerofill", "decimal(20,10)"),
            ("int(10) unsigned", "UNSIGNED"),
            ("varchar(30)", "CHAR"),
        ] {
            assert_eq!(as_declared("e", declared), format!("CAST((e) AS {cast})"));
        }
    }
}
