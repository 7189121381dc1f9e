//! What is looked at before anything is touched.

use std::collections::{BTreeSet, HashMap};

use backup_core::{Ctx, Error, ErrorKind, Part, PartId, PartKind, RestoreRequest, Result, RowLayout};

use super::globals::Globals;
use crate::catalog::{shared, utf8};
use crate::connect::{Session, column};
use crate::spec::{DatabaseSpec, Gate, Global, POLICY_OF_EXTENSION, SqlSpec, gate, read};

/// How many things are named.
const NAMED: usize = 20;

/// What the parts want of the server.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// The roles and the tablespaces that the backup brings along.
    own_roles: BTreeSet<String>,
    own_tablespaces: BTreeSet<String>,
    /// What versions before this one do not know, and of which objects.
    newer: Vec<(u32, String)>,
    /// What versions after this one do not take, and of which objects.
    older: Vec<(u32, String)>,
    /// What only a server knows that was built with ICU.
    icu: Vec<String>,
    pub(super) database: Option<DatabaseSpec>,
}

/// Reads the specs of all parts, and refuses those that are not PostgreSQL's.
pub(super) fn wanted(parts: &[Part], request: &RestoreRequest) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    refuse_circles(parts)?;
    for part in parts {
        let fits = match &part.kind {
            PartKind::Sql => true,
            PartKind::Rows { layout, .. } => *layout == RowLayout::CopyText,
            _ => false,
        };
        if !fits {
            return Err(Error::unsupported(format!("{} is not of a PostgreSQL backup", part.object)));
        }
        // Rows that came out of a script as statements have another spec.
        let Ok(spec) = read::<SqlSpec>(part) else { continue };
        match spec.global {
            Some(Global::Role(name)) => _ = wanted.own_roles.insert(name),
            Some(Global::Tablespace(name)) => _ = wanted.own_tablespaces.insert(name),
            None => {}
        }
        if !request.no_owner || ["policy", POLICY_OF_EXTENSION].contains(&part.object.kind.as_str()) {
            wanted.roles.extend(spec.roles);
        }
        wanted.extensions.extend(spec.extension);
        wanted.tablespaces.extend(spec.tablespace);
        let of_part = |(version, what)| (version, format!("{}: {what}", part.object));
        wanted.newer.extend(spec.since.map(of_part));
        wanted.older.extend(spec.until.map(of_part));
        wanted.icu.extend(spec.icu.then(|| part.object.to_string()));
        wanted.database = wanted.database.or(spec.database);
    }
    wanted.roles = &wanted.roles - &wanted.own_roles;
    wanted.tablespaces = &wanted.tablespaces - &wanted.own_tablespaces;
    Ok(wanted)
}

/// Refuses parts that come after one of a later gate: each would wait for the other, and the restore for ever.
fn refuse_circles(parts: &[Part]) -> Result<()> {
    let gates: HashMap<PartId, Gate> =
        parts.iter().map(|part| Ok((part.id, gate(part)?))).collect::<Result<_>>()?;
    for part in parts {
        let own = gates.get(&part.id);
        if let Some(late) = part.after.iter().find(|after| gates.get(*after) > own) {
            let what = parts.iter().find(|part| part.id == *late).map(|part| part.object.to_string());
            let what = what.unwrap_or_default();
            return Err(Error::damaged(format!(
                "{} is to be restored both before and after {what}",
                part.object
            )));
        }
    }
    Ok(())
}

impl Wanted {
    /// Wants the roles too that the database belongs to, which is made anew.
    pub(super) fn want_owners(&mut self) -> Result<()> {
        let mut roles = BTreeSet::new();
        if let Some(place) = self.database.as_ref().and_then(|database| database.place.as_ref()) {
            place.owning("", &mut roles)?;
        }
        self.roles.extend(&roles - &self.own_roles);
        Ok(())
    }

    /// An error that lists what an older server than the backup's does not know, and what a newer one does not take any more.
    pub(super) fn check_version(&self, ctx: &Ctx, version: u32) -> Result<()> {
        let Some(of) = self.database.as_ref().and_then(|database| database.version) else { return Ok(()) };
        let older: Vec<&str> =
            self.older.iter().filter(|(until, _)| *until < version).map(|(_, what)| what.as_str()).collect();
        if !older.is_empty() {
            let message = format!("PostgreSQL {version} does not take any more: {}", listed(&older));
            return Err(Error::unsupported(message)
                .hint("alter them in the source and back that up, or restore into an older server"));
        }
        if version >= of {
            return Ok(());
        }
        let newer: Vec<&str> =
            self.newer.iter().filter(|(since, _)| *since > version).map(|(_, what)| what.as_str()).collect();
        if newer.is_empty() {
            ctx.warn(format!(
                "the backup is of PostgreSQL {of}, and the target is PostgreSQL {version}: should that not know something, the restore fails and the target stays as it is"
            ));
            return Ok(());
        }
        let message =
            format!("PostgreSQL {version} does not know what PostgreSQL {of} has: {}", listed(&newer));
        Err(Error::unsupported(message).hint("restore into a newer server, or only what it knows (--table)"))
    }

