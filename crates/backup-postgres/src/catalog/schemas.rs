//! The database itself, its schemas and its extensions.

use backup_core::{Column, Result};

use super::node::{Body, Catalog, Node, Rank, class};
use super::reader::{Fields, OURS, Reader};
use crate::ddl::quote::{ident, literal};
use crate::rows::RowsSpec;
use crate::spec::{DatabaseSpec, Gate};

/// What the rest of the reading has to know of the database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) encoding: String,
}

/// Asks how the database was created.
pub(crate) fn database_sql(version: u32) -> String {
    let provider = if version >= 150_000 { "d.datlocprovider::text" } else { "'c'" };
    let locale = match version / 10_000 {
        17.. => "d.datlocale",
        15 | 16 => "d.daticulocale",
        _ => "NULL::text",
    };
    let rules = if version >= 160_000 { "d.daticurules" } else { "NULL::text" };
    format!(
        "SELECT d.oid, d.datname::text AS name, pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
                d.datcollate::text AS collate, d.datctype::text AS ctype, {provider} AS provider, {locale} AS locale, {rules} AS rules,
                pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
    )
}

/// The first node: the database's comment and settings, said without its name, which may be another one on restore.
pub(super) async fn database(reader: Reader<'_>, catalog: &mut Catalog) -> Result<Database> {
    let rows = reader.rows(&database_sql(reader.version)).await?;
    let row = rows.first().ok_or_else(|| backup_core::Error::internal("a session has no database"))?;
    let database =
        Database { name: row.text("name")?.to_owned(), encoding: row.text("encoding")?.to_owned() };
    let mut statements = Vec::new();
    if let Some(comment) = row.maybe("comment")? {
        statements.push(dynamic(&format!("COMMENT ON DATABASE %I IS {}", literal(comment)), None));
    }
    let labels = "SELECT l.provider, l.label FROM pg_catalog.pg_shseclabel l
                  JOIN pg_catalog.pg_database d ON d.oid = l.objoid AND d.datname = pg_catalog.current_database()
                  WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass ORDER BY l.provider";
    for row in reader.rows(labels).await? {
        // A provider's name is within the statement, where only the database's is filled in.
        let label = format!(
            "SECURITY LABEL FOR {} ON DATABASE %I IS {}",
            ident(row.text("provider")?).replace('%', "%%"),
            literal(row.text("label")?)
        );
        statements.push(dynamic(&label, None));
    }
    let mut node = Node::sql("database", &database.name, Rank::Objects, Vec::new());
    let settings = reader
        .rows(
            "SELECT r.rolname::text AS role, s.setting
             FROM pg_catalog.pg_db_role_setting c
             JOIN pg_catalog.pg_database d ON d.oid = c.setdatabase AND d.datname = pg_catalog.current_database()
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.setrole
             CROSS JOIN LATERAL pg_catalog.unnest(c.setconfig) WITH ORDINALITY AS s (setting, place)
             ORDER BY r.rolname NULLS FIRST, s.place",
        )
        .await?;
    for setting in &settings {
        let Some((name, value)) = setting.text("setting")?.split_once('=') else { continue };
        let value = format!("{} TO {}", ident(name), setting_value(name, value));
        match setting.maybe("role")? {
            None => statements.push(dynamic(&format!("ALTER DATABASE %I SET {value}"), None)),
            Some(role) => {
                node.roles.insert(role.to_owned());
                node.owners
                    .push(dynamic(&format!("ALTER ROLE %2$I IN DATABASE %1$I SET {value}"), Some(role)));
            }
        }
    }
    node.body = Body::Sql(statements);
    node.database = Some(DatabaseSpec {
        encoding: database.encoding.clone(),
        collate: row.text("collate")?.to_owned(),
        ctype: row.text("ctype")?.to_owned(),
        provider: row.text("provider")?.to_owned(),
        version: Some(reader.version / 10_000),
        locale: row.maybe("locale")?.map(str::to_owned),
        rules: row.maybe("rules")?.map(str::to_owned),
    });
    catalog.push(node);
    Ok(database)
}

/// A statement about the database that it is executed in; `template` is for `format()`, and percent signs of texts in it are doubled.
fn dynamic(template: &str, role: Option<&str>) -> String {
    let (places, rest) = match template.split_once('I') {
        // Only what comes before the texts has placeholders.
        Some(_) => split_placeholders(template),
        None => ("", template),
    };
    let template = format!("{places}{}", rest.replace('%', "%%"));
    let role = role.map_or(String::new(), |role| format!(", {}", literal(role)));
    let body = format!(
        "BEGIN EXECUTE pg_catalog.format({}, pg_catalog.current_database(){role}); END",
        literal(&template)
    );
    format!("DO LANGUAGE plpgsql {}", literal(&body))
}

