//! Parts: the logical pieces of a backup, as an engine plans them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rows::RowLayout;

/// A part's number, unique within its backup. Engines number their parts; the order of the plan, not of the
/// numbers, is the order of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartId(pub u32);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A part's place in a script. On restore only [`Part::after`] orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// What lies outside databases: accounts, roles, tablespaces. In a backup, and restored, only where that was asked for, whatever
    /// tables are.
    Globals,
    /// What rows need before they can be loaded: types, tables.
    PreData,
    /// Rows and other contents.
    Data,
    /// What is better made when the rows are there: indexes, constraints, triggers, views.
    PostData,
    /// A stretch of the change log.
    Log,
}

/// What a part's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartKind {
    /// SQL statements, each whole and executed as one: never split, never joined.
    Sql,
    /// Rows of one table (or of a range of it).
    Rows {
        /// How fields are found in a row.
        layout: RowLayout,
        /// The fields of each row, in order.
        columns: Vec<Column>,
    },
    /// Bytes that only the engine understands.
    Bytes,
    /// A segment of the change log.
    Log,
}

/// A column of a [`PartKind::Rows`] part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type as the database declares it; for people, and for engines that need it on restore.
    #[serde(rename = "type")]
    pub declared_type: String,
}

impl Column {
    /// A column called `name` of the type `declared_type`.
    pub fn new(name: impl Into<String>, declared_type: impl Into<String>) -> Self {
        Self { name: name.into(), declared_type: declared_type.into() }
    }
}

/// The object of the database that a part belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Object {
    /// What it is, in the database's own word: `table`, `index`, `view`.
    pub kind: String,
    /// The schema it is in, where the database has schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name, unquoted.
    pub name: String,
    /// The table that it belongs to and is restored with: of an index, a constraint, a trigger; of a partition
    /// its root, where their rows are counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl Object {
    /// An object of `kind` called `name`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), schema: None, name: name.into(), table: None }
    }

    /// Puts it into a schema.
    #[must_use]
    pub fn in_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Says which table of the same schema it belongs to.
    #[must_use]
    pub fn of_table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Whether it is, or belongs to, what has rows or looks as if: a table or a view of any kind.
    pub(crate) fn is_relation(&self) -> bool {
        self.table.is_some() || self.kind.ends_with("table") || self.kind.ends_with("view")
    }

    /// The name by which patterns select it: its table's, or its own.
    pub fn selected_as(&self) -> &str {
        self.table.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Display for Object {
    /// For people and logs: control characters are escaped, nothing is quoted for SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.escape_debug())?;
        if let Some(schema) = &self.schema {
            write!(f, "{}.", schema.escape_debug())?;
        }
        write!(f, "{}", self.name.escape_debug())
    }
}

/// One logical piece of a backup: a schema object, a range of a table's rows, a segment of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Part {
    /// Its number.
    pub id: PartId,
    /// Its place in a script.
    pub phase: Phase,
    /// What its bytes are.
    pub kind: PartKind,
    /// What it belongs to.
    pub object: Object,
    /// The parts that must have been restored before this one starts. They come earlier in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<PartId>,
    /// Roughly how many bytes it will be; the same for an unchanged database. Zero means small.
    #[serde(default)]
    pub size_hint: u64,
    /// What the engine needs to dump it and to restore it; opaque to core.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub spec: serde_json::Value,
}

impl Part {
    fn new(id: u32, phase: Phase, kind: PartKind, object: Object) -> Self {
        Self {
            id: PartId(id),
            phase,
            kind,
            object,
            after: Vec::new(),
            size_hint: 0,
            spec: serde_json::Value::Null,
        }
    }

    /// SQL statements that make or alter `object`.
    pub fn sql(id: u32, phase: Phase, object: Object) -> Self {
        Self::new(id, phase, PartKind::Sql, object)
    }

    /// Rows of `object`.
    pub fn rows(id: u32, object: Object, layout: RowLayout, columns: Vec<Column>) -> Self {
        Self::new(id, Phase::Data, PartKind::Rows { layout, columns }, object)
    }

    /// Bytes that only the engine understands.
    pub fn bytes(id: u32, phase: Phase, object: Object) -> Self {
        Self::new(id, phase, PartKind::Bytes, object)
    }

    /// A segment of the change log.
    pub fn log(id: u32, object: Object) -> Self {
        Self::new(id, Phase::Log, PartKind::Log, object)
    }

    /// Adds parts that must have been restored before.
    #[must_use]
    pub fn after(mut self, parts: impl IntoIterator<Item = PartId>) -> Self {
        self.after.extend(parts);
        self
    }

    /// Says roughly how many bytes it will be.
    #[must_use]
    pub fn size_hint(mut self, bytes: u64) -> Self {
        self.size_hint = bytes;
        self
    }

    /// Adds the engine's own specification.
    #[must_use]
    pub fn spec(mut self, spec: serde_json::Value) -> Self {
        self.spec = spec;
        self
    }
}
