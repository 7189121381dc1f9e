//! Rules, triggers, extended statistics, event triggers.

use std::collections::HashMap;

use backup_core::{Error, ErrorKind, Result};

use super::node::{Catalog, Node, Rank, class};
use super::readable::readable;
use super::reader::{Fields, OURS, Reader};
use super::relations::Relations;
use crate::ddl::quote::{block, ident, literal, qualified};

/// Rules other than those that make views.
pub(super) async fn rules(reader: Reader<'_>, catalog: &mut Catalog, relations: &Relations) -> Result<()> {
    let sql = format!(
        "SELECT r.oid, r.ev_class, r.rulename::text AS name, r.ev_enabled::text, pg_catalog.pg_get_ruledef(r.oid) AS definition
         FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND r.rulename <> '_RETURN' ORDER BY r.ev_class, r.rulename"
    );
    for row in reader.rows(&sql).await? {
        let Some(relation) = relations.get(row.oid("ev_class")?) else { continue };
        let name = row.text("name")?;
        let mut statements =
            vec![readable(row.text("definition")?.trim_end().trim_end_matches(';')).into_owned()];
        let enable = enabled(row.text("ev_enabled")?)
            .map(|how| format!("ALTER TABLE {} {how} RULE {}", relation.quoted(), ident(name)));
        statements.extend(enable);
        let node = relations.node_of(catalog, relation, "rule", name, Rank::Made, statements);
        catalog.add(
            (class::REWRITE, row.oid("oid")?),
            node.identity(format!("RULE {} ON {}", ident(name), relation.quoted())),
        );
    }
    Ok(())
}

/// How ALTER TABLE says whether a rule or trigger fires, unless it is as usual.
fn enabled(letter: &str) -> Option<&'static str> {
    match letter {
        "D" => Some("DISABLE"),
        "R" => Some("ENABLE REPLICA"),
        "A" => Some("ENABLE ALWAYS"),
        _ => None,
    }
}

/// Triggers, and how those of partitions fire that are copied from others.
pub(super) async fn triggers(reader: Reader<'_>, catalog: &mut Catalog, relations: &Relations) -> Result<()> {
    let parent = reader.since(
        13,
        "t.tgparentid",
        "COALESCE((SELECT d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = t.oid
                   AND d.refclassid = 'pg_catalog.pg_trigger'::pg_catalog.regclass LIMIT 1), 0)",
    );
    let sql = format!(
        "SELECT t.oid, t.tgrelid, t.tgname::text AS name, t.tgenabled::text, t.tgisinternal, {parent} AS parent, t.tgconstraint,
                CASE WHEN NOT t.tgisinternal THEN pg_catalog.pg_get_triggerdef(t.oid, false) END AS definition,
                t.tgisinternal AND k.contype <> 't' AS of_key, k.conrelid AS key_from, k.confrelid AS key_to, p.proname::text AS function,
                root.conrelid AS root_of, root.conname::text AS root
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
         LEFT JOIN pg_catalog.pg_constraint root ON root.oid = CASE WHEN t.tgisinternal AND t.tgenabled <> 'O' THEN {ROOT} END
         WHERE {OURS} ORDER BY parent, t.tgrelid, t.tgname"
    );
    let rows = reader.rows(&sql).await?;
    let (mut copies, mut changed) = (Vec::new(), Vec::new());
    let mut of_keys: HashMap<u32, Vec<&Fields>> = HashMap::new();
    for row in &rows {
        let Some(relation) = relations.get(row.oid("tgrelid")?) else { continue };
        let (key, parent, name) = ((class::TRIGGER, row.oid("oid")?), row.oid("parent")?, row.text("name")?);
        let state = row.text("tgenabled")?;
        // Of this table alone: which versions speak of its partitions too is another matter.
        let alter = enabled(state)
            .map(|how| format!("ALTER TABLE ONLY {} {how} TRIGGER {}", relation.quoted(), ident(name)));
        let (trigger, constraint) = (
            format!("TRIGGER {} ON {}", ident(name), relation.quoted()),
            format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()),
        );
        let is_of_key = row.get::<Option<bool>>("of_key")?.unwrap_or_default();
        if is_of_key && state != "O" {
            of_keys.entry(relation.oid).or_default().push(row);
        }
        if row.is("tgisinternal")? && parent == 0 {
            // Made with the key, under a name that is another in a copy. Only switching it off is somebody's doing.
            catalog.alias(key, (class::CONSTRAINT, row.oid("tgconstraint")?));
            catalog.identities.insert(key, String::new());
            continue;
        }
        if parent != 0 {
            copies.push((key, (class::TRIGGER, parent)));
            let of_constraint = (class::CONSTRAINT, row.oid("tgconstraint")?);
            if !catalog.by_key.contains_key(&of_constraint) {
                copies.push((of_constraint, (class::TRIGGER, parent)));
                catalog.identities.insert(of_constraint, constraint);
            }
            catalog.identities.insert(key, if is_of_key { String::new() } else { trigger });
            if let Some(alter) = alter.filter(|_| !is_of_key) {
                let node =
                    relations.node_of(catalog, relation, "trigger state", name, Rank::Made, vec![alter]);
                changed.push((key, catalog.push(node)));
            }
            continue;
        }
        let mut statements = vec![row.maybe("definition")?.unwrap_or_default().to_owned()];
        statements.extend(alter);
        let node = relations.node_of(catalog, relation, "trigger", name, Rank::Made, statements);
        catalog.add(key, node.identity(trigger));
        let of_constraint = (class::CONSTRAINT, row.oid("tgconstraint")?);
        catalog.alias(of_constraint, key);
        catalog.identities.insert(of_constraint, constraint);
    }
    for _ in 0..copies.len().min(64) {
        copies.retain(|(key, parent)| {
            catalog.alias(*key, *parent);
            !catalog.by_key.contains_key(key)
        });
    }
    // A copy is there when what it is copied from is, at the top of the tree.
    for (copy, state) in changed {
        let made = catalog.by_key.get(&copy).copied();
        catalog.node_mut(state)?.needs.extend(made);
    }
    states_of_keys(reader, catalog, relations, of_keys)
}

