//! What was altered or dropped since the snapshot, of that which it shows: the server's functions say objects as they are now. What is
//! newer than the snapshot is of no concern.

use std::collections::{BTreeSet, HashMap};

use backup_core::Result;

use super::node::{Key, class};
use super::reader::{Fields, Reader};

/// What comes and goes in a row of a catalog without its object being said otherwise: what rows take up, and what is read out of the
/// snapshot itself. The file of an index or a materialized view is among it, which each REFRESH replaces, but not that of a table, which a
/// snapshot does not show any more once it is truncated.
const FLEETING: &str = "'{relfilenode,relpages,reltuples,relallvisible,relallfrozen,reltoastrelid,relhasindex,relhasrules,relhastriggers,relhassubclass,relispopulated,relfrozenxid,relminmxid,indcheckxmin}'::text[]";

/// An object that is not as the snapshot shows it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) of: Key,
    /// For people.
    pub(crate) name: String,
}

/// A row of a catalog that the snapshot shows, though there may be a newer one.
struct Old {
    said: i64,
    change: Change,
}

/// What changed up to now of what the snapshot of `reader` shows. `now` sees what is.
pub(crate) async fn changes(reader: Reader<'_>, now: Reader<'_>) -> Result<Vec<Change>> {
    let sql = format!(
        "SELECT x.catalog, x.key, x.said, x.class, x.object, COALESCE(n.nspname || '.' || c.relname, x.name, '')::text AS name
         FROM ({}) AS x LEFT JOIN pg_catalog.pg_class c ON x.class = {} AND c.oid = x.object LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         ORDER BY 6, 1, 2",
        // Whoever altered or deleted a row has left its number there; whether that was to any effect is seen only now.
        rows_sql(|_, _| Some("o.xmax <> 0".to_owned())),
        class::RELATION
    );
    let mut old = Vec::new();
    for row in reader.rows(&sql).await? {
        let change =
            Change { of: (row.oid("class")?, row.oid("object")?), name: row.text("name")?.to_owned() };
        old.push((place(&row)?, Old { said: row.get("said")?, change }));
    }
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys: HashMap<&str, Vec<&str>> = HashMap::new();
    for ((catalog, key), _) in &old {
        keys.entry(catalog).or_default().push(key);
    }
    let sql = rows_sql(|catalog, key| {
        // They consist of numbers.
        keys.get(catalog).map(|keys| format!("{key} = ANY ('{{{}}}'::text[])", keys.join(",")))
    });
    let mut is_now: HashMap<(String, String), i64> = HashMap::new();
    for row in now.rows(&sql).await? {
        is_now.insert(place(&row)?, row.get("said")?);
    }
    let changed = old.into_iter().filter(|(place, old)| is_now.get(place) != Some(&old.said));
    Ok(changed.map(|(_, old)| old.change).collect())
}

