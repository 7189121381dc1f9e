//! Large objects of a database that stays and gets the bytes of some: none is written over unless that was asked for, and then it is emptied first.

use backup_core::{Ctx, Part, Result};

use super::replace::not_empty;
use crate::connect::{Session, column};
use crate::rows::RowsSpec;
use crate::spec::read;

/// How many are looked at in one statement.
const BATCH: usize = 1000;

/// Those of some numbers that hold something: one after the other, opened as they will be to be written, and closed again whatever they hold.
const FULL: &str = "SELECT c.oid FROM (
     SELECT s.oid, s.size, pg_catalog.lo_close(s.f) FROM (
       SELECT o.oid, o.f, pg_catalog.lo_lseek64(o.f, 0, 2) AS size FROM (
         SELECT m.oid, pg_catalog.lo_open(m.oid, 131072) AS f FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = ANY ($1) ORDER BY m.oid
       ) AS o) AS s OFFSET 0) AS c WHERE c.size > 0 LIMIT 1";
/// Empties those of some numbers, which keep their owners and privileges.
const EMPTY: &str = "SELECT pg_catalog.lo_close(e.f) FROM (
     SELECT o.f, pg_catalog.lo_truncate64(o.f, 0) FROM (
       SELECT pg_catalog.lo_open(m.oid, 131072) AS f FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = ANY ($1)
     ) AS o) AS e";
/// Makes those of some numbers that are not there.
const MAKE: &str =
    "SELECT pg_catalog.lo_create(x.oid) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS x (oid)
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = x.oid)";

/// Makes room for the bytes that the parts hold. An error by name if something is there that is not to be replaced.
pub(super) async fn make_room(ctx: &Ctx, session: &Session, parts: &[Part], replaces: bool) -> Result<()> {
    let mut numbers = Vec::new();
    for part in parts {
        if let RowsSpec::LargeObjects { numbers: some, .. } = read(part)? {
            numbers.extend(some);
        }
    }
    for batch in numbers.chunks(BATCH) {
        if replaces {
            session.rows(ctx, EMPTY, &[&batch]).await?;
        } else if let Some(row) = session.rows(ctx, FULL, &[&batch]).await?.first() {
            let oid = column::<u32>(row, "oid")?;
            return Err(not_empty(format!("large object {oid} of the target holds something")));
        }
        session.rows(ctx, MAKE, &[&batch]).await?;
    }
    Ok(())
}
