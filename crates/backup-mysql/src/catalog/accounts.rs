//! The accounts and roles of a server, which lie outside its databases: in a backup only where that was asked for.

use backup_core::{Ctx, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::Reading;
use crate::connect::Connection;
use crate::ddl::quote::identifier;
use crate::error::code;

/// An account, or, without a host, a role of MariaDB's. MySQL's roles are accounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Account {
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
}

impl Account {
    /// As a statement names it.
    pub(crate) fn quoted(&self) -> String {
        match &self.host {
            Some(host) => format!("{}@{}", identifier(&self.user), identifier(host)),
            None => identifier(&self.user),
        }
    }

    /// As definers are named.
    pub(crate) fn name(&self) -> String {
        self.host.as_ref().map_or_else(|| self.user.clone(), |host| format!("{}@{host}", self.user))
    }

    /// What SQL calls such a thing.
    pub(crate) fn word(&self) -> &'static str {
        if self.host.is_some() { "USER" } else { "ROLE" }
    }

    /// Those that a server makes for itself.
    fn is_the_servers(&self) -> bool {
        match self.host.as_deref() {
            Some("localhost") => ["mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"]
                .contains(&self.user.as_str()),
            Some(_) => false,
            None => self.user == "PUBLIC",
        }
    }
}

/// All of them but the server's own.
pub(crate) async fn read(ctx: &Ctx, connection: &mut Connection) -> Result<Vec<Account>> {
    let is_role = if connection.version.is_mariadb { "is_role = 'Y'" } else { "FALSE" };
    let sql = format!("SELECT User, Host, {is_role} FROM mysql.user ORDER BY CAST(User AS BINARY), Host");
    let rows = match connection.rows(ctx, &sql).await {
        Err(error) if matches!(code(&error), Some(1044 | 1142 | 1143 | 1227)) => {
            let message = "the account may not read the server's accounts";
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .hint("docs/mysql.md has the privileges that are needed, as a script")
                .because(error));
        }
        rows => rows?,
    };
    let mut accounts = Vec::new();
    for row in rows {
        let mut row = Reading::new(row);
        let (user, host) = (row.text()?, row.text()?);
        let account = Account { user, host: (row.number()? == 0).then_some(host) };
        accounts.extend((!account.is_the_servers()).then_some(account));
    }
    Ok(accounts)
}
