//! The statements that make the objects of a database, as the server prints them.

mod accounts;
mod mixed;

use std::collections::BTreeMap;

use backup_core::{Ctx, Error, Object, Result};

use crate::backup::Reader;
use crate::catalog::context::Context;
use crate::catalog::histograms;
use crate::catalog::reference;
use crate::catalog::spec::SqlSpec;
use crate::catalog::statistics;
use crate::catalog::trigger;
use crate::catalog::{Reading, shown_table};
use crate::connect::Connection;
use crate::ddl::create::late::{may_hide_encryption, with_unencrypted_partitions};
use crate::ddl::create::places::{has_places, with_reference_systems};
use crate::ddl::create::{CreateTable, counting_by_rows, referred, refers, unqualified};
use crate::ddl::quote::{identifier, text};
use crate::ddl::raw;
use crate::ddl::routine::{may_be_in_another_language, with_quoted_language, without_database_of_libraries};
use crate::ddl::view::{has_nameless_column, in_any_database, names_database, with_columns};
use crate::ddl::{ENCRYPTED, READ_ONLY, UTF8};
use crate::error::{code, malformed};

/// The statements of an SQL part: in the character set of the session that its object was made in, if that matters, and else in UTF-8.
pub(crate) async fn of(
    ctx: &Ctx,
    reader: &mut Reader,
    database: &str,
    object: &Object,
    spec: &SqlSpec,
) -> Result<Vec<Vec<u8>>> {
    if let SqlSpec::Momentary(momentary) = spec {
        return momentary.statements(ctx, reader.speak(ctx, true).await?, &object.name).await;
    }
    if let SqlSpec::Empty(empty) = spec {
        return empty.statements(ctx, reader.speak(ctx, true).await?).await;
    }
    if let SqlSpec::Uncounted(uncounted) = spec {
        let create = table(ctx, reader, database, &object.name).await?;
        let connection = reader.speak(ctx, true).await?;
        return uncounted.statements(ctx, connection, &object.name, &create).await;
    }
    let Some(context) = spec.context() else {
        let statements = of_tables(ctx, reader, database, object, spec).await?;
        return Ok(statements.into_iter().map(String::into_bytes).collect());
    };
    let name = identifier(&object.name);
    let raw = match spec {
        SqlSpec::Routine { routine, lost, .. } => {
            let raw =
                show(ctx, reader.speak(ctx, true).await?, &format!("{} {name}", routine.word()), 2).await?;
            let raw = mixed::routine(ctx, reader.speak(ctx, false).await?, raw, object, context).await?;
            let raw = without_database_of_libraries(raw, database);
            let raw = in_its_language(ctx, reader.speak(ctx, false).await?, raw, object).await?;
            return Ok(lost.around(raw));
        }
        SqlSpec::Event { .. } => {
            let raw = show(ctx, reader.speak(ctx, true).await?, &format!("EVENT {name}"), 3).await?;
            mixed::event(ctx, reader.speak(ctx, false).await?, raw, object, context).await?
        }
        SqlSpec::Trigger { missing, versioned, .. } => {
            let of = object.table.as_deref().ok_or_else(|| Error::internal("a trigger without a table"))?;
            let trigger = show(ctx, reader.speak(ctx, true).await?, &format!("TRIGGER {name}"), 2).await?;
            let connection = reader.speak(ctx, false).await?;
            let trigger = mixed::trigger(ctx, connection, trigger, object, context).await?;
            let Some((before, behind)) = trigger::around(of, missing, *versioned) else {
                return Ok(vec![trigger]);
            };
            let before = mixed::encoded(ctx, connection, before.as_bytes(), context).await?;
            let behind = mixed::encoded(ctx, connection, behind.as_bytes(), context).await?;
            return Ok(vec![before, trigger, behind]);
        }
        _ => return views(ctx, reader, database, object, spec, context).await,
    };
    Ok(vec![raw])
}

/// The statement of a routine or library with the name of its language in quotes, if it is in one that may need them.
async fn in_its_language(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    object: &Object,
) -> Result<Vec<u8>> {
    if !connection.version.has_libraries() || !may_be_in_another_language(&raw) {
        return Ok(raw);
    }
    let (name, kind) = (text(&object.name), text(&object.kind.to_uppercase()));
    let sql = format!(
        "SELECT EXTERNAL_LANGUAGE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = {name} \
         AND ROUTINE_TYPE = {kind} AND ROUTINE_BODY = 'EXTERNAL' UNION ALL SELECT LANGUAGE FROM information_schema.LIBRARIES \
         WHERE LIBRARY_SCHEMA = DATABASE() AND LIBRARY_NAME = {name} AND {kind} = 'LIBRARY'"
    );
    match connection.rows(ctx, &sql).await?.into_iter().next() {
        Some(language) => Ok(with_quoted_language(raw, &Reading::new(language).text()?)),
        None => Ok(raw),
    }
}

