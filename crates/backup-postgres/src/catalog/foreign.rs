//! Foreign data: wrappers, servers, user mappings. Foreign tables are relations.

use backup_core::Result;

use super::columns::foreign_options;
use super::node::{Catalog, Node, Rank, class};
use super::reader::Reader;
use crate::ddl::quote::{ident, literal};

const OPTIONS: &str =
    "ARRAY(SELECT x.option_name || '=' || COALESCE(x.option_value, '') FROM pg_catalog.pg_options_to_table";

pub(super) async fn wrappers(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT f.oid, f.fdwname::text AS name, pg_catalog.pg_get_userbyid(f.fdwowner)::text AS owner,
                CASE WHEN f.fdwhandler <> 0 THEN f.fdwhandler::oid::regproc::text END AS handler, CASE WHEN f.fdwvalidator <> 0 THEN f.fdwvalidator::oid::regproc::text END AS validator,
                f.fdwacl::text[] AS acl, pg_catalog.acldefault('F', f.fdwowner)::text[] AS base, {OPTIONS}(f.fdwoptions) x) AS options
         FROM pg_catalog.pg_foreign_data_wrapper f WHERE f.oid >= 16384 ORDER BY f.fdwname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::FOREIGN_DATA_WRAPPER, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (name, owner) = (row.text("name")?, row.text("owner")?);
        let what = format!("FOREIGN DATA WRAPPER {}", ident(name));
        let mut sql = format!("CREATE {what}");
        sql += &row.maybe("handler")?.map_or(String::new(), |function| format!(" HANDLER {function}"));
        sql += &with_options(&row.list("options")?);
        // The validator may be younger than the options, and not like them.
        let validator = row.maybe("validator")?.map(|function| format!("ALTER {what} VALIDATOR {function}"));
        let statements = std::iter::once(sql).chain(validator).collect();
        let mut node = Node::sql("foreign-data wrapper", name, Rank::Objects, statements)
            .identity(&what)
            .owned(&what, owner);
        node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
        catalog.add(key, node);
    }
    Ok(())
}

fn with_options(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" OPTIONS ({})", foreign_options(options)) }
}

pub(super) async fn servers(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT s.oid, s.srvname::text AS name, pg_catalog.pg_get_userbyid(s.srvowner)::text AS owner, f.fdwname::text AS wrapper, s.srvtype AS type, s.srvversion AS version,
                s.srvacl::text[] AS acl, pg_catalog.acldefault('S', s.srvowner)::text[] AS base, {OPTIONS}(s.srvoptions) x) AS options
         FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper f ON f.oid = s.srvfdw WHERE s.oid >= 16384 ORDER BY s.srvname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::FOREIGN_SERVER, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (name, owner) = (row.text("name")?, row.text("owner")?);
        let mut sql = format!("CREATE SERVER {}", ident(name));
        for (word, column) in [("TYPE", "type"), ("VERSION", "version")] {
            sql += &row.maybe(column)?.map_or(String::new(), |value| format!(" {word} {}", literal(value)));
        }
        sql += &format!(
            " FOREIGN DATA WRAPPER {}{}",
            ident(row.text("wrapper")?),
            with_options(&row.list("options")?)
        );
        let what = format!("SERVER {}", ident(name));
        let mut node =
            Node::sql("server", name, Rank::Objects, vec![sql]).identity(&what).owned(&what, owner);
        node.granted(&format!("FOREIGN {what}"), None, owner, row.get("acl")?, &row.list("base")?)?;
        catalog.add(key, node);
    }
    user_mappings(reader, catalog).await
}

/// Their options hold passwords, which only some may read: an account that may not gets the others' without them.
async fn user_mappings(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    // As the view decides: one's own, those of all where the server is one's own, and for superusers every one.
    let readable = "(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
                    OR u.umuser <> 0 AND u.usename = current_user AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE'))
                    OR u.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE')";
    let sql = format!(
        "SELECT ({readable}) AS readable, u.umid AS oid, u.srvid, u.srvname::text AS server, CASE WHEN u.umuser <> 0 THEN u.usename::text END AS role, {OPTIONS}(u.umoptions) x) AS options
         FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.srvid ORDER BY u.srvname, u.usename"
    );
    for row in reader.rows(&sql).await? {
        let (server, role) = (row.text("server")?, row.maybe("role")?);
        let user = role.map_or_else(|| "PUBLIC".to_owned(), ident);
        if !row.is("readable")? {
            reader.ctx.warn(format!(
                "the user mapping for {} and server {} is in the backup without its options, which hold passwords: the account may not read them",
                role.unwrap_or("PUBLIC").escape_debug(),
                server.escape_debug()
            ));
        }
        let sql = format!(
            "CREATE USER MAPPING FOR {user} SERVER {}{}",
            ident(server),
            with_options(&row.list("options")?)
        );
        let mut node = Node::sql(
            "user mapping",
            &format!("{} {server}", role.unwrap_or("public")),
            Rank::Objects,
            vec![],
        );
        // It is about a role as much as an owner is.
        node.owners.push(sql);
        node.roles.extend(role.map(str::to_owned));
        node.needs.extend(catalog.by_key.get(&(class::FOREIGN_SERVER, row.oid("srvid")?)));
        catalog.add((class::USER_MAPPING, row.oid("oid")?), node);
    }
    Ok(())
}