/// The part of a template that has placeholders: up to the last `I` of one.
fn split_placeholders(template: &str) -> (&str, &str) {
    let last = ["DATABASE %I", "DATABASE %1$I"]
        .iter()
        .find_map(|mark| template.find(mark).map(|at| at + mark.len()));
    template.split_at(last.unwrap_or(0))
}

/// Values that are lists are stored quoted already, as pg_dump knows too.
pub(super) fn setting_value(name: &str, value: &str) -> String {
    const LISTS: [&str; 10] = [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
        "createrole_self_grant",
        "synchronized_standby_slots",
        "restrict_nonsystem_relation_kind",
        "debug_io_direct",
    ];
    if !LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        return literal(value);
    }
    // Names apart by commas, in double quotes where they need them.
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                names.last_mut().into_iter().for_each(|name| name.push('"'));
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            ' ' if !quoted => {}
            c => names.last_mut().into_iter().for_each(|name| name.push(c)),
        }
    }
    names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

/// Schemas. `public` is there in every new database, with an owner and privileges of its own.
pub(super) async fn schemas(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT n.oid, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
                n.nspacl::text[] AS acl,
                COALESCE(i.initprivs, pg_catalog.acldefault('n', n.nspowner))::text[] AS base,
                n.oid < 16384 AS initial, i.initprivs IS NULL AS plain,
                pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment
         FROM pg_catalog.pg_namespace n
         LEFT JOIN pg_catalog.pg_init_privs i
           ON i.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND i.objoid = n.oid AND i.privtype = 'i'
         WHERE {OURS} ORDER BY n.nspname"
    );
    for row in reader.rows(&sql).await? {
        let (oid, name, owner) = (row.oid("oid")?, row.text("name")?, row.text("owner")?);
        let key = (class::NAMESPACE, oid);
        if catalog.is_member(key) {
            continue;
        }
        let initial = row.is("initial")?;
        let what = format!("SCHEMA {}", ident(name));
        let create = if initial { vec![] } else { vec![format!("CREATE {what}")] };
        let mut node = Node::sql("schema", name, Rank::Objects, create).identity(&what);
        // Since version 15 the owner of a new database's public schema is pg_database_owner.
        let usual = if reader.version >= 150_000 { "pg_database_owner" } else { "" };
        if !initial || owner != usual {
            node = node.owned(&what, owner);
        }
        let (acl, base) = (row.get("acl")?, row.list("base")?);
        // What initdb granted was granted by whom it then belonged to.
        if !initial || owner == usual || row.is("plain")? {
            node.granted(&what, None, owner, acl, &base)?;
        } else {
            let renamed = |item: &String| rename_owner(item, usual, owner);
            let base: Vec<String> = base.iter().map(renamed).collect();
            node.granted(&what, None, owner, acl, &base)?;
        }
        if initial {
            comment_on_public(&row, &mut node, name)?;
        }
        catalog.add(key, node);
    }
    Ok(())
}

/// The privileges follow the owner when it changes.
fn rename_owner(item: &str, from: &str, to: &str) -> String {
    let plain = to.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let to = if plain { to.to_owned() } else { ident(to) };
    let item = item
        .strip_suffix(from)
        .filter(|rest| rest.ends_with('/'))
        .map_or(item.to_owned(), |rest| format!("{rest}{to}"));
    item.strip_prefix(from)
        .filter(|rest| rest.starts_with('='))
        .map(|rest| format!("{to}{rest}"))
        .unwrap_or(item)
}

/// A new database has a comment on its public schema.
fn comment_on_public(row: &Fields, node: &mut Node, name: &str) -> Result<()> {
    const USUAL: &str = "standard public schema";
    let identity = format!("SCHEMA {}", ident(name));
    match row.maybe("comment")? {
        Some(USUAL) => {}
        Some(comment) => node.comment(&identity, comment),
        None => node.comments.push(format!("COMMENT ON {identity} IS NULL")),
    }
    Ok(())
}

/// What each extension brings along, so that it is not made a second time.
pub(super) async fn members(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    // Of a type only itself is said to be a member: neither that of its arrays nor what is behind a composite one, or is made along with a range.
    let ranges = reader.since(
        14,
        "UNION ALL SELECT d.classid, x.oid, d.refobjid FROM member d JOIN pg_catalog.pg_range r ON r.rngtypid = d.objid
             JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid CROSS JOIN LATERAL (VALUES (m.oid), (m.typarray)) AS x (oid) WHERE d.classid = 1247",
        "",
    );
    let sql = format!(
        "WITH member AS (
           SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d
           WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass)
         SELECT classid, objid, refobjid FROM member
         UNION ALL SELECT d.classid, t.typarray, d.refobjid FROM member d JOIN pg_catalog.pg_type t ON t.oid = d.objid
             WHERE d.classid = {types} AND t.typarray <> 0
         UNION ALL SELECT {relations}, t.typrelid, d.refobjid FROM member d JOIN pg_catalog.pg_type t ON t.oid = d.objid
             WHERE d.classid = {types} AND t.typrelid <> 0
         UNION ALL SELECT {types}, x.oid, d.refobjid FROM member d JOIN pg_catalog.pg_class c ON c.oid = d.objid
             JOIN pg_catalog.pg_type t ON t.oid = c.reltype CROSS JOIN LATERAL (VALUES (t.oid), (t.typarray)) AS x (oid)
             WHERE d.classid = {relations} AND x.oid <> 0
         {ranges}",
        types = class::TYPE,
        relations = class::RELATION
    );
    for row in reader.rows(&sql).await? {
        catalog.members.insert((row.oid("classid")?, row.oid("objid")?), row.oid("refobjid")?);
    }
    Ok(())
}

