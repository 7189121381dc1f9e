//! Large objects: some of them at a time are made in one part, and filled in another.

use backup_core::{Column, Result};

use super::node::{Body, Catalog, Node, NodeId, Rank, class};
use super::reader::{Fields, Reader};
use crate::rows::RowsSpec;
use crate::spec::Gate;

/// About how many parts there are at most, if no more than a thousand objects are in each.
const PARTS: usize = 256;
const MOST: usize = 1000;

/// All large objects, or all but those that the account may not read.
pub(super) async fn large_objects(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    skip_unreadable: bool,
) -> Result<()> {
    // There is a function for that since version 18.
    let sql = "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner, m.lomacl::text[] AS acl,
                      pg_catalog.acldefault('L', m.lomowner)::text[] AS base,
                      u.rolsuper OR pg_catalog.current_setting('lo_compat_privileges')::boolean OR EXISTS (
                        SELECT FROM pg_catalog.aclexplode(COALESCE(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) e
                        WHERE e.privilege_type = 'SELECT' AND (e.grantee = 0 OR pg_catalog.pg_has_role(e.grantee, 'USAGE'))) AS readable
               FROM pg_catalog.pg_largeobject_metadata m JOIN pg_catalog.pg_roles u ON u.rolname = CURRENT_USER ORDER BY m.oid";
    let rows = reader.rows(sql).await?;
    let mut bundle = Vec::new();
    let each = rows.len().div_ceil(PARTS).next_power_of_two().min(MOST);
    for row in &rows {
        let oid = row.oid("oid")?;
        if skip_unreadable && !row.is("readable")? {
            // Those of a part are all from its first to its last.
            add(catalog, &std::mem::take(&mut bundle))?;
            let id = catalog.push(Node::sql("large object", &oid.to_string(), Rank::Objects, vec![]));
            stands_for(catalog, oid, id);
            catalog.unreadable.insert(id);
            continue;
        }
        if ends_before(oid, bundle.len(), each) {
            add(catalog, &std::mem::take(&mut bundle))?;
        }
        bundle.push((oid, row));
    }
    add(catalog, &bundle)
}

/// Whether a bundle ends before an object: its number says so, and not its place, so that one more or less changes one bundle.
fn ends_before(oid: u32, bundled: usize, each: usize) -> bool {
    let hash = oid.wrapping_mul(0x9E37_79B1) >> 12;
    bundled >= MOST || bundled > 0 && usize::try_from(hash).is_ok_and(|hash| hash % each == 0)
}

fn add(catalog: &mut Catalog, bundle: &[(u32, &Fields)]) -> Result<()> {
    let (Some((first, _)), Some((last, _))) = (bundle.first(), bundle.last()) else { return Ok(()) };
    let (kind, name) = match bundle.len() {
        1 => ("large object", first.to_string()),
        _ => ("large objects", format!("{first}-{last}")),
    };
    let creations = bundle.iter().map(|(oid, _)| format!("SELECT pg_catalog.lo_create({oid})")).collect();
    let mut node = Node::sql(kind, &name, Rank::Objects, creations);
    for (oid, row) in bundle {
        let (owner, what) = (row.text("owner")?, format!("LARGE OBJECT {oid}"));
        node = node.owned(&what, owner);
        node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
    }
    let id = catalog.push(node);
    for (oid, _) in bundle {
        stands_for(catalog, *oid, id);
    }
    contents(catalog, kind, &name, id, bundle.iter().map(|(oid, _)| *oid).collect());
    Ok(())
}

fn stands_for(catalog: &mut Catalog, oid: u32, id: NodeId) {
    for class in [class::LARGE_OBJECT, class::LARGE_OBJECT_METADATA] {
        catalog.by_key.insert((class, oid), id);
        catalog.identities.insert((class, oid), format!("LARGE OBJECT {oid}"));
    }
}

fn contents(catalog: &mut Catalog, kind: &'static str, name: &str, made: NodeId, numbers: Vec<u32>) {
    let mut bytes = Node::sql(kind, name, Rank::Rows, vec![]);
    let columns =
        vec![Column::new("oid", "oid"), Column::new("place", "bigint"), Column::new("bytes", "bytea")];
    let spec = RowsSpec::LargeObjects { gate: Gate::Rows, numbers };
    bytes.body = Body::Rows { columns, spec, size: 0 };
    bytes.needs.insert(made);
    catalog.push(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bundles some consecutive objects become.
    fn bundles(oids: impl IntoIterator<Item = u32>, each: usize) -> usize {
        let (mut bundles, mut bundled) = (1, 0);
        for oid in oids {
            if ends_before(oid, bundled, each) {
                bundles += 1;
                bundled = 0;
            }
            bundled += 1;
        }
        bundles
    }

    #[test]
    fn few_large_objects_are_a_part_each_and_many_are_some_hundred_parts() {
        assert_eq!(bundles(5..105, 1), 100);
        let many = bundles(16384..66384, 256);
        assert!((100..400).contains(&many), "{many}");
        assert!(bundles((0..1_000_000).map(|i| i * 7), MOST) < 2500);
    }
}
