//! What parts carry in manifests: how each is read, and written again.

use std::collections::BTreeSet;

use backup_core::{Error, Part, Result};
use serde::{Deserialize, Serialize};

use super::accounts::Account;
use super::column::Kind;
use super::context::Context;
use super::empty::Empty;
use super::library::LostLibraries;
use super::momentary::Momentary;
use super::objects::RoutineKind;
use super::stand_in::StandIns;
use super::uncounted::Uncounted;
use super::want::Want;

/// What an SQL part makes: its `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SqlSpec {
    /// The settings of the database.
    Database,
    Sequence,
    SequenceValue,
    /// A sequence that is not there any more and that a table's default names: it is made for that table, and dropped when `is_over`.
    LostSequence {
        is_over: bool,
        /// The other database that it is of: that is made too, unless it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
    },
    /// A sequence whose tablespace was discarded: of that the server says no more than its name.
    DiscardedSequence,
    /// A table, without some of its keys if these come later.
    Table {
        keys_later: bool,
        /// The foreign keys that it is made with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        foreign_keys: Vec<String>,
        /// It takes rows only if it is not said from where it counts: ARCHIVE takes no number below that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counts_by_rows: bool,
        /// Its CHECKs that are not enforced, since its rows violate them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unenforced: Vec<String>,
        /// It is made only in the mode NO_UNSIGNED_SUBTRACTION.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        subtracts: bool,
    },
    /// The rows that have no number in the column that counts.
    Uncounted(Uncounted),
    /// The rows in which geometries are empty.
    Empty(Empty),
    /// A table like this one that takes the rows of a partition, whether they belong there or not.
    Aside {
        aside: String,
    },
    /// And that it becomes the partition.
    Exchange {
        aside: String,
        partition: String,
    },
    /// The versions of rows that ended when they began.
    Momentary(Momentary),
    /// The keys of a table that come later.
    Keys,
    /// What the optimizer knows of a table's columns.
    Histograms,
    /// What MariaDB's knows of tables, columns and keys.
    Statistics,
    /// One of MySQL that is not the server's own, by its number.
    ReferenceSystem,
    /// That nothing of the database may be changed any more.
    ReadOnly,
    /// That the plain keys of a table are not kept.
    DisableKeys,
    /// That a table has no tablespace any more.
    Discard,
    ForeignKey,
    Routine {
        routine: RoutineKind,
        context: Context,
        #[serde(default, skip_serializing_if = "LostLibraries::is_empty")]
        lost: LostLibraries,
    },
    View {
        invalid: bool,
        context: Context,
        /// What has to be there while it is made: an invalid one, or a valid one that the server does not make otherwise.
        #[serde(default)]
        stand_ins: StandIns,
    },
    Trigger {
        context: Context,
        /// The columns that it names and its table has not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<String>,
        /// The table keeps a history.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        versioned: bool,
    },
    Event {
        context: Context,
    },
    /// An account or a role.
    Account {
        account: Account,
    },
    /// What it was granted.
    Grants {
        account: Account,
    },
}

impl SqlSpec {
    /// How the values travel of rows that come as its statements.
    pub(crate) fn kinds(&self) -> Option<&[Kind]> {
        match self {
            Self::Momentary(momentary) => Some(momentary.kinds()),
            Self::Uncounted(uncounted) => Some(uncounted.kinds()),
            Self::Empty(empty) => Some(empty.kinds()),
            _ => None,
        }
    }

    /// Whether it is made only in the mode NO_UNSIGNED_SUBTRACTION.
    pub(crate) fn subtracts(&self) -> bool {
        matches!(self, Self::Table { subtracts: true, .. })
    }

    /// The session in which it was made, if that matters.
    pub(crate) fn context(&self) -> Option<&Context> {
        match self {
            Self::Routine { context, .. }
            | Self::View { context, .. }
            | Self::Trigger { context, .. }
            | Self::Event { context } => Some(context),
            _ => None,
        }
    }
}

/// How the rows of a part are read and written: its `spec`. What a later program says of them cannot be left aside: they would be others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RowsSpec {
    pub(crate) columns: Vec<Kind>,
    pub(crate) select: String,
    /// Its last two columns are the times of a version of the row.
    #[serde(default)]
    pub(crate) versioned: bool,
    /// None of these versions is of the past.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) are_present: bool,
    /// Generated columns of geometries, for which MySQL's LOAD DATA wants to be told DEFAULT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) generated_places: Vec<String>,
    /// Some of what is computed of unsigned numbers is below zero: the server computes that only in its mode NO_UNSIGNED_SUBTRACTION.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) subtracts: bool,
    /// The time zone that they are read and written in, if it is not UTC: an offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_zone: Option<String>,
    /// The table that they go into, if it is not the one that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aside: Option<String>,
    /// These are rows between two texts, in the order of a collation: all parts together must have as many as the table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_collation: bool,
}

impl RowsSpec {
    /// How the values of its columns are written.
    pub(crate) fn written(&self) -> Vec<Kind> {
        let mut kinds = self.columns.clone();
        if let Some(last) = kinds.last_mut().filter(|_| self.versioned) {
            *last = Kind::RowEnd;
        }
        kinds
    }
}

/// As it is in the manifest: what the part `wants` is said around it.
pub(crate) fn with_wants(spec: &SqlSpec, wants: Option<&BTreeSet<Want>>) -> Result<serde_json::Value> {
    let make = json(spec)?;
    Ok(match wants {
        Some(wants) => serde_json::json!({ "make": make, "wants": json(wants)? }),
        None => make,
    })
}

pub(crate) fn json(spec: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(spec).map_err(|error| Error::internal("a spec is no JSON").because(error))
}

/// The spec of a part, as `plan` made it.
pub(crate) fn spec<T: serde::de::DeserializeOwned>(part: &Part) -> Result<T> {
    T::deserialize(part.spec.get("make").unwrap_or(&part.spec)).map_err(|error| no_spec(part, error))
}

/// What a part wants of a server that not all have.
pub(crate) fn wants(part: &Part) -> Result<Vec<Want>> {
    part.spec
        .get("wants")
        .map_or_else(|| Ok(Vec::new()), |wants| Vec::deserialize(wants).map_err(|error| no_spec(part, error)))
}

fn no_spec(part: &Part, error: serde_json::Error) -> Error {
    Error::damaged(format!("the description of {} is not that of a MySQL backup", part.object)).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_which_a_later_program_says_more_are_refused() {
        let known = serde_json::json!({ "columns": [], "select": "SELECT 1", "time-zone": "+03:00" });
        let rows = RowsSpec::deserialize(&known).unwrap();
        assert_eq!(rows.time_zone.as_deref(), Some("+03:00"));
        let mut later = known;
        later["calendar"] = "another".into();
        assert!(RowsSpec::deserialize(&later).unwrap_err().to_string().contains("calendar"));
    }
}