/// The statements of a view.
async fn views(
    ctx: &Ctx,
    reader: &mut Reader,
    database: &str,
    object: &Object,
    spec: &SqlSpec,
    context: &Context,
) -> Result<Vec<Vec<u8>>> {
    let SqlSpec::View { invalid, stand_ins, .. } = spec else {
        return Err(Error::internal("something else is taken for a view"));
    };
    let (name, is_invalid) = (identifier(&object.name), *invalid);
    if context.is_utf8() && !is_invalid {
        let raw = view(ctx, reader.speak(ctx, true).await?, &name, context).await?;
        // A text of another character set in it may be no UTF-8.
        if std::str::from_utf8(&raw).is_err() {
            return Ok(vec![raw]);
        }
    }
    let connection = reader.speak(ctx, false).await?;
    let shown = view(ctx, connection, &name, context).await;
    let sql = match shown {
        Err(error) if is_invalid && code(&error).is_some() => {
            remembered(ctx, connection, &object.name).await?.ok_or(error)?
        }
        shown => {
            let sql = raw::to_text(shown?)?;
            // Of one that is invalid MariaDB prints what it makes of it now: for ORDER BY 1, an empty text.
            let is_told = is_invalid && connection.version.is_mariadb && sql.is_ascii();
            let other = if is_told { remembered(ctx, connection, &object.name).await? } else { None };
            other.unwrap_or(sql)
        }
    };
    // Of columns that are not there the database is said, whatever is said of tables.
    let sql = if is_invalid { unqualified(&sql, database) } else { in_any_database(&sql, database) };
    if !is_invalid && names_database(&sql, database) {
        ctx.warn(format!(
            "view {} reads from several databases and names this one: restored under another name it still reads from {}",
            object.name.escape_debug(),
            database.escape_debug()
        ));
    }
    let sql = match has_nameless_column(&sql) {
        true => with_columns(&sql, &columns(ctx, connection, &object.name).await?),
        false => sql,
    };
    let statements = stand_ins.around(sql);
    let mut encoded = Vec::with_capacity(statements.len());
    for sql in statements {
        encoded.push(mixed::encoded(ctx, connection, sql.as_bytes(), context).await?);
    }
    Ok(encoded)
}

