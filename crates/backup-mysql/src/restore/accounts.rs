//! Accounts and roles: what the server has of them stays as it is, and what a restore made that comes to nothing is dropped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use backup_core::{Content, Ctx, Error, ErrorKind, Part, RestoreRequest, Result};

use super::session::Session;
use crate::catalog::accounts::{self, Account};
use crate::catalog::spec::{SqlSpec, spec};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::lex::{Token, tokens};
use crate::error::code;

/// ER_PLUGIN_IS_NOT_LOADED: the account logs in by one.
const NO_PLUGIN: u16 = 1524;

/// What the server had, what was made, and what is to be granted in the end.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    there: BTreeSet<Account>,
    made: Mutex<BTreeSet<Account>>,
    grants: Mutex<Vec<(Account, Vec<u8>)>>,
}

impl Accounts {
    /// Looks what the server has, if the backup brings accounts.
    pub(super) async fn look(
        ctx: &Ctx,
        connection: &mut Connection,
        request: &RestoreRequest,
        parts: &[Part],
    ) -> Result<Self> {
        if !parts.iter().any(|part| matches!(spec(part), Ok(SqlSpec::Account { .. }))) {
            return Ok(Self::default());
        }
        if request.partial || request.content == Content::DataOnly {
            return Err(Error::unsupported("accounts and roles come with a whole database")
                .hint("leave out --globals, or restore all of the backup"));
        }
        if let Some(source) = &request.source
            && source.product != connection.version.product()
        {
            let (of, here) = (&source.product, connection.version.product());
            return Err(Error::unsupported(format!("accounts of {of} are no accounts of {here}"))
                .hint("leave out --globals, and create the accounts there"));
        }
        let there = accounts::read(ctx, connection).await?.into_iter().collect();
        Ok(Self { there, ..Self::default() })
    }

    /// Makes one, unless it is there.
    pub(super) async fn make(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        part: &Part,
        account: &Account,
        sql: &[u8],
    ) -> Result<()> {
        if self.there.contains(account) {
            ctx.warn(format!("{} is there already, and stays as it is", part.object));
            return Ok(());
        }
        session.plain(ctx).await?;
        match session.connection.execute_secret(ctx, sql).await {
            // All else that is restored does not hang on it.
            Err(error) if code(&error) == Some(NO_PLUGIN) || error.kind() == ErrorKind::Unsupported => {
                ctx.warn(format!("{} is left out, and what was granted to it: {error}", part.object));
                return Ok(());
            }
            done => done?,
        };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone());
        Ok(())
    }

    /// Remembers what is to be granted when everything is there that it is about.
    pub(super) fn grant_later(&self, account: &Account, sql: Vec<u8>) {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner).push((account.clone(), sql));
    }

    /// Grants what was made what it had. What is not on this server cannot be granted.
    pub(super) async fn grant(&self, ctx: &Ctx, session: &mut Session) -> Result<()> {
        let mut grants = std::mem::take(&mut *self.grants.lock().unwrap_or_else(PoisonError::into_inner));
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        grants.retain(|(account, _)| made.contains(account));
        if grants.is_empty() {
            return Ok(());
        }
        session.plain(ctx).await?;
        let mut left_out = BTreeSet::new();
        for (account, sql) in grants {
            let name = account.name();
            let failed = |error: Error| error.during(format!("grant {} what it had", name.escape_debug()));
            let Err(error) = session.connection.execute_secret(ctx, &sql).await else { continue };
            // What is revoked must be.
            let is_grant = sql.starts_with(b"GRANT");
            if is_grant && lacks(&error) {
                left_out.insert(format!("{} ({error})", name.escape_debug()));
                continue;
            }
            if !is_grant || error.kind() != ErrorKind::Unsupported {
                return Err(failed(error));
            }
            for (privilege, sql) in one_by_one(&String::from_utf8_lossy(&sql)) {
                match session.connection.execute_secret(ctx, sql.as_bytes()).await {
                    Err(error) if error.kind() == ErrorKind::Unsupported || lacks(&error) => {
                        left_out.insert(format!("{} ({privilege})", name.escape_debug()));
                    }
                    done => drop(done.map_err(failed)?),
                }
            }
        }
        if !left_out.is_empty() {
            let left_out: Vec<_> = left_out.into_iter().collect();
            ctx.warn(format!("privileges on what this server lacks are left out: {}", left_out.join("; ")));
        }
        Ok(())
    }

    /// Drops what was made.
    pub(super) async fn take_back(&self, config: &Config) -> Result<()> {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        if made.is_empty() {
            return Ok(());
        }
        // Not in the context of the restore, which may be cancelled.
        let ctx = Ctx::new();
        let mut connection = Connection::open(&ctx, config, false).await?;
        for account in made {
            let sql = format!("DROP {} IF EXISTS {}", account.word(), account.quoted());
            connection.execute(&ctx, &sql).await?;
        }
        connection.close().await;
        Ok(())
    }
}

/// Whether a database, a table, a column or a routine is not there.
fn lacks(error: &Error) -> bool {
    matches!(code(error), Some(1049 | 1054 | 1146 | 1305))
}

/// What a statement grants, each by itself: another version may not know one of them.
fn one_by_one(grant: &str) -> Vec<(String, String)> {
    let (mut depth, mut privileges, mut rest) = (0usize, vec![String::new()], String::new());
    for token in tokens(grant).skip_while(|token| !token.is("GRANT")).skip(1) {
        match token {
            _ if !rest.is_empty() => {}
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.saturating_sub(1),
            Token::Other(",") if depth == 0 => {
                privileges.push(String::new());
                continue;
            }
            Token::Word(_) if depth == 0 && (token.is("ON") || token.is("TO")) => {
                rest.push_str(token.as_str());
                continue;
            }
            _ => {}
        }
        let part = if rest.is_empty() { privileges.last_mut() } else { Some(&mut rest) };
        part.into_iter().for_each(|part| part.push_str(token.as_str()));
    }
    let of = |privilege: String| {
        let privilege = privilege.trim().to_owned();
        let statement = format!("GRANT {privilege} {rest}");
        (privilege, statement)
    };
    privileges.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_granted_one_by_one() {
        let grants = one_by_one(
            "GRANT SELECT (`a, b`, `ON`), SHOW CREATE ROUTINE ON `TO`.* TO `x`@`%` WITH GRANT OPTION",
        );
        let rest = "ON `TO`.* TO `x`@`%` WITH GRANT OPTION";
        let expected = ["SELECT (`a, b`, `ON`)", "SHOW CREATE ROUTINE"]
            .map(|name| (name.to_owned(), format!("GRANT {name} {rest}")));
        assert_eq!(grants, expected);
        assert_eq!(
            one_by_one("GRANT `r` TO `x`@`%`"),
            [("`r`".to_owned(), "GRANT `r` TO `x`@`%`".to_owned())]
        );
    }
}
