//! Restoring into a copy of an existing database: rows alone, or some of a backup's objects.

use std::collections::{BTreeSet, HashSet};

use backup_core::{Content, Error, ErrorKind, Existing, Part, PartKind, RestoreRequest, Result};

use super::load::Loading;
use crate::backup::spec;
use crate::catalog::plan::SqlSpec;
use crate::catalog::settings::Encoding;
use crate::catalog::table::RowsSpec;
use crate::config::Config;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// There is no database with the tables that rows are for.
pub(super) fn missing(config: &Config) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no database with tables in {}", config.path.display()))
        .hint("restore the schema first, or everything")
}

/// Makes room in the copy for `parts`, or refuses.
pub(super) fn prepare(mut loading: Loading, request: &RestoreRequest, parts: &[Part]) -> Result<Loading> {
    loading.partial = request.partial;
    let encoding = Encoding::of(&loading.connection)?;
    for part in parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })) {
        let spec: RowsSpec = spec(part)?;
        if spec.encoding != encoding {
            let (is, was) = (encoding.name(), spec.encoding.name());
            return Err(Error::unsupported(format!("the target keeps text in {is}, the backup in {was}")));
        }
    }
    loading.begin()?;
    let names = loading.names()?;
    let ours = |part: &&Part| !part.object.name.starts_with("sqlite_");
    if request.content == Content::DataOnly {
        let with_rows = parts.iter().filter(ours).filter(|part| spec::<SqlSpec>(part).is_err());
        for table in with_rows.map(|part| part.object.name.as_str()).collect::<BTreeSet<_>>() {
            make_empty(&loading, &names, table, request.existing)?;
        }
    } else {
        let made = parts.iter().filter(ours).filter(|part| matches!(spec(part), Ok(SqlSpec::Schema { .. })));
        for part in made {
            make_free(&loading, &names, part, request.existing)?;
        }
    }
    Ok(loading)
}

fn make_empty(loading: &Loading, names: &HashSet<String>, table: &str, existing: Existing) -> Result<()> {
    let name = identifier(table);
    if !names.contains(&table.to_ascii_lowercase()) {
        let missing = format!("the target has no table {}", table.escape_debug());
        return Err(Error::new(ErrorKind::NotFound, missing).hint("restore the schema too"));
    }
    let filled = loading.connection.prepare(&format!("SELECT 1 FROM main.{name} LIMIT 1"));
    let filled = filled.and_then(|mut statement| statement.exists(())).doing(|| "look into the target")?;
    match existing {
        _ if !filled => Ok(()),
        Existing::Replace => loading.execute(&format!("DELETE FROM main.{name}")),
        Existing::Refuse => Err(not_empty(format!("table {} of the target has rows", table.escape_debug()))),
    }
}

fn make_free(loading: &Loading, names: &HashSet<String>, part: &Part, existing: Existing) -> Result<()> {
    let name = &part.object.name;
    if !names.contains(&name.to_ascii_lowercase()) {
        return Ok(());
    }
    match existing {
        Existing::Refuse => Err(not_empty(format!("the target has a {} already", part.object))),
        Existing::Replace => {
            let kind = match part.object.kind.as_str() {
                "view" => "VIEW",
                "index" => "INDEX",
                "trigger" => "TRIGGER",
                _ => "TABLE",
            };
            loading.execute(&format!("DROP {kind} IF EXISTS main.{}", identifier(name)))
        }
    }
}

fn not_empty(what: String) -> Error {
    Error::new(ErrorKind::TargetNotEmpty, what)
        .hint("restore under another name, or replace it (--drop-existing)")
}
