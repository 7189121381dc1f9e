//! The database itself: how it was created, to whom it belongs, and what is said of it.

use backup_core::{Error, Result};

use super::node::{Body, Catalog, Node, Rank};
use super::reader::{Fields, Reader, shared, utf8};
use crate::ddl::quote::{block, ident, literal};
use crate::spec::{DatabaseSpec, PlaceSpec};

/// What the rest of the reading has to know of the database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) encoding: String,
}

/// How the session's database was created.
pub(crate) async fn created(reader: Reader<'_>) -> Result<DatabaseSpec> {
    let provider = reader.since(15, "d.datlocprovider::text", "'c'");
    let locale = match reader.version / 10_000 {
        17.. => "d.datlocale",
        15 | 16 => "d.daticulocale",
        _ => "NULL::text",
    };
    let rules = reader.since(16, "d.daticurules", "NULL::text");
    let sql = format!(
        "SELECT pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
                d.datcollate::text AS collate, d.datctype::text AS ctype, {provider} AS provider, {locale} AS locale, {rules} AS rules
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
    );
    let rows = reader.rows(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::internal("a session has no database"))?;
    Ok(DatabaseSpec {
        encoding: row.text("encoding")?.to_owned(),
        collate: row.text("collate")?.to_owned(),
        ctype: row.text("ctype")?.to_owned(),
        provider: row.text("provider")?.to_owned(),
        version: None,
        locale: row.maybe("locale")?.map(str::to_owned),
        rules: row.maybe("rules")?.map(str::to_owned),
        preload: Vec::new(),
        place: None,
    })
}

/// To whom a database belongs, and what else is of its place and not of what is in it. None if it is not there.
pub(crate) async fn place(reader: Reader<'_>, database: &str) -> Result<Option<PlaceSpec>> {
    let sql = format!(
        "SELECT pg_catalog.pg_get_userbyid(d.datdba)::text AS owner, d.datacl::text[] AS acl,
                pg_catalog.acldefault('d', d.datdba)::text[] AS base, d.datconnlimit AS connections, s.spcname::text AS tablespace
         FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = d.dattablespace AND s.spcname <> 'pg_default'
         WHERE d.datname = {}",
        literal(database)
    );
    let place = |row: &Fields| {
        Ok(PlaceSpec {
            owner: row.text("owner")?.to_owned(),
            acl: row.get("acl")?,
            base: row.list("base")?,
            connections: row.get("connections")?,
            tablespace: row.maybe("tablespace")?.map(str::to_owned),
        })
    };
    reader.rows(&sql).await?.first().map(place).transpose()
}

/// One thing that is said of a database: its comment, a label, a setting that sessions with it begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saying {
    /// What it is, for people. Of a database nothing else is that.
    pub(crate) what: String,
    /// The role whose sessions a setting is for, if it is not for all.
    role: Option<String>,
    /// The libraries that sessions begin with, if it says that.
    libraries: Vec<String>,
    /// The statement up to the database's name, and what comes behind that.
    said: (String, String),
}

/// The setting of what is loaded when a session begins.
const PRELOAD: &str = "session_preload_libraries";

impl Saying {
    /// What is no setting.
    fn of_all(what: String, said: (String, String)) -> Self {
        Self { what, role: None, libraries: Vec::new(), said }
    }

    /// The statement that says it of the database of that name.
    pub(crate) fn of(&self, database: &str) -> String {
        let (before, behind) = &self.said;
        format!("{before}{}{behind}", ident(database))
    }

    /// The same of the database that it is executed in, whatever that is called.
    fn of_this(&self) -> String {
        let (before, behind) = &self.said;
        let template = format!("{}%I{}", before.replace('%', "%%"), behind.replace('%', "%%"));
        let body = format!(
            "BEGIN EXECUTE pg_catalog.format({}, pg_catalog.current_database()); END",
            literal(&template)
        );
        block(&body)
    }
}

