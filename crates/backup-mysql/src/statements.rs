//! The statements that make the objects of a database, as the server prints them.

use backup_core::{Ctx, Error, Object, Result};

use crate::backup::Reader;
use crate::catalog::Reading;
use crate::catalog::plan::SqlSpec;
use crate::connect::Connection;
use crate::ddl::create::{CreateTable, unqualified};
use crate::ddl::quote::{identifier, text};
use crate::ddl::raw;
use crate::ddl::view::names_database;
use crate::error::malformed;

/// The statements of an SQL part.
pub(crate) async fn of(
    ctx: &Ctx,
    reader: &mut Reader,
    database: &str,
    object: &Object,
    spec: &SqlSpec,
) -> Result<Vec<String>> {
    let name = identifier(&object.name);
    let of_table = || object.table.as_deref().ok_or_else(|| Error::internal("a key without a table"));
    let statement = match spec {
        SqlSpec::Database => settings(ctx, reader.speak(ctx, false).await?, database).await?,
        SqlSpec::Sequence => {
            let sql = show(ctx, reader.speak(ctx, true).await?, &format!("SEQUENCE {name}"), 1).await?;
            unqualified(&sql, database)
        }
        SqlSpec::SequenceValue => sequence_value(ctx, reader.speak(ctx, false).await?, &name).await?,
        SqlSpec::Table { keys_later } => {
            let sql = table(ctx, reader, database, &object.name).await?;
            let table = CreateTable::parse(&sql)?;
            table.without(*keys_later && !table.later_keys().is_empty())
        }
        SqlSpec::Keys => {
            let of = of_table()?;
            let sql = table(ctx, reader, database, of).await?;
            let keys: Vec<_> =
                CreateTable::parse(&sql)?.later_keys().iter().map(|key| format!("ADD {key}")).collect();
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            format!("ALTER TABLE {} {}", identifier(of), keys.join(", "))
        }
        SqlSpec::ForeignKey => {
            let of = of_table()?;
            let sql = table(ctx, reader, database, of).await?;
            let table = CreateTable::parse(&sql)?;
            let key = table.foreign_keys().into_iter().find(|(key, _)| *key == object.name);
            let (_, key) = key.ok_or_else(|| gone(object))?;
            format!("ALTER TABLE {} ADD {key}", identifier(of))
        }
        SqlSpec::Routine { routine, .. } => {
            let connection = reader.speak(ctx, false).await?;
            show(ctx, connection, &format!("{} {name}", routine.word()), 2).await?
        }
        SqlSpec::View { invalid: true, stand_ins, .. } => {
            let sql = show(ctx, reader.speak(ctx, false).await?, &format!("VIEW {name}"), 1).await?;
            // Of columns that are not there the database is said, whatever is said of tables.
            return Ok(stand_ins.around(unqualified(&sql, database)));
        }
        SqlSpec::View { .. } => {
            let sql = show(ctx, reader.speak(ctx, false).await?, &format!("VIEW {name}"), 1).await?;
            if names_database(&sql, database) {
                ctx.warn(format!(
                    "view {} reads from several databases and names this one: restored under another name it still reads from {}",
                    object.name.escape_debug(),
                    database.escape_debug()
                ));
            }
            sql
        }
        SqlSpec::Trigger { .. } => {
            show(ctx, reader.speak(ctx, false).await?, &format!("TRIGGER {name}"), 2).await?
        }
        SqlSpec::Event { .. } => {
            show(ctx, reader.speak(ctx, false).await?, &format!("EVENT {name}"), 3).await?
        }
    };
    Ok(vec![statement])
}

async fn table(ctx: &Ctx, reader: &mut Reader, database: &str, name: &str) -> Result<String> {
    let sql = show(ctx, reader.speak(ctx, true).await?, &format!("TABLE {}", identifier(name)), 1).await?;
    Ok(unqualified(&sql, database))
}

/// The column `place` of what SHOW CREATE says. Without the privilege to see it, it is NULL.
async fn show(ctx: &Ctx, connection: &mut Connection, what: &str, place: usize) -> Result<String> {
    let row = connection.row(ctx, &format!("SHOW CREATE {what}")).await?;
    let sql = row.into_iter().nth(place).ok_or_else(|| malformed("a definition without its text"))?;
    let sql = sql.ok_or_else(|| {
        Error::new(backup_core::ErrorKind::PermissionDenied, "the account may not see the definition")
            .hint("docs/mysql.md has the privileges that are needed, as a script")
    })?;
    raw::to_text(sql)
}

fn gone(object: &Object) -> Error {
    Error::new(backup_core::ErrorKind::Database, format!("{object} went away during the backup"))
        .hint("run the backup again when nobody changes the schema")
}

/// The defaults of the database, for the one that the session is in, whatever its name.
async fn settings(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<String> {
    let of = text(database);
    let comment = if connection.version.is_mariadb && connection.version.number >= (10, 5, 0) {
        "SCHEMA_COMMENT"
    } else {
        "''"
    };
    let sql = format!(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {of}"
    );
    let mut row = Reading::new(connection.row(ctx, &sql).await?);
    let (charset, collation, comment) = (row.text()?, row.text()?, row.maybe()?.unwrap_or_default());
    let comment = if comment.is_empty() { String::new() } else { format!(" COMMENT {}", text(&comment)) };
    Ok(format!("ALTER DATABASE CHARACTER SET {charset} COLLATE {collation}{comment}"))
}

/// A sequence is a table of one row, which has all there is to know of it.
async fn sequence_value(ctx: &Ctx, connection: &mut Connection, name: &str) -> Result<String> {
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
    Ok(format!("INSERT INTO {name} VALUES ({})", values.join(", ")))
}
