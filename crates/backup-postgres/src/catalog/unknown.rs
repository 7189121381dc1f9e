//! What is in a database, whatever it is: a backup must not be reported good without it, and no restore may drop it unasked.

use backup_core::{Error, Result};

use super::node::{Catalog, class};
use super::reader::{Fields, OURS, Reader};

/// Every catalog of objects: its name, the schema column if its objects are in schemas, and what else is none of ours.
const CATALOGS: [(&str, Option<&str>, &str); 29] = [
    ("pg_class", Some("relnamespace"), "true"),
    (
        "pg_type",
        Some("typnamespace"),
        "NOT EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = o.typrelid AND r.relkind <> 'c')
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = o.typelem AND e.typarray = o.oid)",
    ),
    (
        "pg_proc",
        Some("pronamespace"),
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = o.oid AND d.deptype = 'i')",
    ),
    ("pg_constraint", Some("connamespace"), "true"),
    ("pg_collation", Some("collnamespace"), "true"),
    ("pg_conversion", Some("connamespace"), "true"),
    ("pg_operator", Some("oprnamespace"), "true"),
    ("pg_opclass", Some("opcnamespace"), "true"),
    ("pg_opfamily", Some("opfnamespace"), "true"),
    ("pg_ts_config", Some("cfgnamespace"), "true"),
    ("pg_ts_dict", Some("dictnamespace"), "true"),
    ("pg_ts_parser", Some("prsnamespace"), "true"),
    ("pg_ts_template", Some("tmplnamespace"), "true"),
    ("pg_statistic_ext", Some("stxnamespace"), "true"),
    ("pg_namespace", None, "o.nspname !~ '^pg_'"),
    ("pg_extension", None, "true"),
    ("pg_trigger", None, "true"),
    ("pg_rewrite", None, "true"),
    ("pg_policy", None, "true"),
    (
        "pg_cast",
        None,
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = o.oid AND d.deptype = 'i')",
    ),
    ("pg_language", None, "true"),
    ("pg_am", None, "true"),
    ("pg_transform", None, "true"),
    ("pg_foreign_data_wrapper", None, "true"),
    ("pg_foreign_server", None, "true"),
    ("pg_event_trigger", None, "true"),
    ("pg_publication", None, "true"),
    ("pg_default_acl", None, "true"),
    ("pg_largeobject_metadata", None, "true"),
];

/// How many are named.
const NAMED: usize = 10;

/// What belongs to tables and domains of extensions, and is said to be no member itself: the extension makes it. What was not made together
/// with it may be somebody's own, and is told.
pub(super) async fn of_extensions(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let of = |class: u32, name: &str, oid: &str, owner_class: u32, owner: &str| {
        format!(
            "SELECT {class}::oid AS classid, o.{oid} AS oid, o.xmin = m.made AS own
             FROM pg_catalog.{name} o JOIN member m ON m.classid = {owner_class} AND m.objid = o.{owner}"
        )
    };
    let selects = [
        of(class::CONSTRAINT, "pg_constraint", "oid", class::RELATION, "conrelid"),
        of(class::CONSTRAINT, "pg_constraint", "oid", class::TYPE, "contypid"),
        of(class::RELATION, "pg_index", "indexrelid", class::RELATION, "indrelid"),
        of(class::TRIGGER, "pg_trigger", "oid", class::RELATION, "tgrelid") + " WHERE o.tgconstraint = 0",
        // The triggers of a key are on both its tables, and made with it.
        format!(
            "SELECT {}::oid, o.oid, true FROM pg_catalog.pg_trigger o JOIN pg_catalog.pg_constraint k ON k.oid = o.tgconstraint
             WHERE EXISTS (SELECT FROM member m WHERE m.classid = {relation} AND m.objid IN (o.tgrelid, k.conrelid))",
            class::TRIGGER,
            relation = class::RELATION
        ),
        of(class::REWRITE, "pg_rewrite", "oid", class::RELATION, "ev_class"),
        of(class::STATISTICS, "pg_statistic_ext", "oid", class::RELATION, "stxrelid"),
    ];
    let sql = format!(
        "WITH member AS (
           SELECT d.classid, d.objid, e.xmin AS made FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
           WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass)
         SELECT x.classid, x.oid, CASE WHEN NOT x.own THEN pg_catalog.pg_describe_object(x.classid, x.oid, 0) END AS described
         FROM ({}) AS x",
        selects.join(" UNION ALL ")
    );
    for row in reader.rows(&sql).await? {
        let key = (row.oid("classid")?, row.oid("oid")?);
        catalog.left_out.insert(key);
        if let Some(described) = row.maybe("described")? {
            reader.ctx.warn(format!(
                "{} is not in the backup: it belongs to an extension, which is expected to make it, and was not made with it",
                described.escape_debug()
            ));
        }
    }
    Ok(())
}

