//! Operators, operator families and classes, access methods.

use std::collections::HashMap;

use backup_core::Result;

use super::node::{By, Catalog, Key, Node, Rank, Unsaid, class};
use super::reader::{OURS, Reader};
use crate::ddl::quote::{block, ident, qualified};

pub(super) async fn access_methods(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT a.oid, a.amname::text AS name, a.amtype::text AS type, a.amhandler::oid::regproc::text AS handler
               FROM pg_catalog.pg_am a WHERE a.oid >= 16384 ORDER BY a.amname";
    for row in reader.rows(sql).await? {
        let key = (class::ACCESS_METHOD, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let what = format!("ACCESS METHOD {}", ident(row.text("name")?));
        let of = if row.text("type")? == "t" { "TABLE" } else { "INDEX" };
        let create = format!("CREATE {what} TYPE {of} HANDLER {}", row.text("handler")?);
        catalog.add(
            key,
            Node::sql("access method", row.text("name")?, Rank::Objects, vec![create]).identity(what),
        );
    }
    Ok(())
}

pub(super) async fn operators(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT o.oid, n.nspname::text AS schema, o.oprname::text AS name, pg_catalog.pg_get_userbyid(o.oprowner)::text AS owner,
                CASE WHEN o.oprleft <> 0 THEN pg_catalog.format_type(o.oprleft, NULL) END AS left_type,
                CASE WHEN o.oprright <> 0 THEN pg_catalog.format_type(o.oprright, NULL) END AS right_type,
                CASE WHEN o.oprcode <> 0 THEN o.oprcode::oid::regproc::text END AS function,
                cn.nspname::text AS commutator_schema, c.oprname::text AS commutator, gn.nspname::text AS negator_schema, g.oprname::text AS negator,
                cn.oid AS commutator_in, gn.oid AS negator_in,
                CASE WHEN o.oprrest <> 0 THEN o.oprrest::oid::regproc::text END AS restrict,
                CASE WHEN o.oprjoin <> 0 THEN o.oprjoin::oid::regproc::text END AS join, o.oprcanmerge, o.oprcanhash
         FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
         LEFT JOIN pg_catalog.pg_operator c ON c.oid = o.oprcom LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace
         LEFT JOIN pg_catalog.pg_operator g ON g.oid = o.oprnegate LEFT JOIN pg_catalog.pg_namespace gn ON gn.oid = g.oprnamespace
         WHERE {OURS} ORDER BY n.nspname, o.oprname, left_type, right_type"
    );
    let mut linked = Vec::new();
    for row in reader.rows(&sql).await? {
        let key = (class::OPERATOR, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        // A name of operator characters cannot be quoted, and needs not to be.
        let operator = format!("{}.{name}", ident(schema));
        let types = [row.maybe("left_type")?, row.maybe("right_type")?];
        let what = format!("OPERATOR {operator} ({})", types.map(|name| name.unwrap_or("NONE")).join(", "));
        let Some(function) = row.maybe("function")? else {
            // Only announced as the commutator or negator of another, which announces it again.
            catalog.left_out.insert(key);
            continue;
        };
        let mut options = vec![format!("FUNCTION = {function}")];
        for (option, name) in [("LEFTARG", types[0]), ("RIGHTARG", types[1])] {
            options.extend(name.map(|name| format!("{option} = {name}")));
        }
        for (option, schema, column) in
            [("COMMUTATOR", "commutator_schema", "commutator"), ("NEGATOR", "negator_schema", "negator")]
        {
            if let (Some(schema), Some(name)) = (row.maybe(schema)?, row.maybe(column)?) {
                options.push(format!("{option} = OPERATOR({}.{name})", ident(schema)));
            }
        }
        if row.is("oprcanmerge")? {
            options.push("MERGES".to_owned());
        }
        if row.is("oprcanhash")? {
            options.push("HASHES".to_owned());
        }
        for (option, column) in [("RESTRICT", "restrict"), ("JOIN", "join")] {
            options.extend(row.maybe(column)?.map(|function| format!("{option} = {function}")));
        }
        let create = format!("CREATE OPERATOR {operator} ({})", options.join(", "));
        let mut node = Node::sql("operator", name, Rank::Objects, vec![create]).in_schema(schema);
        if types[1].is_none() {
            node.until = Some((13, "a postfix operator"));
        }
        for column in ["commutator_in", "negator_in"] {
            let schema = row.get::<Option<u32>>(column)?.map(|oid| (class::NAMESPACE, oid));
            node.needs.extend(schema.and_then(|schema| catalog.by_key.get(&schema)));
        }
        let id = catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
        if row.maybe("commutator")?.is_some() || row.maybe("negator")?.is_some() {
            linked.push((key.1, id));
        }
    }
    // Each announces its commutator and negator, which two at once must not do: one after the other, as they were made.
    linked.sort_unstable();
    for pair in linked.windows(2) {
        if let [(_, before), (_, id)] = pair {
            catalog.node_mut(*id)?.needs.insert(*before);
        }
    }
    Ok(())
}

/// Oids before this one are the system's.
pub(super) const FIRST_OURS: u32 = 16384;

/// An operator or a support function of a family, as CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY say it.
struct Item {
    family: u32,
    /// The class that cannot be without it, if it is of one.
    of_class: Option<u32>,
    text: String,
    /// What it is made of: an operator or a function, and types.
    parts: Vec<Key>,
    /// Whether it came in one transaction with an extension.
    with_extension: bool,
}

/// How a member comes into a family that is the system's or an extension's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// The extension brings it.
    Along,
    /// Somebody has added it.
    Added,
    /// It may be either: it is added unless it is there.
    Perhaps,
}