/// For people: what changed, each once.
pub(crate) fn named<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<String> {
    let names: BTreeSet<&str> = changes.into_iter().map(|change| change.name.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn place(row: &Fields) -> Result<(String, String)> {
    Ok((row.text("catalog")?.to_owned(), row.text("key")?.to_owned()))
}

/// The rows of all catalogs out of which objects are said, each with the object whose it is and a number that is another if it says
/// something else. `which` says a condition for a catalog and what its rows are known by, if any is wanted.
fn rows_sql(which: impl Fn(&str, &str) -> Option<String>) -> String {
    let select = |catalog: &str, key: &str, of: &str, name: &str, condition: &str| {
        let which = which(catalog, key)?;
        // Who wrote a row: it may be as it was, and have been otherwise in between. Rows of what has a file are written anew by REFRESH and
        // the like.
        let besides = match catalog {
            "pg_class" => {
                "CASE WHEN o.relkind = 'r' THEN o.relfilenode::text WHEN o.relkind IN ('v', 'c') THEN o.xmin::text ELSE '' END"
            }
            "pg_index" => "''",
            _ => "o.xmin::text",
        };
        Some(format!(
            "SELECT '{catalog}'::text AS catalog, {key} AS key, {of}, {name}::text AS name,
                    pg_catalog.hashtextextended((pg_catalog.to_jsonb(o) - {FLEETING})::text || {besides}, 0) AS said
             FROM pg_catalog.{catalog} o WHERE {which} AND {condition}"
        ))
    };
    // Temporary objects of others come and go.
    let object = |catalog: &str, of: u32, name: &str, schema: Option<&str>| {
        let condition = schema.map_or("true".to_owned(), |column| {
            format!(
                "o.{column} NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^pg_(temp|toast)')"
            )
        });
        let full = schema.map_or(format!("o.{name}"), |column| {
            format!("(SELECT n.nspname || '.' FROM pg_catalog.pg_namespace n WHERE n.oid = o.{column}) || o.{name}")
        });
        let of = match catalog {
            // Its index is a table's, and its rows are of a type.
            "pg_class" => format!(
                "(CASE o.relkind WHEN 'c' THEN {} ELSE {of} END)::oid AS class,
                 CASE WHEN o.relkind IN ('i', 'I') THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = o.oid)
                      WHEN o.relkind = 'c' THEN o.reltype ELSE o.oid END AS object",
                class::TYPE
            ),
            "pg_constraint" => format!(
                "(CASE WHEN o.contypid <> 0 THEN {} ELSE {of} END)::oid AS class,
                 CASE WHEN o.contypid <> 0 THEN o.contypid ELSE o.conrelid END AS object",
                class::TYPE
            ),
            _ => format!("{of}::oid AS class, o.oid AS object"),
        };
        select(catalog, "o.oid::text", &of, &full, &format!("o.oid >= 16384 AND {condition}"))
    };
    let of_relation = |catalog: &str, key: &str, relation: &str| {
        let condition = format!(
            "o.{relation} >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid = o.{relation} AND n.nspname ~ '^pg_(temp|toast)')"
        );
        let of = format!("{}::oid AS class, o.{relation} AS object", class::RELATION);
        select(catalog, key, &of, "NULL", &condition)
    };
    let label = format!("{}::oid AS class, o.enumtypid AS object", class::TYPE);
    let selects = [
        object("pg_class", class::RELATION, "relname", Some("relnamespace")),
        object("pg_type", class::TYPE, "typname", Some("typnamespace")),
        object("pg_proc", class::PROC, "proname", Some("pronamespace")),
        object("pg_constraint", class::RELATION, "conname", Some("connamespace")),
        select(
            "pg_namespace",
            "o.oid::text",
            &format!("{}::oid AS class, o.oid AS object", class::NAMESPACE),
            "o.nspname",
            "o.nspname !~ '^pg_'",
        ),
        of_relation("pg_attribute", "o.attrelid::text || '.' || o.attnum::text", "attrelid"),
        of_relation("pg_attrdef", "o.oid::text", "adrelid"),
        of_relation("pg_index", "o.indexrelid::text", "indrelid"),
        of_relation("pg_trigger", "o.oid::text", "tgrelid"),
        of_relation("pg_rewrite", "o.oid::text", "ev_class"),
        of_relation("pg_inherits", "o.inhrelid::text || '.' || o.inhseqno::text", "inhrelid"),
        of_relation("pg_policy", "o.oid::text", "polrelid"),
        select("pg_enum", "o.oid::text", &label, "o.enumlabel", "o.oid >= 16384"),
        object("pg_operator", class::OPERATOR, "oprname", Some("oprnamespace")),
        object("pg_statistic_ext", class::STATISTICS, "stxname", Some("stxnamespace")),
        object("pg_collation", class::COLLATION, "collname", Some("collnamespace")),
        object("pg_opclass", class::OPCLASS, "opcname", Some("opcnamespace")),
        object("pg_ts_config", class::TS_CONFIGURATION, "cfgname", Some("cfgnamespace")),
        object("pg_ts_dict", class::TS_DICTIONARY, "dictname", Some("dictnamespace")),
        object("pg_language", class::LANGUAGE, "lanname", None),
        object("pg_am", class::ACCESS_METHOD, "amname", None),
        object("pg_event_trigger", class::EVENT_TRIGGER, "evtname", None),
        object("pg_extension", class::EXTENSION, "extname", None),
    ];
    selects.into_iter().flatten().collect::<Vec<_>>().join(" UNION ALL ")
}
