//! Foreign keys of a database that stays: nobody watches over them while rows come, so it is seen in the end whether they hold.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio_postgres::Row;

use crate::connect::{Session, column};
use crate::ddl::quote::{ident, literal, qualified};

/// The most of a row that is told.
const TOLD: usize = 300;

/// They, and what they are partitions of.
const TOUCHED: &str = "touched (oid) AS (
  SELECT f.oid FROM filled f
  UNION SELECT i.inhparent FROM touched t JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relispartition
        JOIN pg_catalog.pg_inherits i ON i.inhrelid = t.oid)";

/// An error if the account may not see whether the keys of the tables that get rows hold, which it would not be told before the end.
/// `filled` begins a query about these tables.
pub(super) async fn refuse_unseen(ctx: &Ctx, session: &Session, filled: &str) -> Result<()> {
    for row in keys(ctx, session, filled).await? {
        let (from, to) = (Side::of(&row, "referring")?, Side::of(&row, "referred")?);
        let lacks: Vec<String> = [
            (!column::<bool>(&row, "referring_readable")?).then(|| format!("read {}", from.told)),
            (!column::<bool>(&row, "referred_readable")?).then(|| format!("read {}", to.told)),
            (!column::<bool>(&row, "referred_lockable")?)
                .then(|| format!("keep others from changing {}", to.told)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !lacks.is_empty() {
            let name = column::<&str>(&row, "name")?.escape_debug();
            let message = format!(
                "it cannot be seen whether foreign key {name} of {} will hold: the account may not {}",
                from.told,
                lacks.join(", and not ")
            );
            return Err(Error::new(ErrorKind::PermissionDenied, message).hint(
                "grant it SELECT, and UPDATE on the table that is referred to, or restore as another",
            ));
        }
    }
    Ok(())
}

/// Has the server look at the keys of tables that get rows (`filled` begins a query about them) when all are there, where it looks at all, and returns
/// what is to be said then. All of it within the transaction. Keys that are NOT VALID say nothing of these rows, and are gone meanwhile.
pub(super) async fn defer(ctx: &Ctx, session: &Session, filled: &str) -> Result<Vec<String>> {
    let enforced = if session.version >= 180_000 { "k.conenforced" } else { "true" };
    let sql = format!(
        "{filled}, {TOUCHED}
         SELECT n.nspname::text AS schema, c.relname::text AS table, k.conname::text AS name, k.condeferrable AS deferrable, k.convalidated AS valid,
                pg_catalog.pg_get_constraintdef(k.oid) AS definition, pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE k.contype = 'f' AND {enforced} AND k.conparentid = 0 AND NOT (k.condeferred AND k.convalidated) AND k.conrelid IN (SELECT t.oid FROM touched t)"
    );
    let mut then = vec!["SET CONSTRAINTS ALL IMMEDIATE".to_owned()];
    for row in session.rows(ctx, &sql, &[]).await? {
        let table = qualified(column(&row, "schema")?, column(&row, "table")?);
        let name = ident(column(&row, "name")?);
        if !column::<bool>(&row, "valid")? {
            session.statement(ctx, &format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await?;
            let definition: &str = column(&row, "definition")?;
            then.push(format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"));
            let comment = column::<Option<&str>>(&row, "comment")?.map(literal);
            then.extend(comment.map(|text| format!("COMMENT ON CONSTRAINT {name} ON {table} IS {text}")));
            continue;
        }
        let alter = format!("ALTER TABLE {table} ALTER CONSTRAINT {name}");
        session.statement(ctx, &format!("{alter} DEFERRABLE INITIALLY DEFERRED")).await?;
        let as_it_was =
            if column(&row, "deferrable")? { "DEFERRABLE INITIALLY IMMEDIATE" } else { "NOT DEFERRABLE" };
        then.push(format!("{alter} {as_it_was}"));
    }
    Ok(then)
}

/// An error that names a key of the tables that have got rows, or to them, which does not hold.
pub(super) async fn check(ctx: &Ctx, session: &Session, filled: &str) -> Result<()> {
    let rows = keys(ctx, session, filled).await?;
    let referred: BTreeSet<String> =
        rows.iter().map(|row| Ok(Side::of(row, "referred")?.said)).collect::<Result<_>>()?;
    if referred.is_empty() {
        return Ok(());
    }
    // What others delete from here on waits: they do not see yet what refers to it.
    let lock = format!("LOCK TABLE {} IN SHARE MODE", referred.into_iter().collect::<Vec<_>>().join(", "));
    session.execute(ctx, &lock).await.map_err(|error| error.during("see whether foreign keys hold"))?;
    for row in rows {
        let (from, to) = (Side::of(&row, "referring")?, Side::of(&row, "referred")?);
        let name = format!("foreign key {} of {}", column::<&str>(&row, "name")?.escape_debug(), from.told);
        let found = session.rows(ctx, &dangling(&row, &from, &to)?, &[]).await;
        let found = found.map_err(|error| error.during(format!("see whether {name} holds")))?;
        let Some(found) = found.first() else { continue };
        let number = column::<i64>(found, "number")?;
        if number > 0 {
            let one: String =
                column::<Option<&str>>(found, "one")?.unwrap_or_default().chars().take(TOLD).collect();
            let message = format!(
                "{name} does not hold: of the rows of {}, {number} refer to none of {}, such as ({})",
                from.told,
                to.told,
                one.escape_debug()
            );
            return Err(Error::new(ErrorKind::Database, message).hint(format!(
                "nothing was changed: restore the rows of {} too (--table), or drop the key first",
                to.told
            )));
        }
    }
    Ok(())
}

/// One of the tables of a key.
struct Side {
    /// In SQL: with its partitions if it has some, and never with its children.
    said: String,
    /// For people.
    told: String,
}

impl Side {
    fn of(row: &Row, which: &str) -> Result<Self> {
        let schema: &str = column(row, &format!("{which}_schema"))?;
        let name: &str = column(row, &format!("{which}_name"))?;
        let only = if column::<bool>(row, &format!("{which}_partitioned"))? { "" } else { "ONLY " };
        Ok(Self {
            said: format!("{only}{}", qualified(schema, name)),
            told: format!("{}.{}", schema.escape_debug(), name.escape_debug()),
        })
    }
}

/// The keys from and to tables that get rows, of partitions those of the topmost that is known to hold. What is not valid, or not watched over
/// because somebody has switched that off, says nothing of the rows.
async fn keys(ctx: &Ctx, session: &Session, filled: &str) -> Result<Vec<Row>> {
    let period = if session.version >= 180_000 { "k.conperiod" } else { "false" };
    let side = |which: &str| {
        format!(
            "{which}_in.nspname::text AS {which}_schema, {which}.relname::text AS {which}_name, {which}.relkind = 'p' AS {which}_partitioned,
             pg_catalog.has_schema_privilege({which}_in.oid, 'USAGE') AND pg_catalog.has_table_privilege({which}.oid, 'SELECT')
               AND NOT pg_catalog.row_security_active({which}.oid) AS {which}_readable"
        )
    };
    // An operator takes what its types are, as the server's own check has it.
    let cast = |side: &str, column: &str| {
        format!(
            "COALESCE((SELECT pg_catalog.format('::%I.%I', tn.nspname, t.typname) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
                       WHERE t.oid = o.{side} AND t.oid <> {column}.atttypid AND t.typtype <> 'p'), '')"
        )
    };
    let sql = format!(
        "{filled}, {TOUCHED}
         SELECT k.conname::text AS name, k.confmatchtype = 'f' AS whole, {period} AS period, {referring}, {referred},
                pg_catalog.has_table_privilege(k.confrelid, 'UPDATE, DELETE, TRUNCATE') AS referred_lockable,
                x.own, x.others, x.pairs
         FROM pg_catalog.pg_constraint k
         JOIN pg_catalog.pg_class referring ON referring.oid = k.conrelid JOIN pg_catalog.pg_namespace referring_in ON referring_in.oid = referring.relnamespace
         JOIN pg_catalog.pg_class referred ON referred.oid = k.confrelid JOIN pg_catalog.pg_namespace referred_in ON referred_in.oid = referred.relnamespace
         CROSS JOIN LATERAL (
           SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.place) AS own, pg_catalog.array_agg(b.attname::text ORDER BY u.place) AS others,
                  pg_catalog.array_agg(pg_catalog.format('pk.%I%s OPERATOR(%I.%s) fk.%I%s%s', b.attname, {left}, n.nspname, o.oprname, a.attname, {right},
                    (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                     WHERE co.oid = b.attcollation AND a.attcollation <> b.attcollation)) ORDER BY u.place) AS pairs
           FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop)) WITH ORDINALITY AS u (own, other, operator, place)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.own
           JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.other
           JOIN pg_catalog.pg_operator o ON o.oid = u.operator JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace) AS x
         WHERE k.contype = 'f' AND k.convalidated
           AND (k.conrelid IN (SELECT t.oid FROM touched t) OR k.confrelid IN (SELECT t.oid FROM touched t))
           AND (k.conparentid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_constraint p
                                             WHERE p.oid = k.conparentid AND NOT p.convalidated AND p.conrelid <> k.conrelid))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgrelid = k.conrelid AND t.tgenabled = 'D')
         ORDER BY referring_in.nspname, referring.relname, k.conname",
        referring = side("referring"),
        referred = side("referred"),
        left = cast("oprleft", "b"),
        right = cast("oprright", "a"),
    );
    session.rows(ctx, &sql, &[]).await
}

