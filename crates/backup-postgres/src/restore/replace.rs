//! What a restore of some tables takes out of a database that stays, within its transaction: the old is there until the new is whole.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Error, ErrorKind, Part, PartKind, Result};

use crate::connect::{Session, column};
use crate::ddl::quote::{ident, literal, qualified};
use crate::error::sql_state;
use crate::rows::RowsSpec;
use crate::spec::read;

/// Schema and name of a relation.
pub(super) type Name = (String, String);
/// Relations, and what each is.
pub(super) type Relations = BTreeMap<Name, String>;

/// How many tables are looked into at a time.
const BATCH: usize = 200;
/// Others depend on what was to be dropped.
const DEPENDENTS: &str = "2BP01";

/// The relations that parts make, each with what it is.
pub(super) fn made_by<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Relations {
    const KINDS: [&str; 5] = ["table", "view", "materialized view", "foreign table", "sequence"];
    let made = parts
        .into_iter()
        .filter(|part| matches!(part.kind, PartKind::Sql) && KINDS.contains(&part.object.kind.as_str()));
    made.map(|part| (name(part), part.object.kind.clone())).collect()
}

fn name(part: &Part) -> Name {
    (part.object.schema.clone().unwrap_or_default(), part.object.name.clone())
}

/// The relations that the database has.
pub(super) async fn relations(ctx: &Ctx, session: &Session) -> Result<Relations> {
    let sql = "SELECT n.nspname::text AS schema, c.relname::text AS name,
                      CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let rows = session.rows(ctx, sql, &[]).await?;
    let relation = |row| Ok(((column(row, "schema")?, column(row, "name")?), column(row, "kind")?));
    rows.iter().map(relation).collect()
}

/// An error if the target has one of `asked`.
pub(super) fn refuse(asked: &Relations, there: &Relations) -> Result<()> {
    let Some((name, kind)) = asked.keys().find_map(|name| there.get_key_value(name)) else { return Ok(()) };
    Err(not_empty(format!("the target has a {kind} {} already", told(name))))
}

/// An error if a table has rows that is to get others.
pub(super) async fn refuse_rows(ctx: &Ctx, session: &Session, parts: &[Part]) -> Result<()> {
    let filled: Vec<_> = filled(parts)?.into_iter().collect();
    for batch in filled.chunks(BATCH) {
        let any = |((schema, name), condition): &(Name, Option<String>)| {
            let (table, condition) = (qualified(schema, name), condition.as_deref().unwrap_or("true"));
            let (schema, name) = (literal(schema), literal(name));
            format!("(SELECT {schema} AS schema, {name} AS name FROM ONLY {table} WHERE {condition} LIMIT 1)")
        };
        let sql = batch.iter().map(any).collect::<Vec<_>>().join(" UNION ALL ");
        if let Some(row) = session.rows(ctx, &sql, &[]).await?.first() {
            let name = (column(row, "schema")?, column(row, "name")?);
            return Err(not_empty(format!("table {} of the target has rows", told(&name))));
        }
    }
    Ok(())
}

pub(super) fn not_empty(what: String) -> Error {
    Error::new(ErrorKind::TargetNotEmpty, what)
        .hint("restore into another database, or replace it (--drop-existing)")
}

/// Drops those of `asked` that are `there`. What others have of them (foreign keys, views) is an error that names it. What they had of
/// others, the backup cannot give back, since it is not said there which these were: it is returned, to be made again.
pub(super) async fn drop(
    ctx: &Ctx,
    session: &Session,
    asked: &Relations,
    there: &Relations,
) -> Result<Vec<ForeignKey>> {
    let mut doomed = Relations::new();
    for (name, kind) in asked {
        match there.get(name) {
            Some(is) if is == kind => _ = doomed.insert(name.clone(), kind.clone()),
            Some(is) => {
                let message = format!("{} is a {is} in the target and a {kind} in the backup", told(name));
                return Err(Error::unsupported(message).hint("drop or rename it first"));
            }
            None => {}
        }
    }
    if doomed.is_empty() {
        return Ok(Vec::new());
    }
    attached(ctx, session, asked, &doomed).await?;
    let keys = foreign_keys(ctx, session, &doomed).await?;
    let of = |wanted: &str| -> Vec<&Name> {
        doomed.iter().filter(|(_, kind)| *kind == wanted).map(|(name, _)| name).collect()
    };
    drop_views(ctx, session, &doomed).await?;
    for (kind, word) in [("foreign table", "FOREIGN TABLE"), ("table", "TABLE"), ("sequence", "SEQUENCE")] {
        let names = of(kind);
        if !names.is_empty() {
            // With those before it may have gone what belonged to them.
            let sql = format!("DROP {word} IF EXISTS {}", list(&names));
            session.statement(ctx, &sql).await.map_err(in_use)?;
        }
    }
    Ok(keys)
}

