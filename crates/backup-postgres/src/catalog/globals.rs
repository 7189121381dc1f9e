//! What lies outside databases: roles, what they are members of, and tablespaces. In a backup only where that was asked for.

use std::collections::{BTreeSet, HashMap, HashSet};

use backup_core::Result;

use super::database::setting_value;
use super::node::{Catalog, Node, NodeId, Rank};
use super::reader::{Fields, Reader, shared, utf8};
use crate::ddl::acl;
use crate::ddl::quote::{ident, literal};
use crate::spec::Global;

/// The role that every cluster begins with: what a superuser grants is granted by it.
const BOOTSTRAP: u32 = 10;

pub(super) async fn roles(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let readable = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS readable";
    let readable = reader.rows(readable).await?.first().map(|row| row.is("readable")).transpose()?;
    let (from, password) = if readable.unwrap_or_default() {
        ("pg_catalog.pg_authid", "r.rolpassword")
    } else {
        reader.ctx.warn("roles are in the backup without their passwords: only a superuser may read those");
        ("pg_catalog.pg_roles", "NULL::text")
    };
    let sql = format!(
        "SELECT r.oid, {} AS name, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication,
                r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text AS until, {password} AS password,
                {} AS comment,
                ARRAY(SELECT {} FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS x WHERE s.setdatabase = 0 AND s.setrole = r.oid) AS settings
         FROM {from} r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname",
        shared("r.rolname"),
        shared("pg_catalog.shobj_description(r.oid, 'pg_authid')"),
        shared("x")
    );
    let mut by_oid = HashMap::new();
    for row in reader.rows(&sql).await? {
        let name = match row.shared("name")? {
            Ok(name) => name,
            Err(name) => {
                reader.ctx.warn(format!("role {name} is left out: its name is no UTF-8"));
                continue;
            }
        };
        let what = format!("ROLE {}", ident(name));
        let mut statements = vec![format!("CREATE {what} WITH {}", attributes(&row)?)];
        for setting in row.get::<Vec<&[u8]>>("settings")? {
            let setting = utf8(setting).map_err(|setting| {
                let role = name.escape_debug();
                reader.ctx.warn(format!("a setting of role {role} is left out: it is no UTF-8: {setting}"));
            });
            let Some((setting, value)) = setting.ok().and_then(|setting| setting.split_once('=')) else {
                continue;
            };
            statements.push(format!(
                "ALTER {what} SET {} TO {}",
                ident(setting),
                setting_value(setting, value)
            ));
        }
        let mut node = Node::sql("role", name, Rank::Globals, statements);
        let told = format!("the comment of {}", node.told());
        if let Some(comment) = row.maybe_shared(reader.ctx, "comment", &told)? {
            node.comment(&what, comment);
        }
        node.global = Some(Global::Role(name.to_owned()));
        by_oid.insert(row.oid("oid")?, catalog.push(node));
    }
    labels(reader, catalog, "pg_authid", "ROLE", &by_oid).await?;
    members(reader, catalog, &by_oid).await
}

fn attributes(row: &Fields) -> Result<String> {
    const FLAGS: [(&str, &str); 7] = [
        ("rolsuper", "SUPERUSER"),
        ("rolinherit", "INHERIT"),
        ("rolcreaterole", "CREATEROLE"),
        ("rolcreatedb", "CREATEDB"),
        ("rolcanlogin", "LOGIN"),
        ("rolreplication", "REPLICATION"),
        ("rolbypassrls", "BYPASSRLS"),
    ];
    let mut words = Vec::new();
    for (column, word) in FLAGS {
        words.push(format!("{}{word}", if row.is(column)? { "" } else { "NO" }));
    }
    let limit = row.get::<i32>("rolconnlimit")?;
    if limit != -1 {
        words.push(format!("CONNECTION LIMIT {limit}"));
    }
    if let Some(hash) = row.maybe("password")? {
        // As it is stored: the server takes it for what it is.
        words.push(format!("PASSWORD {}", literal(hash)));
    }
    if let Some(until) = row.maybe("until")? {
        words.push(format!("VALID UNTIL {}", literal(until)));
    }
    Ok(words.join(" "))
}