/// The query for how many rows refer to nothing, and one of these, as the server itself looks at the rows that a new key finds.
fn dangling(row: &Row, from: &Side, to: &Side) -> Result<String> {
    let quoted = |names: Vec<String>| names.iter().map(|name| ident(name)).collect::<Vec<_>>();
    let own: Vec<String> = quoted(column(row, "own")?).into_iter().map(|name| format!("fk.{name}")).collect();
    let others = quoted(column(row, "others")?);
    let pairs = column::<Vec<String>>(row, "pairs")?.join(" AND ");
    let given: Vec<String> = own.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let given = given.join(if column(row, "whole")? { " OR " } else { " AND " });
    let select = format!(
        "SELECT pg_catalog.count(*) AS number, pg_catalog.min(pg_catalog.concat_ws(', ', {})) AS one FROM {} AS fk",
        own.join(", "),
        from.said
    );
    let (Some(first), Some(own_last), Some(last)) = (others.first(), own.last(), others.last()) else {
        return Err(Error::internal("a foreign key has no columns"));
    };
    if column(row, "period")? {
        // All the time of the row has to be covered, by one or several.
        return Ok(format!(
            "{select} WHERE ({given}) AND ({own_last} OPERATOR(pg_catalog.<@)
               (SELECT pg_catalog.range_agg(pk.{last}) FROM {} AS pk WHERE {pairs})) IS NOT TRUE",
            to.said
        ));
    }
    Ok(format!("{select} LEFT JOIN {} AS pk ON {pairs} WHERE pk.{first} IS NULL AND ({given})", to.said))
}
