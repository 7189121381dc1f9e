//! Routines of MySQL whose libraries are not there any more. The server makes none like that; so for the moment in which one is made, empty libraries
//! of their names stand in.

use std::collections::BTreeMap;

use backup_core::{Ctx, Result};
use serde::{Deserialize, Serialize};

use super::Reading;
use super::objects::Routine;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};

/// The libraries that a routine uses and that are not there, and the language that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LostLibraries {
    names: Vec<String>,
    language: String,
}

impl LostLibraries {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The statements before and behind the one that makes the routine.
    pub(crate) fn around(&self, routine: Vec<u8>) -> Vec<Vec<u8>> {
        let made = self.names.iter().map(|name| self.make(name).into_bytes());
        let dropped = self.names.iter().map(|name| forget(name).into_bytes());
        made.chain([routine]).chain(dropped).collect()
    }

    /// The library that a statement makes for the moment.
    pub(crate) fn makes(&self, sql: &[u8]) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| self.make(name).as_bytes() == sql)
    }

    /// The library that a statement drops again.
    pub(crate) fn drops(&self, sql: &[u8]) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| forget(name).as_bytes() == sql)
    }

    fn make(&self, name: &str) -> String {
        format!("CREATE LIBRARY {} LANGUAGE {} AS ''", identifier(name), identifier(&self.language))
    }
}

fn forget(name: &str) -> String {
    format!("DROP LIBRARY {}", identifier(name))
}

/// Notes which libraries of the database are not there that routines use.
pub(super) async fn note_lost(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    routines: &mut [Routine],
) -> Result<()> {
    if !connection.version.has_libraries() || routines.is_empty() {
        return Ok(());
    }
    let of = text(database);
    let sql = format!(
        "SELECT used.ROUTINE_NAME, used.ROUTINE_TYPE, used.LIBRARY_NAME, EXTERNAL_LANGUAGE \
         FROM information_schema.ROUTINE_LIBRARIES used JOIN information_schema.ROUTINES USING (ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE) \
         LEFT JOIN information_schema.LIBRARIES there ON there.LIBRARY_SCHEMA = used.LIBRARY_SCHEMA AND there.LIBRARY_NAME = used.LIBRARY_NAME \
         WHERE used.ROUTINE_SCHEMA = {of} AND used.LIBRARY_SCHEMA = {of} AND there.LIBRARY_NAME IS NULL ORDER BY 1, 2, 3"
    );
    let mut lost: BTreeMap<(String, String), LostLibraries> = BTreeMap::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, kind, library, language) = (row.text()?, row.text()?, row.text()?, row.text()?);
        let libraries = lost.entry((kind, name)).or_default();
        libraries.names.push(library);
        libraries.language = language;
    }
    for routine in routines {
        let key = (routine.kind.word().to_owned(), routine.name.clone());
        routine.lost = lost.remove(&key).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_stands_in() {
        let lost = LostLibraries { names: vec!["a`b".into()], language: "PY-THON".into() };
        let statements = lost.around(b"CREATE FUNCTION".to_vec());
        assert_eq!(
            statements,
            [
                &b"CREATE LIBRARY `a``b` LANGUAGE `PY-THON` AS ''"[..],
                b"CREATE FUNCTION",
                b"DROP LIBRARY `a``b`"
            ]
        );
        assert_eq!((lost.makes(&statements[0]), lost.drops(&statements[2])), (Some("a`b"), Some("a`b")));
        assert_eq!((lost.makes(&statements[1]), lost.drops(&statements[0])), (None, None));
    }
}