async fn labels(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    of: &str,
    word: &str,
    by_oid: &HashMap<u32, NodeId>,
) -> Result<()> {
    let sql = format!(
        "SELECT l.objoid, l.provider, l.label FROM pg_catalog.pg_shseclabel l
         WHERE l.classoid = 'pg_catalog.{of}'::pg_catalog.regclass ORDER BY l.objoid, l.provider"
    );
    for row in reader.rows(&sql).await? {
        let Some(id) = by_oid.get(&row.oid("objoid")?) else { continue };
        let node = catalog.node_mut(*id)?;
        node.comments.push(format!(
            "SECURITY LABEL FOR {} ON {word} {} IS {}",
            ident(row.text("provider")?),
            ident(&node.name),
            literal(row.text("label")?)
        ));
    }
    Ok(())
}

/// Who is a member of what. Whoever grants has to have the right to first.
async fn members(reader: Reader<'_>, catalog: &mut Catalog, by_oid: &HashMap<u32, NodeId>) -> Result<()> {
    let inherits = reader.since(16, "m.inherit_option", "u.rolinherit");
    let sets = reader.since(16, "m.set_option", "true");
    let sql = format!(
        "SELECT m.roleid, m.member, m.grantor, {} AS role, {} AS name, {} AS by,
                m.admin_option, {inherits} AS inherits, u.rolinherit, {sets} AS sets
         FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles u ON u.oid = m.member
         LEFT JOIN pg_catalog.pg_roles b ON b.oid = m.grantor ORDER BY g.rolname, u.rolname, b.rolname",
        shared("g.rolname"),
        shared("u.rolname"),
        shared("b.rolname")
    );
    let mut left = reader.rows(&sql).await?;
    let mut able: HashSet<(u32, u32)> = HashSet::new();
    let mut granted: Vec<NodeId> = Vec::new();
    while !left.is_empty() {
        let (mut later, before) = (Vec::new(), left.len());
        for row in left {
            let (role, member, grantor) = (row.oid("roleid")?, row.oid("member")?, row.oid("grantor")?);
            let (Ok(of), Ok(name)) = (row.shared("role")?, row.shared("name")?) else { continue };
            // Before version 16 it was only noted who granted. One that is left out does not.
            let by = row.get::<Option<&[u8]>>("by")?.and_then(|by| utf8(by).ok());
            let by = by.filter(|_| reader.version >= 160_000 && grantor != BOOTSTRAP);
            if by.is_some() && !able.contains(&(role, grantor)) {
                later.push(row);
                continue;
            }
            if row.is("admin_option")? {
                able.insert((role, member));
            }
            let mut node = membership(&row, of, name, by)?;
            node.needs = BTreeSet::from_iter(granted.last().copied());
            node.needs.extend([role, member].iter().filter_map(|oid| by_oid.get(oid)));
            granted.push(catalog.push(node));
        }
        if later.len() == before {
            for row in &later {
                let (Ok(of), Ok(name)) = (row.shared("role")?, row.shared("name")?) else { continue };
                reader.ctx.warn(format!(
                    "that {} is a member of {} is not in the backup: who granted it may not do so any more",
                    name.escape_debug(),
                    of.escape_debug()
                ));
            }
            break;
        }
        left = later;
    }
    Ok(())
}

fn membership(row: &Fields, role: &str, member: &str, by: Option<&str>) -> Result<Node> {
    let mut options = Vec::new();
    if row.is("admin_option")? {
        options.push("ADMIN OPTION");
    }
    let (inherits, sets) = (row.is("inherits")?, row.is("sets")?);
    if inherits != row.is("rolinherit")? {
        options.push(if inherits { "INHERIT TRUE" } else { "INHERIT FALSE" });
    }
    if !sets {
        options.push("SET FALSE");
    }
    let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
    let by = by.map_or(String::new(), |by| format!(" GRANTED BY {}", ident(by)));
    let grant = format!("GRANT {} TO {}{with}{by}", ident(role), ident(member));
    let mut node = Node::sql("role membership", &format!("{member} in {role}"), Rank::Globals, vec![grant]);
    if options.iter().any(|option| *option != "ADMIN OPTION") {
        node.since(16, "a membership that is not inherited, or cannot be taken on");
    }
    node.global = Some(Global::Role(member.to_owned()));
    Ok(node)
}

