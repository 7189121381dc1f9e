//! The proof that a backup can be restored: it is, into a scratch database, which is then dumped into nothing and compared with
//! what the backup says of every table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::failure::Failure;
use super::{BackupManager, restore};
use crate::context::Ctx;
use crate::cut::{Cut, CutKeys};
use crate::engine::{BackupSession, Engine, ServerInfo};
use crate::error::{During, Error, Result};
use crate::info::{ComparisonReport, Difference, TableSummary};
use crate::options::{BackupRef, RestoreOptions};
use crate::part::{Object, Part, PartKind, Phase};
use crate::plan;
use crate::position::Until;
use crate::progress::{Event, Stage};
use crate::repository::{BackupType, Header, PartRecord, Purpose};
use crate::request::{BackupRequest, Content};
use crate::url::DatabaseUrl;
use crate::writer::{PartTotals, PartWriter};

impl BackupManager {
    /// Restores a backup into a scratch database beside `target`, which is not touched itself, reads that database as a backup would, and compares the
    /// number and the digest of the rows of every table with those of the backup; and the objects that there are. The scratch database is removed
    /// whatever happens; one that a killed run left behind is removed by the next beside the same target.
    ///
    /// What is different, and what cannot be compared, is no error: see [`ComparisonReport`]. Errors: `Unsupported` for an engine without
    /// scratch databases; `Damaged`; whatever a restore returns.
    pub async fn verify_restore(&self, backup: &BackupRef, target: &DatabaseUrl) -> Result<ComparisonReport> {
        let lease = self.lease_for(backup, Purpose::Verify).await?;
        let compared = Box::pin(self.under(&lease).verify_restore_now(backup, target)).await;
        lease.end(compared).await
    }

    async fn verify_restore_now(&self, backup: &BackupRef, target: &DatabaseUrl) -> Result<ComparisonReport> {
        let factory = self.registry.by_scheme(&target.scheme)?;
        let opened = self.open(backup).await?;
        let header = opened.header.clone();
        if let Some(why) = incomparable(&header, factory.name) {
            return Ok(not_comparable(&header, why));
        }
        let engine = (factory.from_url)(target)?;
        let (opened, log) = self.open_point(factory.name, &*engine, backup, Until::End).await?;
        let (records, server) = (opened.parts.clone(), opened.body.server.clone());
        self.ctx.emit(Event::Stage(Stage::Connect));
        let scratch = engine.scratch(&self.ctx).await?;
        let there = scratch.engine();
        let compared = async {
            let options = RestoreOptions { create_database: true, ..RestoreOptions::default() };
            let job = restore::Job { ctx: &self.ctx, config: &self.config, target, options };
            job.run(Arc::clone(&there), opened, log).await.during(|| "restore it into a scratch database")?;
            let compare = Compare { ctx: &self.ctx, jobs: self.config.jobs.max(1), header: &header };
            compare.run(there, &server, &records).await.during(|| "read the scratch database")
        };
        // Boxed: it is large, and the compiler cannot see through it that all of this is Send.
        let compared = Box::pin(compared).await;
        let discarded = scratch.discard().await.during(|| "remove the scratch database");
        let report = compared.during(|| format!("verify {} by restoring it", header.id))?;
        discarded?;
        Ok(report)
    }
}

/// Why a backup cannot be compared with anything, if it cannot.
fn incomparable(header: &Header, engine: &str) -> Option<String> {
    if header.engine != engine {
        return Some(format!("it is a backup of {}, and the target is one of {engine}", header.engine));
    }
    if header.backup_type != BackupType::Full {
        return Some(
            "it is a stretch of a change log: what that makes of the tables is written nowhere".to_owned(),
        );
    }
    if header.content == Content::DataOnly {
        return Some("it holds rows without the tables that they belong to".to_owned());
    }
    None
}

fn not_comparable(header: &Header, why: String) -> ComparisonReport {
    let whole = Difference { what: format!("backup {}", header.id), why };
    ComparisonReport { not_comparable: vec![whole], ..ComparisonReport::default() }
}

struct Compare<'a> {
    ctx: &'a Ctx,
    jobs: usize,
    header: &'a Header,
}

