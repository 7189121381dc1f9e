//! Rows of system-versioned tables, where the server takes none of the past, nor the times of the present ones.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, Part, PartKind, Result};

use super::carry::named;
use crate::catalog::spec::{RowsSpec, spec};
use crate::connect::Version;

/// Refuses what cannot come without its history, and tells what comes without its times.
pub(super) fn check(ctx: &Ctx, here: &Version, has_infile: bool, parts: &[Part]) -> Result<()> {
    if here.takes_history() {
        return Ok(());
    }
    let (mut refused, mut timeless) = (BTreeSet::new(), BTreeSet::new());
    for part in parts {
        let Ok(rows) = spec::<RowsSpec>(part) else { continue };
        let is_loaded = has_infile && matches!(part.kind, PartKind::Rows { .. });
        if rows.versioned {
            let of = if rows.are_present && is_loaded { &mut timeless } else { &mut refused };
            of.insert(part.object.to_string());
        }
    }
    if !refused.is_empty() {
        let what = format!("the server takes no history of system-versioned tables: {}", named(&refused));
        return Err(Error::unsupported(what).hint(
            "restore them into MariaDB 10.11 or later; without rows of the past, a binary backup can be restored where local_infile=1",
        ));
    }
    if !timeless.is_empty() {
        ctx.warn(format!(
            "the server takes no times of versions: rows are what they are from now on ({})",
            named(&timeless)
        ));
    }
    Ok(())
}