/// What somebody has put into the system's schemas, which nobody backs up, is told.
pub(super) async fn in_system_schemas(reader: Reader<'_>, catalog: &Catalog) -> Result<()> {
    let of = |(name, schema, condition): &(&str, Option<&str>, &str)| {
        let column = (*schema)?;
        Some(format!(
            "SELECT 'pg_catalog.{name}'::pg_catalog.regclass::oid AS classid, o.oid FROM pg_catalog.{name} o
             WHERE o.oid >= 16384 AND o.{column} IN ('pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace) AND ({condition})"
        ))
    };
    let selects: Vec<String> = CATALOGS.iter().filter_map(of).collect();
    let sql = format!(
        "SELECT x.classid, x.oid, pg_catalog.pg_describe_object(x.classid, x.oid, 0) AS described FROM ({}) AS x ORDER BY 3",
        selects.join(" UNION ALL ")
    );
    for row in reader.rows(&sql).await? {
        let key = (row.oid("classid")?, row.oid("oid")?);
        let is_extensions = catalog.is_member(key) || catalog.left_out.contains(&key);
        if let Some(described) = row.maybe("described")?.filter(|_| !is_extensions) {
            reader.ctx.warn(format!(
                "{} is not in the backup: it is in a schema of the system's",
                described.escape_debug()
            ));
        }
    }
    Ok(())
}

/// Asks whether there is anything that a new database has not.
pub(crate) fn anything_sql() -> String {
    // Whoever makes a large object may choose its number.
    format!(
        "SELECT EXISTS ({}) OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS full",
        selects().join(" UNION ALL ")
    )
}

/// The class and the oid of what each catalog has.
fn selects() -> Vec<String> {
    let one = |(name, schema, condition): &(&str, Option<&str>, &str)| {
        let (join, ours) = match schema {
            Some(column) => (format!("JOIN pg_catalog.pg_namespace n ON n.oid = o.{column}"), OURS),
            None => (String::new(), "true"),
        };
        format!(
            "SELECT 'pg_catalog.{name}'::pg_catalog.regclass::oid AS classid, o.oid FROM pg_catalog.{name} o {join}
             WHERE o.oid >= 16384 AND {ours} AND ({condition})"
        )
    };
    CATALOGS.iter().map(one).collect()
}

/// Reads all that there is.
pub(super) async fn read(reader: Reader<'_>) -> Result<Vec<Fields>> {
    let mut selects = selects();
    let readable =
        "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'oid', 'SELECT') AS readable";
    // A subscription is another database's, unless it is this one's. Before version 14 not everybody may read them.
    if reader.version >= 140_000
        || reader.rows(readable).await?.first().map_or(Ok(false), |row| row.is("readable"))?
    {
        selects.push(
            "SELECT 'pg_catalog.pg_subscription'::pg_catalog.regclass::oid, o.oid FROM pg_catalog.pg_subscription o
             JOIN pg_catalog.pg_database d ON d.oid = o.subdbid WHERE d.datname = pg_catalog.current_database()"
                .to_owned(),
        );
    }
    // User mappings are read through their view, which everybody may.
    selects.push(
        "SELECT 'pg_catalog.pg_user_mapping'::pg_catalog.regclass::oid, o.umid FROM pg_catalog.pg_user_mappings o".to_owned(),
    );
    reader.rows(&selects.join(" UNION ALL ")).await
}

/// An error that names what of `everything` no part of the backup would make.
pub(super) async fn refuse(reader: Reader<'_>, catalog: &Catalog, everything: &[Fields]) -> Result<()> {
    let mut unknown = Vec::new();
    for row in everything {
        let key = (row.oid("classid")?, row.oid("oid")?);
        let known =
            catalog.by_key.contains_key(&key) || catalog.is_member(key) || catalog.left_out.contains(&key);
        if !known {
            unknown.push(key);
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let described = format!(
        "SELECT pg_catalog.pg_describe_object(x.classid, x.oid, 0) AS described FROM (VALUES {}) AS x (classid, oid)",
        unknown
            .iter()
            .take(NAMED)
            .map(|(class, oid)| format!("({class}::oid, {oid}::oid)"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let mut names = Vec::new();
    for row in reader.rows(&described).await? {
        names.push(row.maybe("described")?.unwrap_or("an object that went away").escape_debug().to_string());
    }
    let more =
        if unknown.len() > NAMED { format!(" and {} more", unknown.len() - NAMED) } else { String::new() };
    Err(Error::unsupported(format!("the database has what cannot be backed up yet: {}{more}", names.join(", ")))
        .hint("nothing is left out silently: drop them, back up with pg_dump, or wait for a version that knows them"))
}
