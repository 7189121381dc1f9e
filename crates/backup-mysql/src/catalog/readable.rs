//! What is in a database and cannot be read: the account may not, or the server cannot open it.

use backup_core::{BackupRequest, Ctx, Error, ErrorKind, Filter, Object, Result};

use super::Reading;
use super::objects::RoutineKind;
use super::size::is_discarded;
use super::visible;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::{code, is_broken_off};
use crate::snapshot::is_denied;

/// ER_WRONG_VALUE.
const WRONG_VALUE: u16 = 1525;

/// What is wanted, cannot be read, and so is not in the backup.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) objects: Vec<Object>,
    /// Of other things, too, the server may say less than there is.
    pub(crate) is_half_blind: bool,
}

impl LeftOut {
    /// Tables, views and sequences share their names.
    fn has_relation(&self, name: &str) -> bool {
        let is_relation = |object: &Object| ["table", "view", "sequence"].contains(&object.kind.as_str());
        self.objects.iter().any(|object| is_relation(object) && object.name == name)
    }

    /// Whether a table, view or sequence is backed up: `filter` selects it, and it is not left out.
    pub(crate) fn reads(&self, filter: &Filter, database: &str, name: &str) -> bool {
        filter.selects(None, Some(database), name) && !self.has_relation(name)
    }

    pub(crate) fn has_routine(&self, kind: RoutineKind, name: &str) -> bool {
        self.objects.iter().any(|object| object.kind == kind.object() && object.name == name)
    }

    /// Looks what has to be left out. It is an error, by name, where that was not asked for. Of what the account does not even see
    /// nobody knows the names.
    pub(crate) async fn look(
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
        request: &BackupRequest,
    ) -> Result<Self> {
        let missing = visible::missing(ctx, connection, database).await?;
        if missing.is_none() && !request.skip_unreadable {
            return Ok(Self::default());
        }
        let is_half_blind = missing.is_some();
        let unreadable = unreadable(ctx, connection, database, &request.filter).await?;
        if request.skip_unreadable {
            let mut left_out = Vec::with_capacity(unreadable.len() + 1);
            for (object, error) in unreadable {
                ctx.warn(format!("{object} cannot be read: {}", error.message()));
                left_out.push(object);
            }
            if let Some(missing) = missing {
                ctx.warn(format!(
                    "the account has not the privilege {missing}: it may not see all that there is"
                ));
                left_out.push(Object::new("hidden part of database", database));
            }
            return Ok(Self { objects: left_out, is_half_blind });
        }
        let missing = missing.unwrap_or_default();
        if request.filter.is_everything() {
            let mut message = format!(
                "the account has not the privilege {missing} on {}: it may not see all that there is",
                database.escape_debug()
            );
            let names: Vec<_> = unreadable.iter().map(|(object, _)| object.to_string()).collect();
            if !names.is_empty() {
                message += &format!(", and of what it sees it cannot read {}", names.join(", "));
            }
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .hint("docs/mysql.md has the privileges that are needed, as a script; --skip-unreadable backs up what it sees"));
        }
        if let Some((object, error)) = unreadable.into_iter().next() {
            return Err(error.during(format!("read {object}")));
        }
        ctx.warn(format!(
            "the account has not the privilege {missing}: what it may not see is not in the backup"
        ));
        Ok(Self { objects: Vec::new(), is_half_blind })
    }
}

/// What `filter` selects and cannot be read, and why.
async fn unreadable(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    filter: &Filter,
) -> Result<Vec<(Object, Error)>> {
    let of = text(database);
    let sql = format!(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} AND TABLE_TYPE <> 'TEMPORARY' \
         ORDER BY CAST(TABLE_NAME AS BINARY)"
    );
    let object = |kind: &str, name: &str| Object::new(kind, name).in_schema(database);
    let mut found = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, kind) = (row.text()?, row.text()?);
        if !filter.selects(None, Some(database), &name) {
            continue;
        }
        let quoted = identifier(&name);
        // All columns: of a table whose columns it may not all read the server shows the others.
        let rows = format!("SELECT * FROM {quoted} LIMIT 0");
        let (kind, look) = match kind.as_str() {
            "VIEW" => ("view", format!("SHOW CREATE VIEW {quoted}")),
            "SEQUENCE" => ("sequence", rows),
            _ => ("table", rows),
        };
        let Err(error) = connection.rows(ctx, &look).await else { continue };
        if code(&error).is_none() || is_broken_off(&error) {
            return Err(error);
        }
        // A view that is invalid, a table that has no rows: they are backed up as they are. But a view of which the server cannot read a time it does not print.
        let is_unprinted = code(&error) == Some(WRONG_VALUE);
        if is_denied(&error) || is_unprinted || !(kind == "view" || is_discarded(&error)) {
            found.push((object(kind, &name), error));
        }
    }
    let sql = format!(
        "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of} \
         AND ROUTINE_DEFINITION IS NULL ORDER BY CAST(ROUTINE_NAME AS BINARY), ROUTINE_TYPE"
    );
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, kind) = (row.text()?, row.text()?.to_ascii_lowercase());
        if filter.selects(None, Some(database), &name) {
            let denied = Error::new(ErrorKind::PermissionDenied, "the account may not see the definition");
            found.push((object(&kind, &name), denied));
        }
    }
    Ok(found)
}
