//! What keeps the tables as they are while they are read, and how it is noticed if they did not stay so before that.

use backup_core::{BackupRequest, Error, ErrorKind, Result};

use super::reader::Reader;
use super::relations::{Relation, RelationKind, Relations};
use crate::ddl::quote::literal;

/// How many tables are locked by one statement.
const BATCH: usize = 500;

/// Locks the tables that `request` selects against everything but reading and writing, and makes sure that what was locked is what the
/// snapshot has under these names.
pub(crate) async fn lock(
    reader: Reader<'_>,
    relations: &Relations,
    request: &BackupRequest,
    database: &str,
) -> Result<()> {
    let selected = |relation: &&Relation| {
        let name = relations.selected_as(relation).unwrap_or(&relation.name);
        matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned)
            && (request.filter.is_everything()
                || request.filter.selects(Some(database), Some(&relation.schema), name))
    };
    let tables: Vec<&Relation> = relations.all.iter().filter(selected).collect();
    for batch in tables.chunks(BATCH) {
        let names: Vec<String> = batch.iter().map(|table| format!("ONLY {}", table.quoted())).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        reader.session.execute(reader.ctx, &sql).await.map_err(|error| error.during("lock the tables"))?;
        // What a name means now, not what it meant when the snapshot was taken.
        let values: Vec<String> =
            batch.iter().map(|table| format!("({}::oid, {})", table.oid, literal(&table.quoted()))).collect();
        let sql = format!(
            "SELECT x.name FROM (VALUES {}) AS x (oid, name) WHERE pg_catalog.to_regclass(x.name)::oid IS DISTINCT FROM x.oid LIMIT 1",
            values.join(", ")
        );
        if let Some(row) = reader.rows(&sql).await?.first() {
            let message = format!("{} was replaced while the backup began", row.text("name")?.escape_debug());
            return Err(Error::new(ErrorKind::Locked, message).hint("run it again"));
        }
    }
    Ok(())
}

/// A text that is the same as long as no object of the database was made, changed or dropped. In the snapshot it says what the backup
/// is of, in a fresh transaction what the server's functions see that write objects as SQL.
pub(crate) async fn fingerprint(reader: Reader<'_>) -> Result<String> {
    let of = |catalog: &str, row: &str, condition: &str| {
        format!(
            "SELECT '{catalog}' AS catalog, pg_catalog.count(*) AS n,
                    COALESCE(pg_catalog.sum(pg_catalog.hashtextextended({row} || ':' || o.xmin::text, 0)::numeric), 0) AS sum
             FROM pg_catalog.{catalog} o WHERE {condition}"
        )
    };
    // Temporary objects of others come and go.
    let lasting = |column: &str| {
        format!(
            "o.{column} NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^pg_(temp|toast)')"
        )
    };
    let of_lasting = |column: &str| {
        format!(
            "o.{column} >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid = o.{column} AND n.nspname ~ '^pg_(temp|toast)')"
        )
    };
    let plain = "o.oid >= 16384";
    let selects = [
        of("pg_class", "o.oid::text", &format!("{plain} AND {}", lasting("relnamespace"))),
        of("pg_type", "o.oid::text", &format!("{plain} AND {}", lasting("typnamespace"))),
        of("pg_proc", "o.oid::text", &format!("{plain} AND {}", lasting("pronamespace"))),
        of("pg_constraint", "o.oid::text", &format!("{plain} AND {}", lasting("connamespace"))),
        of("pg_namespace", "o.oid::text", &format!("o.nspname !~ '^pg_(temp|toast)' AND {plain}")),
        of("pg_attribute", "o.attrelid::text || '.' || o.attnum::text", &of_lasting("attrelid")),
        of("pg_attrdef", "o.oid::text", &of_lasting("adrelid")),
        of("pg_index", "o.indexrelid::text", &of_lasting("indrelid")),
        of("pg_trigger", "o.oid::text", &of_lasting("tgrelid")),
        of("pg_rewrite", "o.oid::text", &of_lasting("ev_class")),
        of("pg_inherits", "o.inhrelid::text || '.' || o.inhseqno::text", &of_lasting("inhrelid")),
        of("pg_policy", "o.oid::text", plain),
        of("pg_enum", "o.oid::text", plain),
        of("pg_operator", "o.oid::text", plain),
        of("pg_statistic_ext", "o.oid::text", plain),
        of("pg_event_trigger", "o.oid::text", plain),
        of("pg_extension", "o.oid::text", plain),
    ];
    let sql = format!(
        "SELECT pg_catalog.string_agg(catalog || ' ' || n::text || ' ' || sum::text, E'\\n' ORDER BY catalog) AS print FROM ({}) AS all_catalogs",
        selects.join(" UNION ALL ")
    );
    let rows = reader.rows(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::internal("a fingerprint has no row"))?;
    Ok(row.text("print")?.to_owned())
}
