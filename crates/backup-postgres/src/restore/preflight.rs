//! What is looked at before anything is touched.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Part, PartKind, RestoreRequest, Result, RowLayout};

use crate::connect::{Session, column};
use crate::spec::{DatabaseSpec, SqlSpec, gate, read};

/// What the parts want of the server.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
    pub(super) database: Option<DatabaseSpec>,
}

/// Reads the specs of all parts, and refuses those that are not PostgreSQL's.
pub(super) fn wanted(parts: &[Part], request: &RestoreRequest) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for part in parts {
        gate(part)?;
        let fits = match &part.kind {
            PartKind::Sql => true,
            PartKind::Rows { layout, .. } => *layout == RowLayout::CopyText,
            _ => false,
        };
        if !fits {
            return Err(Error::unsupported(format!("{} is not of a PostgreSQL backup", part.object)));
        }
        // Rows that came out of a script as statements have another spec.
        let Ok(spec) = read::<SqlSpec>(part) else { continue };
        if !request.no_owner || part.object.kind == "policy" {
            wanted.roles.extend(spec.roles);
        }
        wanted.extensions.extend(spec.extension);
        wanted.database = wanted.database.or(spec.database);
    }
    Ok(wanted)
}

impl Wanted {
    /// An error that lists all roles and extensions that the server lacks.
    pub(super) async fn check(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let missing = async |sql: &str, wanted: &BTreeSet<String>| {
            let mut missing = wanted.clone();
            for row in session.rows(ctx, sql, &[]).await? {
                missing.remove(column::<&str>(&row, "name")?);
            }
            let names: Vec<String> = missing.iter().map(|name| name.escape_debug().to_string()).collect();
            Ok::<_, Error>(names.join(", "))
        };
        let roles = missing("SELECT rolname::text AS name FROM pg_catalog.pg_roles", &self.roles).await?;
        let extensions =
            missing("SELECT name::text AS name FROM pg_catalog.pg_available_extensions", &self.extensions)
                .await?;
        let mut lacks = Vec::new();
        if !roles.is_empty() {
            lacks.push(format!("the roles {roles}"));
        }
        if !extensions.is_empty() {
            lacks.push(format!("the extensions {extensions}"));
        }
        if lacks.is_empty() {
            return Ok(());
        }
        let hint = if roles.is_empty() {
            "install the extensions' packages on the server"
        } else {
            "create the roles, or restore without owners and privileges (--no-owner)"
        };
        Err(Error::new(ErrorKind::NotFound, format!("the server lacks {}", lacks.join(" and "))).hint(hint))
    }
}

/// What makes a database other than a new one: anything but what every new one has.
pub(super) async fn is_empty(ctx: &Ctx, session: &Session) -> Result<bool> {
    let ours = "SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace IN ({ours}) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace IN ({ours}) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace IN ({ours}) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oprnamespace IN ({ours}) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_extension WHERE oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
             OR EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper WHERE oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_publication) AS full"
    );
    let rows = session.rows(ctx, &sql, &[]).await?;
    Ok(!rows.first().map(|row| column::<bool>(row, "full")).transpose()?.unwrap_or(true))
}

/// How a database was created.
pub(super) async fn database(ctx: &Ctx, session: &Session) -> Result<DatabaseSpec> {
    let sql = crate::catalog::database_sql(session.version);
    let rows = session.rows(ctx, &sql, &[]).await?;
    let row = rows.first().ok_or_else(|| Error::internal("a session has no database"))?;
    Ok(DatabaseSpec {
        encoding: column(row, "encoding")?,
        collate: column(row, "collate")?,
        ctype: column(row, "ctype")?,
        provider: column(row, "provider")?,
        locale: column(row, "locale")?,
    })
}

/// Refuses to replace a database that others hold on to.
pub(super) async fn refuse_held(ctx: &Ctx, session: &Session, database: &str) -> Result<()> {
    let sql = "SELECT 'replication slot ' || slot_name::text AS what FROM pg_catalog.pg_replication_slots WHERE database = $1
               UNION ALL SELECT 'a subscription' FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
               UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1
               UNION ALL SELECT 'it is a template' FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate";
    let rows = session.rows(ctx, sql, &[&database]).await?;
    let held: Vec<String> = rows
        .iter()
        .map(|row| column::<&str>(row, "what").map(|what| what.escape_debug().to_string()))
        .collect::<Result<_>>()?;
    if held.is_empty() {
        return Ok(());
    }
    let message = format!("{} cannot be replaced: {}", database.escape_debug(), held.join(", "));
    Err(Error::new(ErrorKind::Locked, message).hint("drop what holds it, and run it again"))
}