/// The foreign keys of doomed tables to others.
async fn foreign_keys(ctx: &Ctx, session: &Session, doomed: &Relations) -> Result<Vec<ForeignKey>> {
    let sql = format!(
        "WITH doomed AS (SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                         WHERE (n.nspname, c.relname) IN (VALUES {}))
         SELECT d.nspname::text AS schema, d.relname::text AS name, k.conname::text AS key, pg_catalog.pg_get_constraintdef(k.oid) AS definition
         FROM doomed d JOIN pg_catalog.pg_constraint k ON k.conrelid = d.oid
         WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid NOT IN (SELECT oid FROM doomed) ORDER BY 1, 2, 3",
        values(doomed)
    );
    let rows = session.rows(ctx, &sql, &[]).await?;
    let key = |row| {
        let table = (column(row, "schema")?, column(row, "name")?);
        Ok(ForeignKey { table, name: column(row, "key")?, definition: column(row, "definition")? })
    };
    rows.iter().map(key).collect()
}

/// A foreign key that a table had before it was replaced, to a table that stays.
#[derive(Debug)]
pub(super) struct ForeignKey {
    table: Name,
    name: String,
    definition: String,
}

impl ForeignKey {
    /// Gives it to the new table, unless that has one of its name.
    pub(super) async fn make(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let (schema, table) = &self.table;
        let sql = "SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1 AND c.relname = $2 AND k.conname = $3";
        if !session.rows(ctx, sql, &[schema, table, &self.name]).await?.is_empty() {
            return Ok(());
        }
        let told = format!("{} of {}", self.name.escape_debug(), told(&self.table));
        let sql = format!(
            "ALTER TABLE {} ADD CONSTRAINT {} {}",
            qualified(schema, table),
            ident(&self.name),
            self.definition
        );
        session.statement(ctx, &sql).await.map_err(|error| {
            error
                .during(format!("make foreign key {told} again"))
                .hint("drop it, and run the restore again: it will be restored without")
        })?;
        ctx.warn(format!("foreign key {told} is the one that the target had"));
        Ok(())
    }
}

/// Drops views: each when those are gone that read it.
async fn drop_views(ctx: &Ctx, session: &Session, doomed: &Relations) -> Result<()> {
    let mut views: Vec<_> = doomed.iter().filter(|(_, kind)| kind.ends_with("view")).collect();
    while !views.is_empty() {
        let (before, mut refused) = (views.len(), None);
        let mut left = Vec::new();
        for (name, kind) in views {
            session.execute(ctx, "SAVEPOINT one").await?;
            let sql = format!("DROP {} {}", kind.to_uppercase(), list(&[name]));
            match session.statement(ctx, &sql).await {
                Ok(()) => session.execute(ctx, "RELEASE SAVEPOINT one").await?,
                Err(error) if sql_state(&error) == Some(DEPENDENTS) => {
                    session.execute(ctx, "ROLLBACK TO SAVEPOINT one").await?;
                    refused = Some(error);
                    left.push((name, kind));
                }
                Err(error) => return Err(error),
            }
        }
        if left.len() == before
            && let Some(error) = refused
        {
            return Err(in_use(error));
        }
        views = left;
    }
    Ok(())
}

/// What would go with a table, or stay behind without it, although nothing keeps the table from being dropped.
async fn attached(ctx: &Ctx, session: &Session, asked: &Relations, doomed: &Relations) -> Result<()> {
    let sql = format!(
        "WITH RECURSIVE doomed AS (
           SELECT c.oid, n.nspname, c.relname, c.relnamespace FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE (n.nspname, c.relname) IN (VALUES {})),
         partitions AS (
           SELECT oid, relnamespace AS home FROM doomed
           UNION SELECT c.oid, p.home FROM partitions p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid
                 JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
         SELECT 'partition' AS what, n.nspname::text AS schema, c.relname::text AS name, '' AS of
         FROM partitions p JOIN pg_catalog.pg_class c ON c.oid = p.oid AND c.relnamespace <> p.home JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         UNION ALL SELECT 'publication', d.nspname::text, d.relname::text, b.pubname::text
         FROM doomed d JOIN pg_catalog.pg_publication_rel r ON r.prrelid = d.oid JOIN pg_catalog.pg_publication b ON b.oid = r.prpubid
         UNION ALL SELECT 'subscription', d.nspname::text, d.relname::text, '' FROM doomed d JOIN pg_catalog.pg_subscription_rel r ON r.srrelid = d.oid
         ORDER BY 1, 2, 3, 4",
        values(doomed)
    );
    for row in session.rows(ctx, &sql, &[]).await? {
        let name = (column(&row, "schema")?, column(&row, "name")?);
        match column::<&str>(&row, "what")? {
            "partition" if asked.contains_key(&name) => {}
            "partition" => {
                let message = format!(
                    "{} is a partition of a table that is to be replaced, and is in another schema",
                    told(&name)
                );
                return Err(Error::unsupported(message).hint("restore it too (--table), or detach it first"));
            }
            "subscription" => {
                let message = format!("a subscription writes to {}", told(&name));
                return Err(Error::new(ErrorKind::Locked, message)
                    .hint("take the table out of the subscription first"));
            }
            _ => ctx.warn(format!(
                "{} leaves publication {}, which it was in: add it again, with the columns and rows that it had there",
                told(&name),
                column::<&str>(&row, "of")?.escape_debug()
            )),
        }
    }
    Ok(())
}

