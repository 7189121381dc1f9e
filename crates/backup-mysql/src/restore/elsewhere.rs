//! Programs that name the database that they are of: under another name they are at work in the old one.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Part, Result};

use super::carry::named;
use crate::catalog::spec::wants;
use crate::catalog::want::Want;

/// Tells of those that are restored into a database of another name.
pub(super) fn tell(ctx: &Ctx, database: &str, parts: &[Part]) -> Result<()> {
    let mut elsewhere: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for part in parts {
        let Some(of) = part.object.schema.as_deref().filter(|of| *of != database) else { continue };
        if wants(part)?.contains(&Want::OwnDatabase) {
            elsewhere.entry(of).or_default().insert(part.object.to_string());
        }
    }
    for (of, programs) in elsewhere {
        ctx.warn(format!(
            "programs name the database {}: what they do there they do from {} too, and not here ({})",
            of.escape_debug(),
            database.escape_debug(),
            named(&programs)
        ));
    }
    Ok(())
}