    /// Warns of the tablespaces that the server lacks: what lies there comes into the database's default one.
    pub(super) fn warn_of_tablespaces(&self, ctx: &Ctx, globals: &Globals) {
        let lacks: Vec<String> = (self.tablespaces.iter())
            .filter(|name| !globals.has_tablespace(name))
            .map(|name| name.escape_debug().to_string())
            .collect();
        if !lacks.is_empty() {
            ctx.warn(format!(
                "the server lacks the tablespaces {}: what was there comes into the database's default one",
                lacks.join(", ")
            ));
        }
    }

    /// An error that lists all roles and extensions that the server lacks, and what ICU would sort if it had that.
    pub(super) async fn check(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        self.check_version(ctx, session.version / 10_000)?;
        let missing = async |sql: &str, wanted: &BTreeSet<String>| {
            let mut missing = wanted.clone();
            for row in session.rows(ctx, sql, &[]).await? {
                // What is no UTF-8 is not wanted.
                if let Ok(name) = utf8(column(&row, "name")?) {
                    missing.remove(name);
                }
            }
            let names: Vec<String> = missing.iter().map(|name| name.escape_debug().to_string()).collect();
            Ok::<_, Error>(names.join(", "))
        };
        let names = |name: &str, of: &str| format!("SELECT {} AS name FROM pg_catalog.{of}", shared(name));
        let roles = missing(&names("rolname", "pg_roles"), &self.roles).await?;
        let extensions = missing(&names("name", "pg_available_extensions"), &self.extensions).await?;
        let mut lacks = Vec::new();
        if !roles.is_empty() {
            lacks.push(format!("the roles {roles}"));
        }
        if !extensions.is_empty() {
            lacks.push(format!("the extensions {extensions}"));
        }
        if !self.icu.is_empty() {
            // A server that was built with it has all of its collations.
            let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname ~ '-x-icu$') AS icu";
            let rows = session.rows(ctx, sql, &[]).await?;
            if !rows.first().map(|row| column::<bool>(row, "icu")).transpose()?.unwrap_or(false) {
                let names: Vec<&str> = self.icu.iter().map(String::as_str).collect();
                lacks.push(format!("ICU, by which these sort: {}", listed(&names)));
            }
        }
        if lacks.is_empty() {
            return Ok(());
        }
        let hint = if roles.is_empty() && extensions.is_empty() {
            "restore into a server that was built with ICU, or only what needs none of it (--table)"
        } else if roles.is_empty() {
            "install the extensions' packages on the server"
        } else {
            "create the roles, have the backup bring them (--globals), or restore without owners and privileges (--no-owner)"
        };
        Err(Error::new(ErrorKind::NotFound, format!("the server lacks {}", lacks.join(" and "))).hint(hint))
    }
}

/// Some of them, and how many more there are.
fn listed(names: &[&str]) -> String {
    let mut named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join("; ");
    if names.len() > NAMED {
        named += &format!("; and {} more", names.len() - NAMED);
    }
    named
}

/// Whether a database is like a new one, so that nothing is lost when another takes its place.
pub(super) async fn is_empty(ctx: &Ctx, session: &Session) -> Result<bool> {
    let rows = session.rows(ctx, &crate::catalog::anything_sql(), &[]).await?;
    Ok(!rows.first().map(|row| column::<bool>(row, "full")).transpose()?.unwrap_or(true))
}

/// The error that names a target which is to be empty and is not.
pub(super) fn not_empty(target: &str) -> Error {
    let message = format!("database {} holds something already", target.escape_debug());
    Error::new(ErrorKind::TargetNotEmpty, message)
        .hint("add --drop-existing to replace it when the restore is complete")
}

/// Refuses to replace a database that others hold on to; it is told as `target`.
pub(super) async fn refuse_held(ctx: &Ctx, session: &Session, database: &str, target: &str) -> Result<()> {
    let sql = "SELECT 'replication slot ' || slot_name::text AS what FROM pg_catalog.pg_replication_slots WHERE database = $1
               UNION ALL SELECT 'a subscription' FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
               UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1
               UNION ALL SELECT 'it is a template' FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate";
    let rows = session.rows(ctx, sql, &[&database]).await?;
    let held: Vec<String> = rows
        .iter()
        .map(|row| column::<&str>(row, "what").map(|what| what.escape_debug().to_string()))
        .collect::<Result<_>>()?;
    if held.is_empty() {
        return Ok(());
    }
    let message = format!("{} cannot be replaced: {}", target.escape_debug(), held.join(", "));
    Err(Error::new(ErrorKind::Locked, message).hint("drop what holds it, and run it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(of: u32) -> Wanted {
        let database = DatabaseSpec {
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            provider: "c".to_owned(),
            version: Some(of),
            locale: None,
            rules: None,
            preload: Vec::new(),
            place: None,
        };
        let newer = vec![(18, "table a: virtual generated columns".to_owned()), (15, "index b".to_owned())];
        Wanted { newer, database: Some(database), ..Wanted::default() }
    }

    #[test]
    fn what_an_older_server_does_not_know_is_named_before_anything_is_touched() {
        let ctx = Ctx::new();
        let told = wanted(18).check_version(&ctx, 15).unwrap_err().to_string();
        assert!(told.contains("table a: virtual") && !told.contains("index b"), "{told}");
        assert!(wanted(18).check_version(&ctx, 14).unwrap_err().to_string().contains("index b"));
        wanted(18).check_version(&ctx, 18).unwrap();
        wanted(15).check_version(&ctx, 18).unwrap();
    }
}