/// Who may change which of the server's settings: `SET` for themselves, and `ALTER SYSTEM` for all.
pub(super) async fn parameters(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    if reader.version < 150_000 {
        return Ok(());
    }
    let sql = format!(
        "SELECT p.parname::text AS name, {} AS item, pg_catalog.pg_get_userbyid({BOOTSTRAP})::text AS owner, {} AS role
         FROM pg_catalog.pg_parameter_acl p CROSS JOIN LATERAL pg_catalog.unnest(p.paracl) WITH ORDINALITY AS x (item, place)
         CROSS JOIN LATERAL (SELECT DISTINCT e.grantee FROM pg_catalog.aclexplode(ARRAY[x.item]) e) AS g
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
         WHERE g.grantee <> {BOOTSTRAP} ORDER BY p.parname, x.place",
        shared("x.item"),
        shared("r.rolname")
    );
    // One after the other, as they are noted down.
    let mut needs = roles_of(catalog);
    for row in reader.rows(&sql).await? {
        let name = row.text("name")?;
        let what = format!("a privilege on parameter {}", name.escape_debug());
        let role = row.get::<Option<&[u8]>>("role")?.and_then(|role| utf8(role).ok());
        let Some(item) = row.maybe_shared(reader.ctx, "item", &what)? else { continue };
        let on = format!("PARAMETER {}", ident(name));
        let granted = acl::Granted { on: &on, column: None, owner: row.text("owner")? };
        let statements = acl::statements(granted, &[item.to_owned()], &[], &mut BTreeSet::new())?;
        let told = format!("{name} of {}", role.unwrap_or("PUBLIC"));
        let mut node = Node::sql("parameter privileges", &told, Rank::Globals, statements);
        node.since(15, "privileges on the server's parameters");
        node.needs.clone_from(&needs);
        node.global = role.map(|role| Global::Role(role.to_owned()));
        needs.insert(catalog.push(node));
    }
    Ok(())
}

fn roles_of(catalog: &Catalog) -> BTreeSet<NodeId> {
    catalog.nodes.iter().enumerate().filter(|(_, node)| node.kind == "role").map(|(id, _)| id).collect()
}

pub(super) async fn tablespaces(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let texts = "pg_catalog.concat_ws(' ', s.spcname, pg_catalog.pg_get_userbyid(s.spcowner), pg_catalog.pg_tablespace_location(s.oid), s.spcacl)";
    let sql = format!(
        "SELECT s.oid, {} AS texts FROM pg_catalog.pg_tablespace s WHERE s.spcname !~ '^pg_' ORDER BY s.spcname",
        shared(texts)
    );
    let mut sayable = Vec::new();
    for row in reader.rows(&sql).await? {
        match row.shared("texts")? {
            Ok(_) => sayable.push(row.oid("oid")?.to_string()),
            Err(texts) => reader.ctx.warn(format!(
                "a tablespace is left out: its name, place, or owner, or a role that may use it, is no UTF-8: {texts}"
            )),
        }
    }
    let sql = format!(
        "SELECT s.oid, s.spcname::text AS name, pg_catalog.pg_get_userbyid(s.spcowner)::text AS owner, pg_catalog.pg_tablespace_location(s.oid) AS location,
                      s.spcoptions AS options, s.spcacl::text[] AS acl, pg_catalog.acldefault('t', s.spcowner)::text[] AS base,
                      {} AS comment
               FROM pg_catalog.pg_tablespace s WHERE s.oid = ANY ('{{{}}}'::oid[]) ORDER BY s.spcname",
        shared("pg_catalog.shobj_description(s.oid, 'pg_tablespace')"),
        sayable.join(",")
    );
    let roles = roles_of(catalog);
    let mut by_oid = HashMap::new();
    for row in reader.rows(&sql).await? {
        let (name, owner) = (row.text("name")?, row.text("owner")?);
        let what = format!("TABLESPACE {}", ident(name));
        // One within the data directory has a place that is not absolute.
        let location = row.maybe("location")?.filter(|place| place.starts_with('/')).unwrap_or_default();
        let mut statements = vec![format!("CREATE {what} LOCATION {}", literal(location))];
        let options = super::relations::options(&row.list("options")?);
        if !options.is_empty() {
            statements.push(format!("ALTER {what} SET ({options})"));
        }
        let mut node = Node::sql("tablespace", name, Rank::Globals, statements).owned(&what, owner);
        node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
        let told = format!("the comment of {}", node.told());
        if let Some(comment) = row.maybe_shared(reader.ctx, "comment", &told)? {
            node.comment(&what, comment);
        }
        node.needs.clone_from(&roles);
        node.global = Some(Global::Tablespace(name.to_owned()));
        by_oid.insert(row.oid("oid")?, catalog.push(node));
    }
    labels(reader, catalog, "pg_tablespace", "TABLESPACE", &by_oid).await
}
