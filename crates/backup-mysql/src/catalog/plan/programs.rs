//! Routines, views, triggers and events.

use std::collections::{BTreeSet, HashMap};

use backup_core::{PartId, Phase, Result};

use super::super::objects::{Objects, RoutineKind};
use super::super::order;
use super::super::spec::SqlSpec;
use super::super::stand_in::{StandIns, There};
use super::super::table::Table;
use super::{Needs, Plan};

impl Plan<'_> {
    pub(super) fn programs(
        &mut self,
        objects: &Objects,
        tables: &[Table],
        lost_columns: Vec<Vec<String>>,
    ) -> Result<()> {
        let mut functions = HashMap::new();
        let mut packages = HashMap::new();
        let (mut libraries, mut before) = (Vec::new(), None);
        for routine in &objects.routines {
            let object = self.object(routine.kind.object(), &routine.name);
            let mut after: Vec<_> = match routine.kind {
                RoutineKind::PackageBody => packages.get(&routine.name).copied().into_iter().collect(),
                RoutineKind::Function | RoutineKind::Procedure => libraries.clone(),
                _ => Vec::new(),
            };
            let lost = routine.lost.clone();
            let stands_in = !lost.is_empty();
            // One after the other: they may lack the same.
            after.extend(before.filter(|_| stands_in));
            let spec = SqlSpec::Routine { routine: routine.kind, context: routine.context.clone(), lost };
            let made = self.sql(Phase::PostData, object, &spec, after)?;
            before = if stands_in { Some(made) } else { before };
            match routine.kind {
                RoutineKind::Library => {
                    libraries.push(made);
                    None
                }
                RoutineKind::Function => functions.insert(routine.name.to_lowercase(), made),
                RoutineKind::Package => packages.insert(routine.name.clone(), made),
                _ => None,
            };
        }
        let mut views = HashMap::new();
        // What reads one that needs stand-ins comes behind it.
        let (mut late, mut early, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for view in order::views(&objects.views, self.database) {
            let reads = order::needs(view, self.database).tables;
            if view.invalid || view.fixed || reads.iter().any(|name| names.contains(name)) {
                names.insert(view.name.clone());
                late.push(view);
            } else {
                early.push(view);
            }
        }
        for view in early {
            let needs = order::needs(view, self.database);
            // A view may name a key in a hint.
            let tables = needs.tables.iter().filter_map(|name| self.needs.get(name));
            let tables = tables.flat_map(|needs| needs.made.into_iter().chain(needs.keys));
            let others = needs.tables.iter().filter_map(|name| views.get(name).copied());
            let called =
                needs.functions.iter().filter_map(|name| functions.get(&name.to_lowercase()).copied());
            let mut after: Vec<_> = tables.chain(others).chain(called).collect();
            after.sort_unstable();
            after.dedup();
            let spec = SqlSpec::View {
                invalid: false,
                context: view.context.clone(),
                stand_ins: StandIns::default(),
            };
            let made = self.sql(Phase::PostData, self.object("view", &view.name), &spec, after)?;
            views.insert(view.name.clone(), made);
        }
        // One after the other, behind tables, rows and routines: while one is made, what it reads may be put aside.
        let mut after: Vec<_> = self.parts.iter().map(|part| part.id).collect();
        let mut made: BTreeSet<_> = views.into_keys().collect();
        for view in late {
            let there = |name: &str| {
                if let Some(table) = tables.iter().find(|table| table.name == name) {
                    There::Table(&table.names)
                } else if made.contains(name) {
                    There::View
                } else if objects.views.iter().any(|view| view.name == name) {
                    There::LaterView
                } else if objects.sequences.iter().any(|sequence| sequence == name) {
                    There::Sequence
                } else {
                    There::Nothing
                }
            };
            let has_function = |name: &str| functions.contains_key(&name.to_lowercase());
            let has_database = |name: &str| {
                objects.databases.contains(name) || name.eq_ignore_ascii_case("information_schema")
            };
            let stand_ins = if view.invalid || view.fixed {
                StandIns::of(view, self.database, there, has_function, has_database)
            } else {
                StandIns::default()
            };
            let spec = SqlSpec::View { invalid: view.invalid, context: view.context.clone(), stand_ins };
            let part = self.sql(Phase::PostData, self.object("view", &view.name), &spec, after)?;
            after = vec![part];
            made.insert(view.name.clone());
        }
        // Triggers come behind, of which a restore sees to it: they do not need these views, and without them come all the same.
        let mut before: Option<(&str, PartId)> = None;
        for (trigger, missing) in objects.triggers.iter().zip(lost_columns) {
            let mut after: Vec<_> = self.needs.get(&trigger.table).into_iter().flat_map(Needs::all).collect();
            after.extend(before.filter(|(table, _)| *table == trigger.table).map(|(_, id)| id));
            let object = self.object("trigger", &trigger.name).of_table(&trigger.table);
            let versioned = tables.iter().any(|table| table.name == trigger.table && table.versioned);
            let spec = SqlSpec::Trigger { context: trigger.context.clone(), missing, versioned };
            let made = self.sql(Phase::PostData, object, &spec, after)?;
            before = Some((&trigger.table, made));
        }
        for event in &objects.events {
            let spec = SqlSpec::Event { context: event.context.clone() };
            self.sql(Phase::PostData, self.object("event", &event.name), &spec, [])?;
        }
        Ok(())
    }
}