/// The tables that get rows, and which rows those are, if it is said: tables of extensions may have others too.
fn filled(parts: &[Part]) -> Result<BTreeMap<Name, Option<String>>> {
    let is_table = |part: &&Part| {
        matches!(part.kind, PartKind::Rows { .. })
            && matches!(part.object.kind.as_str(), "table" | "partition")
    };
    let condition = |part: &Part| match read(part)? {
        RowsSpec::Table { condition, .. } => Ok(condition),
        _ => Err(Error::damaged(format!("the rows of {} are not described as a table's", part.object))),
    };
    parts.iter().filter(is_table).map(|part| Ok((name(part), condition(part)?))).collect()
}

/// Takes all rows out of the tables that get others.
pub(super) async fn empty(ctx: &Ctx, session: &Session, parts: &[Part]) -> Result<()> {
    let (mut whole, mut some) = (BTreeSet::new(), Vec::new());
    for (name, condition) in filled(parts)? {
        match condition {
            None => _ = whole.insert(name),
            Some(condition) => {
                let table = qualified(&name.0, &name.1);
                some.push(format!("DELETE FROM ONLY {table} WHERE {condition}"));
            }
        }
    }
    let mut tables = Vec::new();
    for (root, partitions) in partitioned(ctx, session).await? {
        // All of them together, so that a key between two such tables keeps neither from being emptied.
        if partitions.is_subset(&whole) {
            tables.push(qualified(&root.0, &root.1));
            whole = &whole - &partitions;
        }
    }
    tables.extend(whole.iter().map(|(schema, name)| format!("ONLY {}", qualified(schema, name))));
    let truncate = (!tables.is_empty()).then(|| format!("TRUNCATE {}", tables.join(", ")));
    for statement in truncate.into_iter().chain(some) {
        session.statement(ctx, &statement).await.map_err(in_use)?;
    }
    Ok(())
}

/// The partitioned tables at the top of their trees, each with the tables that its rows are in, if there are some.
async fn partitioned(ctx: &Ctx, session: &Session) -> Result<BTreeMap<Name, BTreeSet<Name>>> {
    let sql = "WITH RECURSIVE tree (root, oid) AS (
                 SELECT c.oid, c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'p' AND NOT c.relispartition
                 UNION ALL SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid)
               SELECT rn.nspname::text AS root_schema, r.relname::text AS root, n.nspname::text AS schema, c.relname::text AS name
               FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind <> 'p' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_class r ON r.oid = t.root JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace";
    let mut trees: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for row in session.rows(ctx, sql, &[]).await? {
        let root = (column(&row, "root_schema")?, column(&row, "root")?);
        trees.entry(root).or_default().insert((column(&row, "schema")?, column(&row, "name")?));
    }
    Ok(trees)
}

fn in_use(error: Error) -> Error {
    let error = error.during("take out what is replaced");
    match sql_state(&error) {
        // A foreign key keeps a table from being emptied.
        Some(DEPENDENTS | "0A000") => {
            error.hint("restore together what depends on each other (--table), or drop what is named first")
        }
        _ => error,
    }
}

fn values(names: &Relations) -> String {
    let value = |(schema, name): &Name| format!("({}, {})", literal(schema), literal(name));
    names.keys().map(value).collect::<Vec<_>>().join(", ")
}

fn list(names: &[&Name]) -> String {
    names.iter().map(|(schema, name)| qualified(schema, name)).collect::<Vec<_>>().join(", ")
}

/// For people.
fn told((schema, name): &Name) -> String {
    format!("{}.{}", schema.escape_debug(), name.escape_debug())
}

#[cfg(test)]
mod tests {
    use backup_core::{Object, RowLayout};

    use super::*;

    #[test]
    fn rows_that_are_not_described_as_those_of_a_table_are_an_error_and_not_all_of_its_rows() {
        let described = |spec| {
            let rows = Part::rows(0, Object::new("table", "t"), RowLayout::CopyText, vec![]).spec(spec);
            filled(&[rows]).map(|filled| filled.into_values().next().flatten())
        };
        let of = |kind: &str| serde_json::json!({ "of": kind, "gate": "rows", "encoding": "UTF8", "condition": "x > 1" });
        assert_eq!(described(of("table")).unwrap().as_deref(), Some("x > 1"));
        for spec in
            [of("sequence"), of("dictionary"), serde_json::json!({ "gate": "rows", "condition": "x > 1" })]
        {
            assert!(described(spec.clone()).is_err(), "{spec}");
        }
    }
}
