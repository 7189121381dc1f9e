//! What a part's `spec` says: how to restore it, and what has to be there first.

use std::collections::BTreeSet;

use backup_core::{Error, Part, PartId, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ddl::acl;
use crate::ddl::quote::ident;

/// What a part is called of a policy on a table that an extension brings along, of a label on something of its, of whether row security is on
/// for such a table, and of a publication that has one.
pub(crate) const POLICY_OF_EXTENSION: &str = "policy on an extension's table";
pub(crate) const LABEL_OF_EXTENSION: &str = "security label on an extension's object";
pub(crate) const SECURITY_OF_EXTENSION: &str = "row security of an extension's table";
pub(crate) const PUBLICATION_OF_EXTENSION: &str = "extension's table in publication";

/// What a part of a restore waits for beyond its `after`. Functions can use what no dependency tells of, so a part starts when
/// every part of a lower gate is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Gate {
    /// What lies outside databases: roles, tablespaces.
    Globals,
    /// Objects without which no row can be loaded.
    Objects,
    /// Rows, and what is made of the rows of one table.
    Rows,
    /// What reads the rows of any table: the contents of materialized views.
    Contents,
    /// What would act on what is made: default privileges. And what nothing else needs.
    Last,
    /// What would act on any statement: event triggers.
    EventTriggers,
}

/// The spec of a part of SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SqlSpec {
    pub(crate) gate: Gate,
    /// From this statement on they are about owners and privileges.
    pub(crate) owners_from: usize,
    /// The roles that its statements name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    /// The role, or the tablespace, that it makes or alters, and leaves alone if it was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) global: Option<Global>,
    /// What its first statement makes, as ALTER EXTENSION calls it, in a database with extensions: one may make it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    /// The extension that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// The tablespace that it lies in, if that is not its database's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tablespace: Option<String>,
    /// The oldest major version that knows what its statements say, if not all do, and what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<(u32, String)>,
    /// The newest major version that takes what its statements say, if not all do, and what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<(u32, String)>,
    /// Whether only a server that was built with ICU knows what it makes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) icu: bool,
    /// How to create the database, in its first part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<DatabaseSpec>,
    /// The part that has made it without what this one says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announced_by: Option<PartId>,
}

/// What lies outside databases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Global {
    Role(String),
    Tablespace(String),
}

/// What has to be said when a database is created, since it cannot be altered later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DatabaseSpec {
    pub(crate) encoding: String,
    pub(crate) collate: String,
    pub(crate) ctype: String,
    /// `c`, `i` or `b`, as `pg_database` has it.
    pub(crate) provider: String,
    /// The major version of its server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    /// The locale of another provider than libc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) locale: Option<String>,
    /// How ICU is to sort otherwise than that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<String>,
    /// The libraries that sessions with it begin with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) preload: Vec<String>,
    /// What one has that is made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<PlaceSpec>,
}

/// To whom a database belongs, and what else is of its place and not of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlaceSpec {
    pub(crate) owner: String,
    /// Who may do what, as `pg_database` has it: nothing if nobody has said that.
    pub(crate) acl: Option<Vec<String>>,
    /// What it is if nobody has said it.
    pub(crate) base: Vec<String>,
    /// How many sessions there may be; -1 is as many as the server has.
    pub(crate) connections: i32,
    /// The tablespace that it lies in, if that is not the server's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tablespace: Option<String>,
}

impl PlaceSpec {
    /// What gives a database to its owner and grants what is granted on it. The roles that this names are added to `roles`.
    pub(crate) fn owning(&self, database: &str, roles: &mut BTreeSet<String>) -> Result<Vec<String>> {
        let (name, owner) = (ident(database), &self.owner);
        roles.insert(owner.clone());
        let mut statements = vec![format!("ALTER DATABASE {name} OWNER TO {}", ident(owner))];
        if let Some(acl) = &self.acl {
            let on = format!("DATABASE {name}");
            let granted = acl::Granted { on: &on, column: None, owner };
            statements.extend(acl::statements(granted, acl, &self.base, roles)?);
        }
        Ok(statements)
    }
}

/// Only the gate, which every spec has.
#[derive(Debug, Deserialize)]
struct Gated {
    gate: Gate,
}

/// The gate of a part.
pub(crate) fn gate(part: &Part) -> Result<Gate> {
    read::<Gated>(part).map(|gated| gated.gate)
}

/// The spec of a part, as the plan made it.
pub(crate) fn read<T: DeserializeOwned>(part: &Part) -> Result<T> {
    T::deserialize(&part.spec).map_err(|error| {
        Error::damaged(format!("the description of {} is not PostgreSQL's: {error}", part.object))
            .because(error)
    })
}

/// A spec for a part.
pub(crate) fn write(spec: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(spec).map_err(|error| Error::internal("a spec is no JSON").because(error))
}