impl Compare<'_> {
    async fn run(
        &self,
        engine: Arc<dyn Engine>,
        server: &ServerInfo,
        records: &[PartRecord],
    ) -> Result<ComparisonReport> {
        let ctx = self.ctx;
        ctx.emit(Event::Stage(Stage::Verify));
        let now = engine.probe(ctx).await?;
        if (&now.product, major(&now.version)) != (&server.product, major(&server.version)) {
            let why = format!(
                "it was made of {} {}, and the scratch database is one of {} {}",
                server.product, server.version, now.product, now.version
            );
            return Ok(not_comparable(self.header, why));
        }
        let mut request = BackupRequest::new(self.jobs);
        request.content = self.header.content;
        let session = engine.begin_backup(ctx, request).await?;
        let parts: Arc<[Part]> = session.plan(ctx).await?.into();
        plan::check(&parts)?;
        let session = Arc::new(session);
        let totals = count(ctx, self.jobs, &session, &parts).await?;
        let session =
            Arc::into_inner(session).ok_or_else(|| Error::internal("a dump goes on behind its end"))?;
        session.finish(ctx).await?;
        let mut found: Vec<PartRecord> = (parts.iter().zip(totals))
            .map(|(part, totals)| PartRecord::new(part.clone(), totals.digest, totals.bytes))
            .collect();
        // The scratch database has another name, also where databases are schemas.
        for record in &mut found {
            let object = &mut record.part.object;
            if object.schema.as_ref() == Some(&now.database) {
                object.schema = Some(server.database.clone());
            } else if object.kind == "database" && object.name == now.database {
                object.name.clone_from(&server.database);
            }
        }
        Ok(compare(records, &found))
    }
}

/// The first number of a version.
fn major(version: &str) -> &str {
    version.split(|c: char| !c.is_ascii_digit()).find(|number| !number.is_empty()).unwrap_or_default()
}

/// Dumps everything into nothing: what core counts and hashes is all that is kept.
async fn count(
    ctx: &Ctx,
    jobs: usize,
    session: &Arc<Box<dyn BackupSession>>,
    parts: &Arc<[Part]>,
) -> Result<Vec<PartTotals>> {
    let bytes = parts.iter().map(|part| part.size_hint).sum();
    ctx.emit(Event::Planned { parts: parts.len() as u64, bytes });
    let child = ctx.child();
    let mut counting = stream::iter(0..parts.len())
        .map(|place| {
            let (ctx, session, parts) = (child.clone(), Arc::clone(session), Arc::clone(parts));
            AbortOnDropHandle::new(tokio::spawn(
                async move { count_part(&ctx, &**session, &parts, place).await },
            ))
        })
        .buffered(jobs);
    let mut totals = Vec::with_capacity(parts.len());
    let mut failure = Failure::default();
    while let Some(counted) = counting.next().await {
        match counted.unwrap_or_else(|error| Err(Error::internal("a dump did not end").because(error))) {
            Ok(counted) => totals.push(counted),
            Err(error) => failure.note(&child, error),
        }
    }
    failure.into_result()?;
    Ok(totals)
}

async fn count_part(
    ctx: &Ctx,
    session: &dyn BackupSession,
    parts: &[Part],
    place: usize,
) -> Result<PartTotals> {
    let part = parts.get(place).ok_or_else(|| Error::internal("a part outside the plan"))?;
    let (sender, mut cuts) = mpsc::channel::<Cut>(1);
    // Where it is cut does not matter: nothing is stored.
    let mut writer = PartWriter::new(ctx, CutKeys::derive(&[0; 32]), sender);
    let dump = async {
        ctx.emit(Event::PartStarted(part));
        writer.start_part(place, part)?;
        session.dump(ctx, part, &mut writer).await.during(|| format!("dump {}", part.object))?;
        let totals = writer.finish_part().await?;
        writer.finish_run().await?;
        ctx.emit(Event::PartFinished(part));
        Ok(totals)
    };
    let drain = async {
        while let Some(cut) = cuts.recv().await {
            cut.chunk.recycle();
        }
        Ok(())
    };
    tokio::try_join!(dump, drain).map(|(totals, ())| totals)
}

