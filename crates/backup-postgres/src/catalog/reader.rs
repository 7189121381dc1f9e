//! Asks the catalogs, in the one snapshot.

use backup_core::{Ctx, Result};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::connect::{Session, column};

/// Schemas that are not the system's: as a condition on `n`, the row of `pg_namespace`.
pub(super) const OURS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// The name of a collation, in SQL of all versions: the type for that is of version 13.
pub(super) fn collation(oid: &str) -> String {
    format!(
        "(SELECT pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname)
          FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = {oid})"
    )
}

/// A text that all databases of a server share, such as the name of a role, in SQL, as bytes: a database of another encoding may have put
/// something there that is no UTF-8, which the server would not say as text.
pub(crate) fn shared(text: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.getdatabaseencoding() IN ('UTF8', 'SQL_ASCII')
              THEN pg_catalog.replace(({text})::text, '\\', '\\\\')::bytea ELSE pg_catalog.convert_to(({text})::text, 'UTF8') END"
    )
}

/// Such a text; if it is none, what it is for people.
pub(crate) fn utf8(bytes: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| bytes.escape_ascii().to_string())
}

/// The session that reads the catalogs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) session: &'a Session,
    pub(super) version: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(ctx: &'a Ctx, session: &'a Session) -> Self {
        Self { ctx, session, version: session.version }
    }
}

impl Reader<'_> {
    /// The rows of a query.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Fields>> {
        let rows = self.session.rows(self.ctx, sql, &[]).await;
        let rows = rows.map_err(|error| {
            let from = sql.split_once("FROM pg_catalog.").map_or("", |(_, from)| from);
            let catalog: String = from.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            error.during(format!("read {catalog}"))
        })?;
        Ok(rows.into_iter().map(Fields).collect())
    }

    /// Lets go of the locks that the server's functions have taken since the session's savepoint.
    pub(super) async fn release(&self) -> Result<()> {
        self.session.execute(self.ctx, crate::backup::RELEASE).await
    }

    /// Text for versions that know it, other text for older ones.
    pub(super) fn since(&self, version: u32, then: &'static str, before: &'static str) -> &'static str {
        if self.version >= version * 10_000 { then } else { before }
    }
}

/// A row of a catalog.
pub(super) struct Fields(Row);

impl Fields {
    pub(super) fn get<'a, T: FromSql<'a>>(&'a self, name: &str) -> Result<T> {
        column(&self.0, name)
    }

    pub(super) fn text(&self, name: &str) -> Result<&str> {
        self.get(name)
    }

    pub(super) fn maybe(&self, name: &str) -> Result<Option<&str>> {
        self.get(name)
    }

    /// What [`shared`] has made of a text.
    pub(super) fn shared(&self, name: &str) -> Result<std::result::Result<&str, String>> {
        Ok(utf8(self.get(name)?))
    }

    /// The same of a text that may be NULL. One that is no UTF-8 is left out with a warning that says `what` it is.
    pub(super) fn maybe_shared(&self, ctx: &Ctx, name: &str, what: &str) -> Result<Option<&str>> {
        let Some(bytes) = self.get::<Option<&[u8]>>(name)? else { return Ok(None) };
        Ok(utf8(bytes).map_err(|text| ctx.warn(format!("{what} is left out: it is no UTF-8: {text}"))).ok())
    }

    pub(super) fn oid(&self, name: &str) -> Result<u32> {
        self.get(name)
    }

    pub(super) fn is(&self, name: &str) -> Result<bool> {
        self.get(name)
    }

    /// A list of texts; empty where the catalog has NULL.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.get::<Option<Vec<String>>>(name)?.unwrap_or_default())
    }
}
