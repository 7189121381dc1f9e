//! Schemas.

use backup_core::{Column, Result};

use super::node::{Catalog, Node, Rank, class};
use super::reader::{OURS, Reader};
use crate::ddl::acl::{self, Granted};
use crate::ddl::quote::ident;

/// Schemas. One that is called `public` is there in every new database, with an owner, privileges and a comment of its own, and is never made:
/// whether that of the source is the one it began with does not matter.
pub(super) async fn schemas(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT n.oid, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
                n.nspacl::text[] AS acl, pg_catalog.acldefault('n', n.nspowner)::text[] AS base, n.oid < 16384 AS initial, n.nspowner = 10 AS is_the_servers,
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
            // Before, it is who made the server, which is nobody elsewhere.
            let usual = if reader.version < 150_000 {
                row.is("is_the_servers")?
            } else {
                owner == "pg_database_owner"
            };
            if !usual {
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

/// Says the privileges on the public schema, if they are not those of a new database of any version that may take it: since version 15 those
/// are others, and those of newer ones may be. So they are said whole.
fn granted_on_public(node: &mut Node, what: &str, owner: &str, acl: Vec<String>, version: u32) -> Result<()> {
    let quoted = ident(owner);
    let own = format!("{quoted}=UC/{quoted}");
    let usual = [own.clone(), format!("=U/{quoted}")];
    let granted = Granted { on: what, column: None, owner };
    if version < 150_000 || !acl::statements(granted, &acl, &usual, &mut node.roles)?.is_empty() {
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
    fn privileges_on_the_public_schema_are_said_whole_or_not_at_all() {
        let said = |acl: &[&str], version| {
            let mut node = Node::sql("schema", "public", Rank::Objects, vec![]);
            let acl = acl.iter().map(|item| (*item).to_owned()).collect();
            granted_on_public(&mut node, "SCHEMA \"public\"", "o w", acl, version).unwrap();
            node.owners
        };
        let (old, new) = (["\"o w\"=UC/\"o w\"", "=UC/\"o w\""], ["\"o w\"=UC/\"o w\"", "=U/\"o w\""]);
        assert_eq!(said(&new, 150_000), [""; 0]);
        let revoke = "REVOKE ALL ON SCHEMA \"public\" FROM PUBLIC";
        assert_eq!(said(&old, 140_000), [revoke, "GRANT USAGE, CREATE ON SCHEMA \"public\" TO PUBLIC"]);
        assert_eq!(said(&new, 140_000), [revoke, "GRANT USAGE ON SCHEMA \"public\" TO PUBLIC"]);
        assert_eq!(said(&old, 150_000), [revoke, "GRANT USAGE, CREATE ON SCHEMA \"public\" TO PUBLIC"]);
        assert_eq!(said(&old[..1], 140_000), [revoke]);
        assert_eq!(said(&[], 180_000), [revoke, "REVOKE ALL ON SCHEMA \"public\" FROM \"o w\""]);
    }
}
