//! Large objects: each is made in a part of its own, and filled in another.

use backup_core::{Column, Result};

use super::node::{Body, Catalog, Node, Rank, class};
use super::reader::Reader;
use crate::rows::RowsSpec;
use crate::spec::Gate;

pub(super) async fn large_objects(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner, m.lomacl::text[] AS acl,
                      pg_catalog.acldefault('L', m.lomowner)::text[] AS base
               FROM pg_catalog.pg_largeobject_metadata m ORDER BY m.oid";
    for row in reader.rows(sql).await? {
        let (oid, owner) = (row.oid("oid")?, row.text("owner")?);
        let (name, what) = (oid.to_string(), format!("LARGE OBJECT {oid}"));
        let create = format!("SELECT pg_catalog.lo_create({oid})");
        let mut node =
            Node::sql("large object", &name, Rank::Objects, vec![create]).identity(&what).owned(&what, owner);
        node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
        let id = catalog.add((class::LARGE_OBJECT, oid), node);
        catalog.by_key.insert((class::LARGE_OBJECT_METADATA, oid), id);
        let mut bytes = Node::sql("large object", &name, Rank::Rows, vec![]);
        let columns = vec![Column::new("place", "bigint"), Column::new("bytes", "bytea")];
        bytes.body = Body::Rows { columns, spec: RowsSpec::LargeObject { gate: Gate::Rows, oid }, size: 0 };
        bytes.needs.insert(id);
        catalog.push(bytes);
    }
    Ok(())
}