type Name<'a> = (Option<&'a str>, &'a str);

/// Compares what a backup says of its tables and objects with what was found.
fn compare(records: &[PartRecord], found: &[PartRecord]) -> ComparisonReport {
    // What belongs to the server is not restored with a database, and a dump of one has none of it.
    let of_database = |record: &&PartRecord| record.part.phase != Phase::Globals;
    let records: Vec<PartRecord> = records.iter().filter(of_database).cloned().collect();
    let records = records.as_slice();
    let mut report = ComparisonReport::default();
    let (recorded, tables) = (TableSummary::of(records), TableSummary::of(found));
    let (rows_before, rows_after) = (columns(records), columns(found));
    let by_name: BTreeMap<Name<'_>, &TableSummary> =
        tables.iter().map(|table| (name(&table.table), table)).collect();
    for before in &recorded {
        let key = name(&before.table);
        let what = before.table.to_string();
        let Some(after) = by_name.get(&key) else {
            report.different.push(Difference { what, why: "it is missing".to_owned() });
            continue;
        };
        let written = (rows_before.get(&key), rows_after.get(&key));
        if let Some(why) = other_columns(written.0, written.1) {
            report.different.push(Difference { what, why });
        } else if written.0 != written.1 {
            // Rows are hashed as they are written, so only those with the same columns in the same order can be compared.
            let why = "its columns are in another order, of other types, or written otherwise than when the backup was made";
            report.not_comparable.push(Difference { what, why: why.to_owned() });
        } else if before.digest == after.digest {
            report.equal += 1;
            report.rows += before.digest.rows;
        } else {
            let why = if before.digest.rows == after.digest.rows {
                format!("its {} rows are not the same", before.digest.rows)
            } else {
                format!("it has {} rows, not {}", after.digest.rows, before.digest.rows)
            };
            report.different.push(Difference { what, why });
        }
    }
    let (objects_before, objects_after) = (objects(records), objects(found));
    let tables_before: BTreeSet<_> = recorded.iter().map(|table| table.table.to_string()).collect();
    for missing in objects_before.difference(&objects_after).filter(|what| !tables_before.contains(*what)) {
        report.different.push(Difference { what: missing.clone(), why: "it is missing".to_owned() });
    }
    for more in objects_after.difference(&objects_before) {
        report.different.push(Difference { what: more.clone(), why: "it is not in the backup".to_owned() });
    }
    report
}

fn name(object: &Object) -> Name<'_> {
    (object.schema.as_deref(), object.name.as_str())
}

/// How the rows of each table are written. Parts of one table are all written alike, or it compares with nothing.
fn columns(records: &[PartRecord]) -> BTreeMap<Name<'_>, Vec<&PartKind>> {
    let mut columns: BTreeMap<Name<'_>, Vec<&PartKind>> = BTreeMap::new();
    for record in records.iter().filter(|record| matches!(record.part.kind, PartKind::Rows { .. })) {
        let object = &record.part.object;
        // Partitions sum at their root.
        let name = if object.kind == "partition" { object.selected_as() } else { &object.name };
        let kinds = columns.entry((object.schema.as_deref(), name)).or_default();
        if !kinds.contains(&&record.part.kind) {
            kinds.push(&record.part.kind);
        }
    }
    columns
}

/// Which of the columns that were written is missing now, or which was not there.
fn other_columns(before: Option<&Vec<&PartKind>>, after: Option<&Vec<&PartKind>>) -> Option<String> {
    let names = |kinds: Option<&Vec<&PartKind>>| -> BTreeSet<String> {
        let columns = kinds.into_iter().flatten().filter_map(|kind| match kind {
            PartKind::Rows { columns, .. } => Some(columns),
            _ => None,
        });
        columns.flatten().map(|column| column.name.clone()).collect()
    };
    let (before, after) = (names(before), names(after));
    let list = |mut names: std::collections::btree_set::Difference<'_, String>| {
        let first = names.next()?.clone();
        Some(names.fold(first, |list, name| list + ", " + name))
    };
    match (list(before.difference(&after)), list(after.difference(&before))) {
        (Some(lost), _) => Some(format!("it has lost what was in {lost}")),
        (None, Some(more)) => Some(format!("{more} was not in the backup")),
        (None, None) => None,
    }
}