/// What is said of a database.
pub(crate) async fn sayings(reader: Reader<'_>, database: &str) -> Result<Vec<Saying>> {
    let database = literal(database);
    let mut sayings = Vec::new();
    let comment = format!(
        "SELECT {} AS comment FROM pg_catalog.pg_database d WHERE d.datname = {database}",
        shared("pg_catalog.shobj_description(d.oid, 'pg_database')")
    );
    for row in reader.rows(&comment).await? {
        let comment = row.maybe_shared(reader.ctx, "comment", "the comment of the database")?;
        let Some(comment) = comment else { continue };
        let said = ("COMMENT ON DATABASE ".to_owned(), format!(" IS {}", literal(comment)));
        sayings.push(Saying::of_all("the comment".to_owned(), said));
    }
    let labels = format!(
        "SELECT l.provider, l.label FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid AND d.datname = {database}
         WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass ORDER BY l.provider"
    );
    for row in reader.rows(&labels).await? {
        let provider = row.text("provider")?;
        let said = (
            format!("SECURITY LABEL FOR {} ON DATABASE ", ident(provider)),
            format!(" IS {}", literal(row.text("label")?)),
        );
        sayings.push(Saying::of_all(format!("the security label of {}", provider.escape_debug()), said));
    }
    let settings = format!(
        "SELECT {} AS role, {} AS setting
         FROM pg_catalog.pg_db_role_setting c JOIN pg_catalog.pg_database d ON d.oid = c.setdatabase AND d.datname = {database}
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.setrole
         CROSS JOIN LATERAL pg_catalog.unnest(c.setconfig) WITH ORDINALITY AS s (setting, place)
         ORDER BY r.rolname NULLS FIRST, s.place",
        shared("r.rolname"),
        shared("s.setting")
    );
    for row in reader.rows(&settings).await? {
        let setting = row.maybe_shared(reader.ctx, "setting", "a setting of the database")?;
        let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) else { continue };
        let behind = format!(" SET {} TO {}", ident(name), setting_value(name, value));
        let setting = format!("the setting {}", name.escape_debug());
        let role = match row.get::<Option<&[u8]>>("role")?.map(utf8).transpose() {
            Ok(role) => role,
            Err(role) => {
                reader.ctx.warn(format!("{setting} of role {role} is left out: the role's name is no UTF-8"));
                continue;
            }
        };
        let (what, before) = match role {
            None => (setting, "ALTER DATABASE ".to_owned()),
            Some(role) => (
                format!("{setting} of role {}", role.escape_debug()),
                format!("ALTER ROLE {} IN DATABASE ", ident(role)),
            ),
        };
        let libraries = if name == PRELOAD { names_in(value) } else { Vec::new() };
        sayings.push(Saying { what, role: role.map(str::to_owned), libraries, said: (before, behind) });
    }
    Ok(sayings)
}

/// The first node: the database's comment, labels and settings, said without its name, which may be another one on restore.
pub(super) async fn database(reader: Reader<'_>, catalog: &mut Catalog) -> Result<Database> {
    let rows = reader.rows("SELECT pg_catalog.current_database()::text AS name").await?;
    let row = rows.first().ok_or_else(|| Error::internal("a session has no database"))?;
    let name = row.text("name")?.to_owned();
    let mut spec = created(reader).await?;
    spec.version = Some(reader.version / 10_000);
    spec.place = place(reader, &name).await?;
    let database = Database { name, encoding: spec.encoding.clone() };
    let mut statements = Vec::new();
    let mut node = Node::sql("database", &database.name, Rank::Objects, Vec::new());
    for saying in sayings(reader, &database.name).await? {
        let statement = saying.of_this();
        match saying.role {
            None => {
                spec.preload.extend(saying.libraries);
                statements.push(statement);
            }
            Some(role) => {
                node.roles.insert(role);
                node.owners.push(statement);
            }
        }
    }
    node.body = Body::Sql(statements);
    node.database = Some(spec);
    catalog.push(node);
    Ok(database)
}

/// Values that are lists are stored quoted already, as pg_dump knows too.
pub(super) fn setting_value(name: &str, value: &str) -> String {
    const LISTS: [&str; 10] = [
        "local_preload_libraries",
        "search_path",
        PRELOAD,
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
    names_in(value).iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

/// Names apart by commas, in double quotes where they need them.
fn names_in(value: &str) -> Vec<String> {
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
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_a_statement_about_the_database_are_inert() {
        let said = ("COMMENT ON DATABASE ".to_owned(), format!(" IS {}", literal("100% I'm $$ %I")));
        let comment = Saying::of_all(String::new(), said);
        assert_eq!(
            comment.of_this(),
            "DO LANGUAGE plpgsql 'BEGIN EXECUTE pg_catalog.format(''COMMENT ON DATABASE %I IS ''''100%% I''''''''m $$ %%I'''''', pg_catalog.current_database()); END'"
        );
        assert_eq!(comment.of("a\"b"), "COMMENT ON DATABASE \"a\"\"b\" IS '100% I''m $$ %I'");
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
