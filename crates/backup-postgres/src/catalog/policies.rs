//! Policies, on tables of extensions too: these are somebody's own more often than the extension's.

use backup_core::Result;

use super::node::{Catalog, Rank, class};
use super::readable::readable;
use super::reader::Reader;
use super::relations::Relations;
use crate::ddl::quote::ident;
use crate::spec::{POLICY_OF_EXTENSION, SECURITY_OF_EXTENSION};

pub(super) async fn policies(reader: Reader<'_>, catalog: &mut Catalog, relations: &Relations) -> Result<()> {
    let sql = "SELECT p.oid, p.polrelid, p.polname::text AS name, p.polcmd::text, p.polpermissive,
                      ARRAY(SELECT CASE WHEN x = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x)::text END FROM pg_catalog.unnest(p.polroles) x) AS roles,
                      pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS qual, pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS with_check
               FROM pg_catalog.pg_policy p ORDER BY p.polrelid, p.polname";
    for row in reader.rows(sql).await? {
        let table = row.oid("polrelid")?;
        let (relation, is_extensions) = match (relations.get(table), relations.of_extension(table)) {
            (Some(relation), _) => (relation, false),
            (None, Some(relation)) => (relation, true),
            (None, None) => continue,
        };
        let name = row.text("name")?;
        let roles = row.list("roles")?;
        let to: Vec<String> = roles
            .iter()
            .map(|role| if role.is_empty() { "PUBLIC".to_owned() } else { ident(role) })
            .collect();
        let command = match row.text("polcmd")? {
            "r" => "SELECT",
            "a" => "INSERT",
            "w" => "UPDATE",
            "d" => "DELETE",
            _ => "ALL",
        };
        let how = if row.is("polpermissive")? { "PERMISSIVE" } else { "RESTRICTIVE" };
        let mut sql = format!(
            "CREATE POLICY {} ON {} AS {how} FOR {command} TO {}",
            ident(name),
            relation.quoted(),
            to.join(", ")
        );
        if let Some(qual) = row.maybe("qual")? {
            sql += &format!(" USING ({})", readable(qual));
        }
        if let Some(check) = row.maybe("with_check")? {
            sql += &format!(" WITH CHECK ({})", readable(check));
        }
        let identity = format!("POLICY {} ON {}", ident(name), relation.quoted());
        let (kind, statements) = if is_extensions {
            // The extension may make one of that name itself.
            (
                POLICY_OF_EXTENSION,
                vec![format!("DROP POLICY IF EXISTS {} ON {}", ident(name), relation.quoted()), sql],
            )
        } else {
            ("policy", vec![sql])
        };
        let mut node = relations.node_of(catalog, relation, kind, name, Rank::Made, statements);
        node.roles.extend(roles.into_iter().filter(|role| !role.is_empty()));
        node = node.identity(identity);
        catalog.add((class::POLICY, row.oid("oid")?), node);
    }
    Ok(())
}

/// Whether row security is on for tables of extensions, of those for which somebody has said something of it.
pub(super) async fn of_extensions(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
) -> Result<()> {
    let sql = "SELECT c.oid, c.relrowsecurity, c.relforcerowsecurity FROM pg_catalog.pg_class c
               WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
                 AND (c.relrowsecurity OR c.relforcerowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid))
               ORDER BY c.oid";
    for row in reader.rows(sql).await? {
        let Some(relation) = relations.of_extension(row.oid("oid")?) else { continue };
        let enable = if row.is("relrowsecurity")? { "ENABLE" } else { "DISABLE" };
        let force = if row.is("relforcerowsecurity")? { "FORCE" } else { "NO FORCE" };
        let table = relation.quoted();
        let statements = vec![
            format!("ALTER TABLE {table} {enable} ROW LEVEL SECURITY"),
            format!("ALTER TABLE ONLY {table} {force} ROW LEVEL SECURITY"),
        ];
        let (kind, name) = (SECURITY_OF_EXTENSION, &relation.name);
        let node = relations.node_of(catalog, relation, kind, name, Rank::Made, statements);
        catalog.push(node);
    }
    Ok(())
}