/// The statements of what was made in no session of its own.
async fn of_tables(
    ctx: &Ctx,
    reader: &mut Reader,
    database: &str,
    object: &Object,
    spec: &SqlSpec,
) -> Result<Vec<String>> {
    let name = identifier(&object.name);
    let of_table = || object.table.as_deref().ok_or_else(|| Error::internal("a key without a table"));
    let statement = match spec {
        SqlSpec::Database => return settings(ctx, reader.speak(ctx, false).await?, database).await,
        SqlSpec::Sequence => {
            let sql = show(ctx, reader.speak(ctx, true).await?, &format!("SEQUENCE {name}"), 1).await?;
            let sql = unqualified(&raw::to_text(sql)?, database);
            // What is said of it as a sequence is not all.
            let sql_of_table = table(ctx, reader, database, &object.name).await?;
            let table = CreateTable::parse(&sql_of_table)?;
            if table.is_no_usual_sequence() {
                let value = sequence_value(ctx, reader.speak(ctx, false).await?, &name, true).await?;
                return Ok(vec![sql_of_table, value]);
            }
            let format = table.option("ROW_FORMAT").map(str::to_owned);
            let format = format.map(|format| format!("ALTER TABLE {name} ROW_FORMAT={format}"));
            return Ok(std::iter::once(sql).chain(format).collect());
        }
        SqlSpec::LostSequence { is_over, database } => return Ok(lost_sequence(&name, *is_over, database)),
        SqlSpec::DiscardedSequence => format!("CREATE SEQUENCE {name}"),
        SqlSpec::SequenceValue => sequence_value(ctx, reader.speak(ctx, false).await?, &name, false).await?,
        SqlSpec::Table { keys_later, foreign_keys, counts_by_rows, unenforced, subtracts: _ } => {
            let mut sql = table(ctx, reader, database, &object.name).await?;
            if *counts_by_rows {
                sql = counting_by_rows(&sql);
            }
            if !unenforced.is_empty() {
                sql = CreateTable::parse(&sql)?.with_unenforced(unenforced);
            }
            if may_hide_encryption(&sql) && !encrypts(ctx, reader.speak(ctx, false).await?).await? {
                sql = with_unencrypted_partitions(&sql);
            }
            let is_mariadb = reader.version().is_mariadb;
            if is_mariadb && has_places(&sql) {
                let numbers = reference_systems(ctx, reader.speak(ctx, false).await?, &object.name).await?;
                sql = with_reference_systems(&sql, &numbers)?;
            }
            let table = CreateTable::parse(&sql)?;
            let mut statements = table.statements(is_mariadb, *keys_later, foreign_keys);
            if !is_mariadb {
                statements.extend(table.forget());
            }
            if table.option("ENGINE") == Some("MEMORY") {
                let room = memory(ctx, reader.speak(ctx, false).await?, &object.name).await?;
                let most = "SET SESSION max_heap_table_size =";
                statements
                    .insert(0, format!("{most} CAST(GREATEST(@@max_heap_table_size, {room}) AS UNSIGNED)"));
                statements.push(format!("{most} DEFAULT"));
            }
            return Ok(statements);
        }
        SqlSpec::Keys => {
            let of = of_table()?;
            let sql = table(ctx, reader, database, of).await?;
            let table = CreateTable::parse(&sql)?;
            let alter = |keys: &[&str]| {
                let keys: Vec<_> = keys.iter().map(|key| format!("ADD {key}")).collect();
                (!keys.is_empty()).then(|| format!("ALTER TABLE {} {}", identifier(of), keys.join(", ")))
            };
            let full_text = table.numbered_full_text();
            let full_text = full_text.iter().filter_map(|key| alter(&[key]));
            return Ok(alter(&table.later_keys()).into_iter().chain(full_text).collect());
        }
        SqlSpec::Aside { aside } => {
            let aside = identifier(aside);
            let like = format!("CREATE TABLE {aside} LIKE {name}");
            // An earlier restore that was killed may have left it.
            let forget = format!("DROP TABLE IF EXISTS {aside}");
            return Ok(vec![forget, like, format!("ALTER TABLE {aside} REMOVE PARTITIONING")]);
        }
        SqlSpec::Exchange { aside, partition } => {
            let (aside, partition) = (identifier(aside), identifier(partition));
            let exchange = format!(
                "ALTER TABLE {name} EXCHANGE PARTITION {partition} WITH TABLE {aside} WITHOUT VALIDATION"
            );
            return Ok(vec![exchange, format!("DROP TABLE {aside}")]);
        }
        SqlSpec::Momentary(_) | SqlSpec::Uncounted(_) | SqlSpec::Empty(_) => {
            return Err(Error::internal("rows are taken for a definition"));
        }
        SqlSpec::Histograms => {
            let connection = reader.speak(ctx, false).await?;
            return histograms::statements(ctx, connection, database, of_table()?).await;
        }
        SqlSpec::Statistics => {
            let connection = reader.speak(ctx, false).await?;
            return statistics::statements(ctx, connection, database, of_table()?).await;
        }
        SqlSpec::ReferenceSystem => {
            reference::statement(ctx, reader.speak(ctx, false).await?, &object.name).await?
        }
        SqlSpec::ReadOnly => READ_ONLY.to_owned(),
        SqlSpec::DisableKeys => format!("ALTER TABLE {} DISABLE KEYS", identifier(of_table()?)),
        SqlSpec::Discard => format!("ALTER TABLE {} DISCARD TABLESPACE", identifier(of_table()?)),
        SqlSpec::ForeignKey => {
            let of = of_table()?;
            let sql = table(ctx, reader, database, of).await?;
            let table = CreateTable::parse(&sql)?;
            let key = table.foreign_keys().into_iter().find(|(key, _)| *key == object.name);
            let (_, key) = key.ok_or_else(|| gone(object))?;
            let (mut before, mut behind) = (Vec::new(), Vec::new());
            // A key that a foreign one needs may have been dropped since. The table that it refers to gets one for the moment.
            let refers = refers(key);
            let mut lacks_key = table.lacks_key_of(&refers);
            if let Some((to, columns)) = referred(key)
                && exists(ctx, reader.speak(ctx, false).await?, &to).await?
            {
                let parent = self::table(ctx, reader, database, &to).await?;
                if CreateTable::parse(&parent)?.lacks_key_of(&columns) {
                    lacks_key &= to != of || columns != refers;
                    let columns: Vec<_> = columns.iter().map(|column| identifier(column)).collect();
                    let (to, columns) = (identifier(&to), columns.join(","));
                    let own: String = format!("lifeboat_{}", object.name).chars().take(64).collect();
                    let own = identifier(&own);
                    before.push(format!("ALTER TABLE {to} ADD KEY {own} ({columns})"));
                    behind.push(format!("ALTER TABLE {to} DROP KEY {own}"));
                }
            }
            before.push(format!("ALTER TABLE {} ADD {key}", identifier(of)));
            // And the server makes one for the table itself.
            if lacks_key {
                behind.push(format!("ALTER TABLE {} DROP KEY {name}", identifier(of)));
            }
            before.extend(behind);
            return Ok(before);
        }
        SqlSpec::Account { account } => {
            return accounts::create(ctx, reader.speak(ctx, false).await?, account).await;
        }
        SqlSpec::Grants { account } => {
            return accounts::grants(ctx, reader.speak(ctx, false).await?, account).await;
        }
        SqlSpec::Routine { .. } | SqlSpec::View { .. } | SqlSpec::Trigger { .. } | SqlSpec::Event { .. } => {
            return Err(Error::internal("a program is taken for a table"));
        }
    };
    Ok(vec![statement])
}