impl Item {
    fn comes(&self, catalog: &Catalog) -> Comes {
        let ours = |key: &Key| key.1 >= FIRST_OURS && !catalog.is_member(*key);
        let system = |key: &Key| key.1 < FIRST_OURS;
        if self.parts.iter().any(ours) || self.family < FIRST_OURS && self.parts.iter().all(system) {
            Comes::Added
        } else if self.with_extension {
            Comes::Along
        } else {
            Comes::Perhaps
        }
    }
}

pub(super) async fn families_and_classes(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let items = items(reader).await?;
    // Those of the system and of extensions as well, if something was added.
    let sql = format!(
        "SELECT f.oid, n.nspname::text AS schema, f.opfname::text AS name, a.amname::text AS method, pg_catalog.pg_get_userbyid(f.opfowner)::text AS owner
         FROM pg_catalog.pg_opfamily f JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod
         WHERE {OURS} OR EXISTS (SELECT FROM pg_catalog.pg_amop m WHERE m.amopfamily = f.oid AND m.oid >= {FIRST_OURS})
            OR EXISTS (SELECT FROM pg_catalog.pg_amproc m WHERE m.amprocfamily = f.oid AND m.oid >= {FIRST_OURS})
         ORDER BY n.nspname, f.opfname, a.amname"
    );
    let mut loose: HashMap<u32, Vec<&Item>> = HashMap::new();
    let mut of_class: HashMap<u32, Vec<&Item>> = HashMap::new();
    for item in &items {
        match item.of_class {
            Some(class) => of_class.entry(class).or_default().push(item),
            None => loose.entry(item.family).or_default().push(item),
        }
    }
    let mut added: Vec<(String, u32, Vec<String>)> = Vec::new();
    for row in reader.rows(&sql).await? {
        let key = (class::OPFAMILY, row.oid("oid")?);
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what =
            format!("OPERATOR FAMILY {} USING {}", qualified(schema, name), ident(row.text("method")?));
        let members = loose.get(&key.1).map_or(&[][..], Vec::as_slice);
        let (all, perhaps): (Vec<&Item>, Vec<&Item>) = if key.1 < FIRST_OURS || catalog.is_member(key) {
            let such = |wanted| {
                members.iter().copied().filter(|item| item.comes(catalog) == wanted).collect::<Vec<_>>()
            };
            (such(Comes::Added), such(Comes::Perhaps))
        } else {
            let node = Node::sql("operator family", name, Rank::Objects, vec![format!("CREATE {what}")])
                .in_schema(schema);
            catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
            (members.to_vec(), Vec::new())
        };
        let mut statements = Vec::new();
        if !all.is_empty() {
            let texts: Vec<&str> = all.iter().map(|item| item.text.as_str()).collect();
            statements.push(format!("ALTER {what} ADD {}", texts.join(", ")));
        }
        statements
            .extend(perhaps.iter().map(|item| unless_there(&format!("ALTER {what} ADD {}", item.text))));
        if !statements.is_empty() {
            added.push((what, key.1, statements));
        }
    }
    let families_of = classes(reader, catalog, &of_class).await?;
    for (what, family, statements) in added {
        let mut node = Node::sql("operator family members", &what, Rank::Objects, statements);
        let of = loose.get(&family).into_iter().flatten().flat_map(|item| &item.parts);
        node.needs
            .extend([(class::OPFAMILY, family)].iter().chain(of).filter_map(|key| catalog.by_key.get(key)));
        // Their operators and functions are found through pg_depend, which hangs them onto these.
        let id = catalog.push(node);
        catalog.loose_members.insert(family, id);
    }
    let loose_of = |(class, family)| Some((class, *catalog.loose_members.get(&family)?));
    catalog.loose_of_class = families_of.into_iter().filter_map(loose_of).collect();
    alias_items(reader, catalog).await
}

