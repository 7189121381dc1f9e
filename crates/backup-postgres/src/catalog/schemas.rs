//! The database itself and its schemas.

use backup_core::{Column, Result};

use super::node::{Body, Catalog, Node, Rank, class};
use super::reader::{OURS, Reader};
use crate::ddl::acl::{self, Granted};
use crate::ddl::quote::{ident, literal};
use crate::spec::DatabaseSpec;

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

/// Schemas. One that is called `public` is there in every new database, with an owner, privileges and a comment of its own, and is never made:
/// whether that of the source is the one it began with does not matter.
pub(super) async fn schemas(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT n.oid, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
                n.nspacl::text[] AS acl, pg_catalog.acldefault('n', n.nspowner)::text[] AS base, n.oid < 16384 AS initial,
                pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment
         FROM pg_catalog.pg_namespace n WHERE {OURS} ORDER BY n.nspname"
    );
    for row in reader.rows(&sql).await? {
        let (oid, name, owner) = (row.oid("oid")?, row.text("name")?, row.text("owner")?);
        let key = (class::NAMESPACE, oid);
        if catalog.is_member(key) {
            continue;
        }
        let what = format!("SCHEMA {}", ident(name));
        let mut node = Node::sql("schema", name, Rank::Objects, vec![]).identity(&what);
        let is_public = name == "public";
        if is_public {
            // Since version 15 the owner of a new database's public schema is pg_database_owner.
            if reader.version < 150_000 || owner != "pg_database_owner" {
                node = node.owned(&what, owner);
            }
            let acl: Option<Vec<String>> = row.get("acl")?;
            granted_on_public(
                &mut node,
                &what,
                owner,
                acl.map_or_else(|| row.list("base"), Ok)?,
                reader.version,
            )?;
        } else {
            node.push(format!("CREATE {what}"));
            node = node.owned(&what, owner);
            node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
        }
        match row.maybe("comment")? {
            None if is_public => node.comments.push(format!("COMMENT ON {what} IS NULL")),
            Some("standard public schema") if is_public => {}
            // Those of what the database did not begin with come later.
            Some(comment) if row.is("initial")? => node.comment(&what, comment),
            _ => {}
        }
        catalog.add(key, node);
    }
    Ok(())
}

/// Says the privileges on the public schema, if they are not those of a new database. Those of another version's may be others, so they are
/// said whole.
fn granted_on_public(node: &mut Node, what: &str, owner: &str, acl: Vec<String>, version: u32) -> Result<()> {
    let quoted = ident(owner);
    let own = format!("{quoted}=UC/{quoted}");
    let of_public = if version >= 150_000 { "U" } else { "UC" };
    let usual = [own.clone(), format!("={of_public}/{quoted}")];
    let granted = Granted { on: what, column: None, owner };
    if !acl::statements(granted, &acl, &usual, &mut node.roles)?.is_empty() {
        node.owners.push(format!("REVOKE ALL ON {what} FROM PUBLIC"));
        node.granted(what, None, owner, Some(acl), &[own])?;
    }
    Ok(())
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
    fn privileges_on_the_public_schema_are_said_whole_or_not_at_all() {
        let said = |acl: &[&str], version| {
            let mut node = Node::sql("schema", "public", Rank::Objects, vec![]);
            let acl = acl.iter().map(|item| (*item).to_owned()).collect();
            granted_on_public(&mut node, "SCHEMA \"public\"", "o w", acl, version).unwrap();
            node.owners
        };
        let (old, new) = (["\"o w\"=UC/\"o w\"", "=UC/\"o w\""], ["\"o w\"=UC/\"o w\"", "=U/\"o w\""]);
        assert_eq!(said(&old, 140_000), [""; 0]);
        assert_eq!(said(&new, 150_000), [""; 0]);
        let revoke = "REVOKE ALL ON SCHEMA \"public\" FROM PUBLIC";
        assert_eq!(said(&new, 140_000), [revoke, "GRANT USAGE ON SCHEMA \"public\" TO PUBLIC"]);
        assert_eq!(said(&old, 150_000), [revoke, "GRANT USAGE, CREATE ON SCHEMA \"public\" TO PUBLIC"]);
        assert_eq!(said(&old[..1], 140_000), [revoke]);
        assert_eq!(said(&[], 180_000), [revoke, "REVOKE ALL ON SCHEMA \"public\" FROM \"o w\""]);
    }

    #[test]
    fn settings_that_are_lists_come_apart() {
        assert_eq!(setting_value("work_mem", "1GB"), "'1GB'");
        assert_eq!(
            setting_value("search_path", "\"$user\", public, \"a\"\"b,c\""),
            "'$user', 'public', 'a\"b,c'"
        );
    }
}
