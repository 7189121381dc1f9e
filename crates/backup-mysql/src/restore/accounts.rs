//! Accounts and roles: what the server has of them stays as it is, and what a restore made that comes to nothing is dropped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use backup_core::{Content, Ctx, Error, Part, RestoreRequest, Result};

use super::session::Session;
use crate::catalog::accounts::{self, Account};
use crate::catalog::spec::{SqlSpec, spec};
use crate::config::Config;
use crate::connect::Connection;
use crate::error::code;

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
        session.connection.execute_secret(ctx, sql).await?;
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
            match session.connection.execute_secret(ctx, &sql).await {
                // A database, table, column or routine that is not there. What is revoked must be.
                Err(error)
                    if sql.starts_with(b"GRANT")
                        && matches!(code(&error), Some(1049 | 1054 | 1146 | 1305)) =>
                {
                    left_out.insert(format!("{} ({error})", account.name().escape_debug()));
                }
                done => {
                    done.map_err(|error| {
                        error.during(format!("grant {} what it had", account.name().escape_debug()))
                    })?;
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