/// Operator classes. Returns the family of each.
async fn classes(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    items: &HashMap<u32, Vec<&Item>>,
) -> Result<Vec<(u32, u32)>> {
    let mut families = Vec::new();
    let sql = format!(
        "SELECT c.oid, c.opcfamily, n.nspname::text AS schema, c.opcname::text AS name, a.amname::text AS method, pg_catalog.pg_get_userbyid(c.opcowner)::text AS owner,
                c.opcdefault, c.opcintype, pg_catalog.format_type(c.opcintype, NULL) AS type, CASE WHEN c.opckeytype <> 0 THEN pg_catalog.format_type(c.opckeytype, NULL) END AS storage,
                fn.nspname::text AS family_schema, f.opfname::text AS family
         FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod
         JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
         WHERE {OURS} ORDER BY n.nspname, c.opcname, a.amname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::OPCLASS, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let method = ident(row.text("method")?);
        let default = if row.is("opcdefault")? { "DEFAULT " } else { "" };
        let items = items.get(&key.1).map_or(&[][..], Vec::as_slice);
        let mut parts: Vec<String> = items.iter().map(|item| item.text.clone()).collect();
        parts.extend(row.maybe("storage")?.map(|storage| format!("STORAGE {storage}")));
        if parts.is_empty() {
            parts.push(format!("STORAGE {}", row.text("type")?));
        }
        let create = format!(
            "CREATE OPERATOR CLASS {} {default}FOR TYPE {} USING {method} FAMILY {} AS {}",
            qualified(schema, name),
            row.text("type")?,
            qualified(row.text("family_schema")?, row.text("family")?),
            parts.join(", ")
        );
        let what = format!("OPERATOR CLASS {} USING {method}", qualified(schema, name));
        let node = Node::sql("operator class", name, Rank::Objects, vec![create]).in_schema(schema);
        let id = catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
        if row.is("opcdefault")? {
            let operators =
                items.iter().flat_map(|item| &item.parts).filter(|part| part.0 == class::OPERATOR);
            let by = By::Type((class::TYPE, row.oid("opcintype")?));
            catalog.unsaid.push(Unsaid { id, with: operators.copied().collect(), by, said: None });
        }
        families.push((key.1, row.oid("opcfamily")?));
    }
    Ok(families)
}

/// Adds a member of a family, which the extension may have brought along, or have no more.
fn unless_there(add: &str) -> String {
    let body = format!(
        "BEGIN {add}; EXCEPTION WHEN duplicate_object OR undefined_object OR undefined_function THEN NULL; END"
    );
    block(&body)
}