fn objects(records: &[PartRecord]) -> BTreeSet<String> {
    records.iter().map(|record| record.part.object.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Column;
    use crate::rows::{RowDigest, RowLayout};

    fn rows(id: u32, object: Object, columns: &[&str], digest: RowDigest) -> PartRecord {
        let columns = columns.iter().map(|name| Column::new(*name, "int")).collect();
        PartRecord::new(Part::rows(id, object, RowLayout::Tagged, columns), digest, 0)
    }

    fn digest(rows: u64, sum: u128) -> RowDigest {
        RowDigest { rows, sum }
    }

    #[test]
    fn what_belongs_to_the_server_is_not_missed_in_a_database() {
        let role =
            PartRecord::new(Part::sql(0, Phase::Globals, Object::new("role", "postgres")), digest(0, 0), 0);
        let table = rows(1, Object::new("table", "a"), &["x"], digest(2, 7));
        let report = compare(&[role, table.clone()], &[table]);
        assert!(report.is_equal(), "{report:?}");
        assert_eq!(report.equal, 1);
    }

    #[test]
    fn only_rows_of_the_same_columns_are_compared_and_partitions_sum_at_their_root() {
        let table = |name: &str| Object::new("table", name);
        let part = |name: &str, root: &str| {
            let mut object = Object::new("partition", name);
            object.table = Some(root.to_owned());
            object
        };
        let before = [
            rows(0, table("a"), &["x"], digest(2, 7)),
            rows(1, table("b"), &["x", "y"], digest(2, 7)),
            rows(2, part("p1", "p"), &["x"], digest(1, 3)),
            rows(3, part("p2", "p"), &["x"], digest(1, 4)),
            rows(4, table("gone"), &["x"], digest(0, 0)),
            rows(5, table("narrow"), &["x", "y", "z"], digest(0, 0)),
            rows(6, table("wide"), &["x"], digest(0, 0)),
        ];
        let mut after = vec![
            rows(0, table("a"), &["x"], digest(2, 7)),
            rows(1, table("b"), &["y", "x"], digest(2, 7)),
            rows(2, part("p1", "p"), &["x"], digest(2, 7)),
            rows(3, part("p2", "p"), &["x"], digest(0, 0)),
            rows(4, table("narrow"), &["y"], digest(0, 0)),
            rows(5, table("wide"), &["x", "y"], digest(0, 0)),
        ];
        let report = compare(&before, &after);
        let said = |differences: &[Difference]| -> Vec<String> {
            differences.iter().map(|difference| format!("{}: {}", difference.what, difference.why)).collect()
        };
        assert_eq!((report.equal, report.rows), (2, 4));
        let others = ["table narrow: it has lost what was in x, z", "table wide: y was not in the backup"];
        assert_eq!(said(&report.different), [&["table gone: it is missing"], &others[..]].concat());
        assert!(said(&report.not_comparable)[0].starts_with("table b: its columns are in another order"));
        after[4] = rows(4, table("gone"), &["x"], digest(0, 0));
        after[5] = rows(5, table("new"), &["x"], digest(0, 0));
        let before = &before[..5];
        after[0] = rows(0, table("a"), &["x"], digest(2, 8));
        after[3] = rows(3, part("p2", "p"), &["x"], digest(1, 0));
        let report = compare(before, &after);
        assert_eq!(
            said(&report.different),
            [
                "table a: its 2 rows are not the same",
                "table p: it has 3 rows, not 2",
                "table new: it is not in the backup"
            ]
        );
    }

    #[test]
    fn versions_are_told_apart_by_their_first_number() {
        assert_eq!(major("3.40.1"), "3");
        assert_eq!(major("PostgreSQL 15.4 (Debian)"), "15");
        assert_eq!(major("10.11.6-MariaDB"), "10");
        assert_eq!(major(""), "");
    }
}