/// The statements that make a sequence for the moment, or forget it.
fn lost_sequence(name: &str, is_over: bool, database: &Option<String>) -> Vec<String> {
    let database = database.as_deref().map(identifier);
    let within = database.as_ref().map_or_else(|| name.to_owned(), |database| format!("{database}.{name}"));
    let word = if is_over { "DROP" } else { "CREATE" };
    let of_database = database.map(|database| format!("{word} DATABASE {database}"));
    let sequence = format!("{word} SEQUENCE {within}");
    match is_over {
        false => of_database.into_iter().chain([sequence]).collect(),
        true => [sequence].into_iter().chain(of_database).collect(),
    }
}

async fn table(ctx: &Ctx, reader: &mut Reader, database: &str, name: &str) -> Result<String> {
    let sql = shown_table(ctx, reader.speak(ctx, true).await?, name).await?;
    Ok(unqualified(&raw::to_text(sql)?, database))
}

/// A view's statement. Some can be printed only in a session of the collation that they were made in.
pub(crate) async fn view(
    ctx: &Ctx,
    connection: &mut Connection,
    name: &str,
    context: &Context,
) -> Result<Vec<u8>> {
    let what = format!("VIEW {name}");
    let shown = show(ctx, connection, &what, 1).await;
    if !shown.as_ref().is_err_and(|error| code(error).is_some()) || context.charsets().is_empty() {
        return shown;
    }
    let charsets = context.charsets();
    connection.execute(ctx, &format!("SET SESSION {}", charsets.trim_start_matches(", "))).await?;
    let again = show(ctx, connection, &what, 1).await;
    connection.execute(ctx, UTF8).await?;
    again.or(shown)
}

/// The statement of an invalid view that the server does not print, out of what it remembers of it.
async fn remembered(ctx: &Ctx, connection: &mut Connection, name: &str) -> Result<Option<String>> {
    let of = format!("TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}", text(name));
    let algorithm = if connection.version.is_mariadb { "ALGORITHM" } else { "'UNDEFINED'" };
    let sql = format!(
        "SELECT VIEW_DEFINITION, DEFINER, {algorithm}, SECURITY_TYPE, CHECK_OPTION FROM information_schema.VIEWS WHERE {of}"
    );
    let Some(row) = connection.rows(ctx, &sql).await?.into_iter().next() else { return Ok(None) };
    let mut row = Reading::new(row);
    let Some(definition) = row.maybe()?.filter(|definition| !definition.is_empty()) else { return Ok(None) };
    let (definer, algorithm, security, check) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let columns = columns(ctx, connection, name).await?;
    let columns: Vec<_> = columns.iter().map(|column| identifier(column)).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(",")) };
    let definer = match definer.rsplit_once('@') {
        // A role.
        Some((role, "")) => identifier(role),
        Some((user, host)) => format!("{}@{}", identifier(user), identifier(host)),
        None => identifier(&definer),
    };
    let check = if check == "NONE" { String::new() } else { format!(" WITH {check} CHECK OPTION") };
    Ok(Some(format!(
        "CREATE ALGORITHM={algorithm} DEFINER={definer} SQL SECURITY {security} VIEW {}{columns} AS {definition}{check}",
        identifier(name)
    )))
}

/// The names of a view's columns.
async fn columns(ctx: &Ctx, connection: &mut Connection, view: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        text(view)
    );
    let rows = connection.rows(ctx, &sql).await?;
    rows.into_iter().map(|row| Reading::new(row).text()).collect()
}

