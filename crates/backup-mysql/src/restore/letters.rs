//! Servers to which the names of tables are the same in capital and in small letters (`lower_case_table_names`).

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Error, Part, Result};

use crate::catalog::Reading;
use crate::connect::Connection;

/// Whether the target is one that keeps all in small letters; an error that names what would be one at such a server.
pub(super) async fn check(ctx: &Ctx, connection: &mut Connection, parts: &[Part]) -> Result<bool> {
    let setting = connection.row(ctx, "SELECT @@lower_case_table_names").await?;
    let setting = Reading::new(setting).number()?;
    if setting == 0 {
        return Ok(false);
    }
    let alike = alike(parts.iter().map(|part| (part.object.kind.as_str(), part.object.name.as_str())));
    if alike.is_empty() {
        return Ok(setting == 1);
    }
    let why = format!(
        "to the target names in capital and in small letters are the same (lower_case_table_names), and these would be one: {}",
        alike.join("; ")
    );
    Err(Error::unsupported(why)
        .hint("restore into a server with lower_case_table_names=0, or only one of each (--table)"))
}

/// A part under the names that its objects have there.
pub(super) fn lowered(part: &Part) -> Part {
    let mut part = part.clone();
    let object = &mut part.object;
    if SHARING.contains(&object.kind.as_str()) {
        object.name = object.name.to_lowercase();
    }
    object.table = object.table.take().map(|table| table.to_lowercase());
    part
}

/// What shares names with tables.
const SHARING: [&str; 3] = ["table", "view", "sequence"];

/// Names that differ in nothing else, of what shares names.
fn alike<'p>(objects: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<String> {
    let mut names: BTreeMap<(bool, String), BTreeSet<&str>> = BTreeMap::new();
    for (kind, name) in objects {
        let is_trigger = kind == "trigger";
        if is_trigger || SHARING.contains(&kind) {
            names.entry((is_trigger, name.to_lowercase())).or_default().insert(name);
        }
    }
    let alike = names.into_values().filter(|names| names.len() > 1);
    let said = alike.map(|names| {
        let names: Vec<_> = names.iter().map(|name| name.escape_debug().to_string()).collect();
        names.join(", ")
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_views_share_names_and_triggers_have_their_own() {
        let objects =
            [("table", "T"), ("view", "t"), ("table", "other"), ("trigger", "Other"), ("function", "OTHER")];
        assert_eq!(alike(objects.into_iter()), ["T, t"]);
    }
}
