//! What of a damaged backup can still be restored.

use std::collections::BTreeMap;

use super::chunks::Lists;
use super::{Affected, Check, Findings};
use crate::error::{ErrorKind, Result};
use crate::part::PartKind;
use crate::repository::{Header, PartRecord};

impl Check<'_> {
    /// Says of every bad backup what can still be restored.
    pub(super) async fn affected(&self, findings: &mut Findings, lists: &Lists) -> Result<()> {
        for place in &findings.bad {
            let Some(header) = findings.headers.get(*place) else { continue };
            let mut affected = Affected {
                backup: header.id.to_string(),
                database: Some(header.database.clone()),
                restorable: Vec::new(),
                lost: Vec::new(),
                note: None,
            };
            match self.still_there(header, lists).await {
                Ok((restorable, lost)) => (affected.restorable, affected.lost) = (restorable, lost),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    affected.note = Some(format!("nothing of it can be restored: {}", error.message()))
                }
            }
            if affected.note.is_none() {
                affected.note = match &header.file {
                    Some(file) => Some(format!(
                        "a restore reads {} whole or not at all; what is left of it is plain text or tar for other programs",
                        file.key
                    )),
                    None if affected.lost.is_empty() => {
                        Some("all of it is there, but not of what it continues".to_owned())
                    }
                    None => None,
                };
            }
            findings.report.affected.push(affected);
        }
        Ok(())
    }

    /// The tables of which everything is there, and what else is lost.
    async fn still_there(&self, header: &Header, lists: &Lists) -> Result<(Vec<String>, Vec<String>)> {
        let manifest = self.repository.manifest(self.ctx, &header.id).await?;
        let chunks = self.repository.chunks(self.ctx, &manifest).await?;
        let parts = self.repository.parts(self.ctx, &manifest, &chunks).await?;
        if header.file.is_some() {
            return Ok((Vec::new(), Vec::new()));
        }
        // Where each list of this backup begins.
        let mut of_backup = Vec::new();
        let mut first = 0;
        for record in &header.lists {
            let list = lists
                .0
                .iter()
                .find(|list| (list.record.id, list.record.chunks) == (record.id, record.chunks));
            of_backup.push((first, list));
            first += record.chunks as usize;
        }
        let is_damaged = |place: u32| {
            let place = place as usize;
            let at = of_backup.partition_point(|(first, _)| *first <= place).checked_sub(1);
            let found = at.and_then(|at| of_backup.get(at));
            found.and_then(|(first, list)| list.map(|list| list.is_damaged(place - first))).unwrap_or(true)
        };
        Ok(sort_out(&parts, |record| record.spans.iter().any(|span| is_damaged(span.0))))
    }
}

/// The names of what `restore --table` can select and is whole, and the names of what is not.
fn sort_out(parts: &[PartRecord], is_lost: impl Fn(&PartRecord) -> bool) -> (Vec<String>, Vec<String>) {
    let mut objects: BTreeMap<(Option<&str>, &str), (bool, bool)> = BTreeMap::new();
    for record in parts {
        let object = &record.part.object;
        let (table, lost) = objects.entry((object.schema.as_deref(), object.selected_as())).or_default();
        *table |= matches!(record.part.kind, PartKind::Rows { .. });
        *lost |= is_lost(record);
    }
    let name = |schema: Option<&str>, name: &str| match schema {
        Some(schema) => format!("{schema}.{name}"),
        None => name.to_owned(),
    };
    let (mut restorable, mut gone) = (Vec::new(), Vec::new());
    for ((schema, object), (table, lost)) in objects {
        match (table, lost) {
            (_, true) => gone.push(name(schema, object)),
            (true, false) => restorable.push(name(schema, object)),
            (false, false) => {}
        }
    }
    (restorable, gone)
}
