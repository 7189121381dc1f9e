//! Sequences of a database that stays. What `setval` does is not taken back with its transaction; that a sequence begins anew is, and with it
//! whatever is done to it from then on.

use std::collections::BTreeMap;

use backup_core::{Ctx, Part, PartKind, Result};

use crate::connect::{Session, column};
use crate::rows::{self, RowsSpec};
use crate::spec::read;

/// How many are altered in one message.
const BATCH: usize = 500;

/// Has the sequences begin anew whose states parts are, within the transaction: nobody else gets numbers of them until it ends. Only who
/// owns one may do that. Tables are locked before, as by whoever inserts.
pub(super) async fn begin_anew(ctx: &Ctx, session: &Session, parts: &[Part]) -> Result<()> {
    let mut sequences = BTreeMap::new();
    for part in parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })) {
        if let RowsSpec::Sequence { .. } = read(part)? {
            sequences.insert(rows::table(part), &part.object);
        }
    }
    let others = "SELECT x.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS x (name)
                  JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(x.name) WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')";
    let names: Vec<&String> = sequences.keys().collect();
    for row in session.rows(ctx, others, &[&names]).await? {
        if let Some(sequence) = sequences.remove(column::<&str>(&row, "name")?) {
            ctx.warn(format!(
                "{sequence} is set at once and stays so even if the restore fails: only its owner can have it otherwise"
            ));
        }
    }
    let names: Vec<String> = sequences.into_keys().collect();
    for batch in names.chunks(BATCH) {
        let sql: String = batch.iter().map(|name| format!("ALTER SEQUENCE {name} RESTART; ")).collect();
        session.execute(ctx, &sql).await.map_err(|error| error.during("have the sequences begin anew"))?;
    }
    Ok(())
}