/// The key that the key `k` is made along with: the topmost that it is a partition's part of.
const ROOT: &str = "(WITH RECURSIVE up AS (
    SELECT k.oid, k.conparentid UNION ALL SELECT p.oid, p.conparentid FROM up JOIN pg_catalog.pg_constraint p ON p.oid = up.conparentid
  ) SELECT up.oid FROM up WHERE up.conparentid = 0)";

/// How triggers of keys fire, of each table together. Their names have numbers in them that are others in a copy, and the keys of partitions
/// may have been renamed: they are found by the key that was made, the tables that theirs is from and to, and their function.
fn states_of_keys(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
    of_keys: HashMap<u32, Vec<&Fields>>,
) -> Result<()> {
    let mut of_keys: Vec<_> = of_keys.into_iter().collect();
    of_keys.sort_unstable_by_key(|(oid, _)| *oid);
    for (oid, triggers) in of_keys {
        let Some(relation) = relations.get(oid) else { continue };
        let mut node =
            relations.node_of(catalog, relation, "key state", &relation.name, Rank::Contents, vec![]);
        let mut states = Vec::new();
        for row in triggers {
            let quoted = |oid: u32| relations.get(oid).map(|relation| literal(&relation.quoted()));
            let to = row.oid("key_to")?;
            let to = if to == 0 { Some("NULL".to_owned()) } else { quoted(to) };
            let (Some(from), Some(to), Some(of), Some(how)) = (
                quoted(row.oid("key_from")?),
                to,
                quoted(row.oid("root_of")?),
                enabled(row.text("tgenabled")?),
            ) else {
                reader.ctx.warn(format!(
                    "how a trigger of key {} of {} fires is left out: the key is an extension's",
                    row.text("root")?.escape_debug(),
                    relation.quoted().escape_debug()
                ));
                continue;
            };
            node.needs.extend(catalog.by_key.get(&(class::CONSTRAINT, row.oid("tgconstraint")?)));
            let (root, function) = (literal(row.text("root")?), literal(row.text("function")?));
            states.push(format!("({of}, {root}, {from}, {to}, {function}, '{how}')"));
        }
        if states.is_empty() {
            continue;
        }
        let table = literal(&relation.quoted());
        let triggers = format!(
            "(VALUES {}) AS x (of, root, source, target, function, how)
LEFT JOIN LATERAL (SELECT t.tgname FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_constraint r ON r.oid = {ROOT} AND r.conrelid = x.of::pg_catalog.regclass AND r.conname = x.root
  JOIN pg_catalog.pg_trigger t ON t.tgconstraint = k.oid AND t.tgisinternal AND t.tgrelid = {table}::pg_catalog.regclass
  JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid AND p.proname = x.function
  WHERE k.conrelid = x.source::pg_catalog.regclass AND k.confrelid = COALESCE(x.target::pg_catalog.regclass::pg_catalog.oid, 0)) AS f ON true",
            states.join(", ")
        );
        let set = format!(
            "DECLARE how text; trigger name; BEGIN FOR how, trigger IN
SELECT x.how, f.tgname FROM {triggers} WHERE f.tgname IS NOT NULL
LOOP EXECUTE pg_catalog.format('ALTER TABLE ONLY %s %s TRIGGER %I', {table}, how, trigger); END LOOP; END"
        );
        // By itself, so that it undoes none of the others.
        let refuse_missing = format!(
            "DECLARE missing text; BEGIN
SELECT pg_catalog.string_agg(pg_catalog.format('key %s has no trigger of %s', x.root, x.function), ', ') INTO missing FROM {triggers} WHERE f.tgname IS NULL;
IF missing IS NOT NULL THEN RAISE undefined_object USING MESSAGE = missing; END IF; END"
        );
        for body in [set, refuse_missing] {
            node.push(block(&body));
        }
        catalog.push(node);
    }
    Ok(())
}

