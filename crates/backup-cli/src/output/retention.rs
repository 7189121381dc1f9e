//! What retention keeps and drops, as it is printed: each backup with the rules that keep it, or that do not.

use lifeboat::RetentionPlan;

use super::{Align, Table, count, size, time, word};

/// The plan as text.
#[allow(dead_code)] // until there is `prune`
pub(crate) fn retention_table(plan: &RetentionPlan) -> String {
    if plan.decisions.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("", Align::Left),
        ("ID", Align::Left),
        ("DATABASE", Align::Left),
        ("TYPE", Align::Left),
        ("CREATED (UTC)", Align::Left),
        ("VERIFIED", Align::Left),
        ("WHY", Align::Left),
    ]);
    for decision in &plan.decisions {
        let backup = &decision.backup;
        let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
        table.row([
            if decision.keep { "keep" } else { "drop" }.to_owned(),
            backup.id.to_string(),
            backup.database.clone(),
            word(&backup.backup_type),
            time(backup.created_at),
            if backup.verified.is_some() { "yes" } else { "no" }.to_owned(),
            reasons.join("; "),
        ]);
    }
    let dropped = plan.dropped();
    let kept = plan.decisions.len() - dropped.len();
    let bytes = dropped.iter().map(|backup| backup.new_size).sum();
    let total = match dropped.len() {
        0 => format!("{} kept, none dropped\n", count(kept as u64)),
        drop => format!(
            "{} kept, {} dropped; when they came these added {}\n",
            count(kept as u64),
            count(drop as u64),
            size(bytes)
        ),
    };
    format!("{table}{total}")
}