/// The column `place` of what SHOW CREATE says. Without the privilege to see it, it is NULL.
async fn show(ctx: &Ctx, connection: &mut Connection, what: &str, place: usize) -> Result<Vec<u8>> {
    let row = connection.row(ctx, &format!("SHOW CREATE {what}")).await?;
    let sql = row.into_iter().nth(place).ok_or_else(|| malformed("a definition without its text"))?;
    sql.ok_or_else(|| {
        Error::new(backup_core::ErrorKind::PermissionDenied, "the account may not see the definition")
            .hint("docs/mysql.md has the privileges that are needed, as a script")
    })
}

/// The numbers of the reference systems that columns of MariaDB are said to be in, which it does not print.
async fn reference_systems(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, u64>> {
    let sql = format!(
        "SELECT G_GEOMETRY_COLUMN, SRID FROM information_schema.GEOMETRY_COLUMNS WHERE F_TABLE_SCHEMA = DATABASE() AND F_TABLE_NAME = {} AND SRID <> 0",
        text(table)
    );
    let mut numbers = BTreeMap::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        numbers.insert(row.text()?, row.number()?);
    }
    Ok(numbers)
}

/// How large a table of the engine MEMORY has to be able to become, to have room for its rows: a server may give it less.
async fn memory(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<u64> {
    const MIB: u64 = 1 << 20;
    if !connection.version.is_mariadb && connection.version.number >= (8, 0, 0) {
        // Else it says how large the table was some time ago.
        connection.execute(ctx, "SET SESSION information_schema_stats_expiry = 0").await?;
    }
    let sql = format!(
        "SELECT COALESCE(DATA_LENGTH + INDEX_LENGTH, 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
        text(table)
    );
    let bytes = Reading::new(connection.row(ctx, &sql).await?).number()?;
    Ok((bytes.saturating_mul(2) / MIB + 1) * MIB)
}

/// Whether the server has keys to encrypt tables with.
async fn encrypts(ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'ENCRYPTION' AND PLUGIN_STATUS = 'ACTIVE'";
    Ok(Reading::new(connection.row(ctx, sql).await?).number()? > 0)
}

async fn exists(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<bool> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
        text(table)
    );
    Ok(Reading::new(connection.row(ctx, &sql).await?).number()? > 0)
}

fn gone(object: &Object) -> Error {
    Error::new(backup_core::ErrorKind::Database, format!("{object} went away during the backup"))
        .hint("run the backup again when nobody changes the schema")
}

/// The defaults of the database, for the one that the session is in, whatever its name.
async fn settings(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<Vec<String>> {
    let of = text(database);
    let encryption = if connection.version.encrypts_databases() { "DEFAULT_ENCRYPTION" } else { "NULL" };
    let comment = if connection.version.is_mariadb && connection.version.number >= (10, 5, 0) {
        "SCHEMA_COMMENT"
    } else {
        "''"
    };
    let sql = format!(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment}, {encryption} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {of}"
    );
    let mut row = Reading::new(connection.row(ctx, &sql).await?);
    let (charset, collation, comment) = (row.text()?, row.text()?, row.maybe()?.unwrap_or_default());
    let is_encrypted = row.maybe()?.as_deref() == Some("YES");
    let comment = if comment.is_empty() { String::new() } else { format!(" COMMENT {}", text(&comment)) };
    let defaults = format!("ALTER DATABASE CHARACTER SET {charset} COLLATE {collation}{comment}");
    Ok(std::iter::once(defaults).chain(is_encrypted.then(|| ENCRYPTED.to_owned())).collect())
}

/// A sequence is a table of one row, which has all there is to know of it: as it is now, or `at_first`.
async fn sequence_value(
    ctx: &Ctx,
    connection: &mut Connection,
    name: &str,
    at_first: bool,
) -> Result<String> {
    let row = connection.row(ctx, &format!("SELECT * FROM {name}")).await?;
    let mut fields = Reading::new(row);
    let mut values = Vec::new();
    for _ in 0..8 {
        let value = fields.text()?;
        if value.parse::<i128>().is_err() {
            return Err(malformed("a sequence that is not made of numbers"));
        }
        values.push(value);
    }
    if at_first {
        // Where it starts, and that it has gone round no time.
        let start = values.get(3).cloned().unwrap_or_default();
        values.splice(..1, [start]);
        values.splice(7.., ["0".to_owned()]);
    }
    Ok(format!("INSERT INTO {name} VALUES ({})", values.join(", ")))
}