pub(super) async fn statistics(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
) -> Result<()> {
    let target = reader.since(13, "s.stxstattarget::int4", "NULL::int4");
    let expressions = reader.since(14, "s.stxexprs IS NOT NULL", "false");
    let sql = format!(
        "SELECT s.oid, s.stxrelid, n.nspname::text AS schema, s.stxname::text AS name, pg_catalog.pg_get_userbyid(s.stxowner)::text AS owner,
                pg_catalog.pg_get_statisticsobjdef(s.oid) AS definition, {target} AS target, {expressions} AS expressions
         FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE {OURS} ORDER BY n.nspname, s.stxname"
    );
    for row in reader.rows(&sql).await? {
        let Some(relation) = relations.get(row.oid("stxrelid")?) else { continue };
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what = format!("STATISTICS {}", qualified(schema, name));
        let Some(definition) = row.maybe("definition")? else {
            let message = format!("statistics {} went away", name.escape_debug());
            return Err(Error::new(ErrorKind::Database, message).hint("run it again"));
        };
        let mut statements = vec![definition.to_owned()];
        if let Some(target) = row.get::<Option<i32>>("target")?.filter(|target| *target >= 0) {
            statements.push(format!("ALTER {what} SET STATISTICS {target}"));
        }
        let mut node = relations.node_of(catalog, relation, "statistics", name, Rank::Made, statements);
        if schema != relation.schema {
            node = node.in_schema(schema);
            node.table = None;
        }
        if row.is("expressions")? {
            node.since(14, "statistics of expressions");
        }
        catalog
            .add((class::STATISTICS, row.oid("oid")?), node.identity(&what).owned(&what, row.text("owner")?));
    }
    Ok(())
}

/// Event triggers come when there is nothing more that they could act on.
pub(super) async fn event_triggers(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT e.oid, e.evtname::text AS name, e.evtevent::text AS event, pg_catalog.pg_get_userbyid(e.evtowner)::text AS owner,
                      e.evtfoid::oid::regproc::text AS function, e.evtenabled::text, e.evttags AS tags
               FROM pg_catalog.pg_event_trigger e ORDER BY e.evtname";
    for row in reader.rows(sql).await? {
        let key = (class::EVENT_TRIGGER, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let name = row.text("name")?;
        let what = format!("EVENT TRIGGER {}", ident(name));
        let tags: Vec<String> = row.list("tags")?.iter().map(|tag| literal(tag)).collect();
        let when =
            if tags.is_empty() { String::new() } else { format!(" WHEN TAG IN ({})", tags.join(", ")) };
        let event = ident(row.text("event")?);
        let mut statements =
            vec![format!("CREATE {what} ON {event}{when} EXECUTE FUNCTION {}()", row.text("function")?)];
        statements.extend(enabled(row.text("evtenabled")?).map(|how| format!("ALTER {what} {how}")));
        let mut node = Node::sql("event trigger", name, Rank::EventTriggers, statements)
            .identity(&what)
            .owned(&what, row.text("owner")?);
        if row.text("event")? == "login" {
            node.since(17, "an event trigger on login");
        }
        catalog.add(key, node);
    }
    Ok(())
}
