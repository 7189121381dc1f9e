//! Which parts of a backup are restored.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::options::RestoreOptions;
use crate::part::{PartId, PartKind, Phase};
use crate::repository::PartRecord;
use crate::request::Content;

/// The parts to restore, in plan order, and those left out although they belong to a selected table.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) records: Vec<PartRecord>,
    pub(crate) left_out: Vec<String>,
    pub(crate) partial: bool,
    /// The parts of the tables that match.
    pub(crate) asked: BTreeSet<PartId>,
}

/// Selects what `options` ask for: the parts of the tables that match, what these parts come after, and of
/// what comes behind the rows (indexes, constraints, triggers) that which needs nothing else. A constraint that
/// needs a table which was not selected is left out, and named.
pub(crate) fn select(
    records: Vec<PartRecord>,
    database: &str,
    options: &RestoreOptions,
) -> Result<Selection> {
    let partial = !options.tables.is_empty();
    let mut wanted = HashSet::new();
    let mut asked = BTreeSet::new();
    let mut left_out = Vec::new();
    if partial {
        let filter = Filter::new(options.tables.iter().cloned(), []);
        let matches = |record: &PartRecord| {
            let object = &record.part.object;
            record.part.phase != Phase::Globals
                && filter.selects(Some(database), object.schema.as_deref(), object.selected_as())
        };
        let by_id: HashMap<PartId, &PartRecord> =
            records.iter().map(|record| (record.part.id, record)).collect();
        let matched: Vec<_> = records.iter().filter(|record| matches(record)).collect();
        filter.refuse_unmatched()?;
        asked.extend(matched.iter().map(|record| record.part.id));
        let mut ahead: Vec<_> = matched
            .iter()
            .filter(|record| record.part.phase != Phase::PostData)
            .map(|record| record.part.id)
            .collect();
        while let Some(id) = ahead.pop() {
            if wanted.insert(id) {
                ahead.extend(by_id.get(&id).into_iter().flat_map(|record| record.part.after.iter().copied()));
            }
        }
        // Parts come in an order in which what they need comes first.
        for record in matched.iter().filter(|record| record.part.phase == Phase::PostData) {
            match with_needs(&by_id, record, &wanted) {
                Some(needs) => wanted.extend(needs),
                None => left_out.push(record.part.object.to_string()),
            }
        }
    }
    if options.globals && !records.iter().any(|record| record.part.phase == Phase::Globals) {
        return Err(Error::usage("the backup holds nothing that lies outside its database")
            .hint("leave out --globals; backups made with it have accounts and the like"));
    }
    let of_content = |record: &PartRecord| {
        let is_rows = record.part.phase == Phase::Data;
        match options.content {
            Content::All => true,
            Content::SchemaOnly => !is_rows || matches!(record.part.kind, PartKind::Sql),
            Content::DataOnly => is_rows,
        }
    };
    let selected = records
        .into_iter()
        .filter(|record| match record.part.phase {
            Phase::Globals => options.globals,
            _ => (!partial || wanted.contains(&record.part.id)) && of_content(record),
        })
        .collect();
    Ok(Selection { records: selected, left_out, partial, asked })
}

/// A part behind the rows, and what it needs and is not `wanted` yet: functions come along, other tables do not, and then it is `None`.
fn with_needs(
    by_id: &HashMap<PartId, &PartRecord>,
    record: &PartRecord,
    wanted: &HashSet<PartId>,
) -> Option<HashSet<PartId>> {
    let mut needs = HashSet::from([record.part.id]);
    let mut ahead = vec![record];
    while let Some(record) = ahead.pop() {
        for id in record.part.after.iter().filter(|id| !wanted.contains(id)) {
            if is_other_rows(by_id, *id, record) {
                continue;
            }
            let needed = by_id.get(id)?;
            if needed.part.object.is_relation() {
                return None;
            }
            if needs.insert(*id) {
                ahead.push(needed);
            }
        }
    }
    Some(needs)
}