/// Extensions, and the rows of their tables that are configuration.
pub(super) async fn extensions(reader: Reader<'_>, catalog: &mut Catalog, database: &Database) -> Result<()> {
    let sql = "SELECT e.oid, e.extname::text AS name, n.nspname::text AS schema, e.extversion AS version, e.extrelocatable AS relocatable
               FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
               WHERE e.oid >= 16384 ORDER BY e.extname";
    for row in reader.rows(sql).await? {
        let (oid, name, schema) = (row.oid("oid")?, row.text("name")?, row.text("schema")?);
        let create = format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}", ident(name), ident(schema));
        let mut node = Node::sql("extension", name, Rank::Objects, vec![create]);
        node = node.identity(format!("EXTENSION {}", ident(name)));
        node.extension = Some(name.to_owned());
        let id = catalog.add((class::EXTENSION, oid), node);
        let members: Vec<_> =
            catalog.members.iter().filter(|(_, of)| **of == oid).map(|(key, _)| *key).collect();
        for member in members {
            catalog.by_key.insert(member, id);
        }
    }
    let sql = "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
                      NULLIF(x.condition, '') AS condition,
                      ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
                      ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = c.oid AND a.attnum > 0
                            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS types
               FROM pg_catalog.pg_extension e
               CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS x (relation, condition)
               JOIN pg_catalog.pg_class c ON c.oid = x.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               ORDER BY n.nspname, c.relname";
    for row in reader.rows(sql).await? {
        let (oid, schema, name) = (row.oid("oid")?, row.text("schema")?, row.text("name")?);
        let columns: Vec<_> =
            row.list("columns")?.iter().zip(row.list("types")?).map(|(n, t)| Column::new(n, t)).collect();
        let (kind, columns, spec) = match row.text("kind")? {
            "S" => ("sequence", sequence_columns(), RowsSpec::Sequence { gate: Gate::Rows }),
            _ => {
                let condition = row.maybe("condition")?.map(condition_of);
                let encoding = database.encoding.clone();
                (
                    "table",
                    columns,
                    RowsSpec::Table { gate: Gate::Rows, encoding, blocks: None, condition, into: None },
                )
            }
        };
        let mut node = Node::sql(kind, name, Rank::Rows, vec![]).in_schema(schema);
        node.body = Body::Rows { columns, spec, size: 0 };
        node.needs.extend(catalog.by_key.get(&(class::RELATION, oid)));
        let id = catalog.push(node);
        catalog.rows_of.entry(oid).or_default().push(id);
    }
    Ok(())
}

/// An extension's condition begins with the word WHERE.
fn condition_of(text: &str) -> String {
    let text = text.trim();
    let rest = text.get(..5).filter(|word| word.eq_ignore_ascii_case("where")).and_then(|_| text.get(5..));
    rest.unwrap_or(text).to_owned()
}

/// The columns of a sequence's state.
pub(super) fn sequence_columns() -> Vec<Column> {
    vec![Column::new("last_value", "bigint"), Column::new("is_called", "boolean")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_a_statement_about_the_database_are_inert() {
        let sql = dynamic(&format!("COMMENT ON DATABASE %I IS {}", literal("100% I'm $$ %I")), None);
        assert_eq!(
            sql,
            "DO LANGUAGE plpgsql 'BEGIN EXECUTE pg_catalog.format(''COMMENT ON DATABASE %I IS ''''100%% I''''''''m $$ %%I'''''', pg_catalog.current_database()); END'"
        );
    }

    #[test]
    fn settings_that_are_lists_come_apart() {
        assert_eq!(setting_value("work_mem", "1GB"), "'1GB'");
        assert_eq!(
            setting_value("search_path", "\"$user\", public, \"a\"\"b,c\""),
            "'$user', 'public', 'a\"b,c'"
        );
    }

    #[test]
    fn an_extensions_condition_is_an_expression() {
        assert_eq!(condition_of(" WHERE id < 10"), " id < 10");
        assert_eq!(condition_of("id < 10"), "id < 10");
    }
}