/// The members of families, and the class that each depends on internally.
async fn items(reader: Reader<'_>) -> Result<Vec<Item>> {
    let of_class = |catalog: &str| {
        format!(
            "(SELECT d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass AND d.objid = m.oid
              AND d.refclassid = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND d.deptype = 'i' LIMIT 1) AS of_class,
             EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.xmin = m.xmin) AS with_extension"
        )
    };
    let sql = format!(
        "SELECT m.amopfamily AS family, 0 AS what, m.amopstrategy::int4 AS number, {},
                m.amopopr AS operator, NULL::oid AS function, m.amoplefttype AS left_type, m.amoprighttype AS right_type,
                'OPERATOR ' || m.amopstrategy || ' ' || m.amopopr::oid::regoperator::text
                  || CASE WHEN m.amoppurpose = 'o' THEN ' FOR ORDER BY ' || pg_catalog.quote_ident(sn.nspname) || '.' || pg_catalog.quote_ident(s.opfname) ELSE '' END AS text
         FROM pg_catalog.pg_amop m LEFT JOIN pg_catalog.pg_opfamily s ON s.oid = m.amopsortfamily LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = s.opfnamespace
         WHERE m.oid >= {FIRST_OURS}
         UNION ALL
         SELECT m.amprocfamily, 1, m.amprocnum::int4, {}, NULL, m.amproc::oid, m.amproclefttype, m.amprocrighttype,
                'FUNCTION ' || m.amprocnum || ' (' || pg_catalog.format_type(m.amproclefttype, NULL) || ', ' || pg_catalog.format_type(m.amprocrighttype, NULL) || ') ' || m.amproc::oid::regprocedure::text
         FROM pg_catalog.pg_amproc m WHERE m.oid >= {FIRST_OURS}
         ORDER BY family, what, number, text",
        of_class("pg_amop"),
        of_class("pg_amproc")
    );
    let mut items = Vec::new();
    for row in reader.rows(&sql).await? {
        let mut parts = vec![(class::TYPE, row.oid("left_type")?), (class::TYPE, row.oid("right_type")?)];
        for (class, column) in [(class::OPERATOR, "operator"), (class::PROC, "function")] {
            parts.extend(row.get::<Option<u32>>(column)?.map(|oid| (class, oid)));
        }
        items.push(Item {
            family: row.oid("family")?,
            of_class: row.get("of_class")?,
            text: row.text("text")?.to_owned(),
            parts,
            with_extension: row.is("with_extension")?,
        });
    }
    Ok(items)
}

/// Says which node makes each member, so that it waits for the member's operator or function.
async fn alias_items(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT d.classid, d.objid, d.refclassid, d.refobjid, COALESCE(o.amopfamily, p.amprocfamily) AS family, d.deptype = 'i' AS internal
               FROM pg_catalog.pg_depend d
               LEFT JOIN pg_catalog.pg_amop o ON d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass AND o.oid = d.objid
               LEFT JOIN pg_catalog.pg_amproc p ON d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass AND p.oid = d.objid
               WHERE d.classid IN ('pg_catalog.pg_amop'::pg_catalog.regclass, 'pg_catalog.pg_amproc'::pg_catalog.regclass) AND d.objid >= 16384";
    let rows = reader.rows(sql).await?;
    for row in &rows {
        let (item, of): (Key, Key) =
            ((row.oid("classid")?, row.oid("objid")?), (row.oid("refclassid")?, row.oid("refobjid")?));
        if of.0 == class::OPCLASS && row.is("internal")? {
            catalog.alias(item, of);
        }
    }
    for row in &rows {
        let item: Key = (row.oid("classid")?, row.oid("objid")?);
        if !catalog.by_key.contains_key(&item)
            && let Some(family) = row.get::<Option<u32>>("family")?
            && let Some(id) = catalog.loose_members.get(&family).copied()
        {
            catalog.by_key.insert(item, id);
        }
    }
    Ok(())
}