/// Whether the part `id` only has to be loaded before `record` for the sake of order: rows of a table that
/// was not selected.
fn is_other_rows(by_id: &HashMap<PartId, &PartRecord>, id: PartId, record: &PartRecord) -> bool {
    by_id.get(&id).is_some_and(|other| {
        other.part.phase == Phase::Data && other.part.object.selected_as() != record.part.object.selected_as()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Object, Part};
    use crate::rows::{RowDigest, RowLayout};

    fn record(part: Part) -> PartRecord {
        PartRecord::new(part, RowDigest::default(), 0)
    }

    fn sample() -> Vec<PartRecord> {
        let table = |id, name: &str| record(Part::sql(id, Phase::PreData, Object::new("table", name)));
        let rows = |id, name: &str| {
            record(
                Part::rows(id, Object::new("table", name), RowLayout::Opaque, vec![])
                    .after([PartId(id - 10)]),
            )
        };
        let post = |id, name: &str, table: &str, after: &[u32]| {
            let object = Object::new("constraint", name).of_table(table);
            record(Part::sql(id, Phase::PostData, object).after(after.iter().copied().map(PartId)))
        };
        vec![
            table(1, "a"),
            table(2, "b"),
            rows(11, "a"),
            rows(12, "b"),
            post(21, "a_index", "a", &[1, 11, 12]),
            post(22, "a_to_b", "a", &[1, 2, 11, 12]),
            record(Part::sql(3, Phase::PreData, Object::new("function", "f"))),
            post(23, "a_calls_f", "a", &[1, 3, 11]),
        ]
    }

    fn ids(options: &RestoreOptions) -> (Vec<u32>, Vec<String>) {
        let selection = select(sample(), "db", options).unwrap();
        (selection.records.iter().map(|record| record.part.id.0).collect(), selection.left_out)
    }

    #[test]
    fn one_table_comes_with_what_it_needs_and_names_what_it_cannot_have() {
        let options = RestoreOptions { tables: vec!["a".parse().unwrap()], ..Default::default() };
        assert_eq!(ids(&options), (vec![1, 11, 21, 3, 23], vec!["constraint a_to_b".to_owned()]));
    }

    #[test]
    fn what_was_asked_for_is_told_from_what_that_needs() {
        let mut records = sample();
        records[0].part.after.push(PartId(2));
        let options = RestoreOptions { tables: vec!["a".parse().unwrap()], ..Default::default() };
        let selection = select(records, "db", &options).unwrap();
        assert!(selection.records.iter().any(|record| record.part.id == PartId(2)));
        assert!(selection.asked.contains(&PartId(1)) && !selection.asked.contains(&PartId(2)));
    }

    #[test]
    fn the_schema_and_the_rows_are_halves_of_the_whole() {
        let only = |content| ids(&RestoreOptions { content, ..Default::default() }).0;
        assert_eq!(only(Content::SchemaOnly), [1, 2, 21, 22, 3, 23]);
        assert_eq!(only(Content::DataOnly), [11, 12]);
        assert_eq!(only(Content::All).len(), 8);
    }

    #[test]
    fn what_lies_outside_the_database_comes_only_where_it_was_asked_for() {
        let mut records = sample();
        records.insert(0, record(Part::sql(0, Phase::Globals, Object::new("role", "a"))));
        let all = RestoreOptions::default();
        assert!(select(records.clone(), "db", &all).unwrap().records.iter().all(|r| r.part.id.0 != 0));
        for tables in [vec![], vec!["a".parse().unwrap()]] {
            let options = RestoreOptions { globals: true, tables, ..Default::default() };
            let selection = select(records.clone(), "db", &options).unwrap();
            assert_eq!(selection.records[0].part.id.0, 0);
            assert!(!selection.asked.contains(&PartId(0)));
            assert!(select(sample(), "db", &options).is_err(), "there are none");
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        let options = RestoreOptions { tables: vec!["nope".parse().unwrap()], ..Default::default() };
        assert!(select(sample(), "db", &options).is_err());
    }
}
