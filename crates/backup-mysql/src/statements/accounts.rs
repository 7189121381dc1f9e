//! The statements that make an account, as the server prints them: passwords as it stores them.

use backup_core::{Ctx, Result};

use crate::catalog::Reading;
use crate::catalog::accounts::Account;
use crate::connect::Connection;
use crate::ddl::lex::{Token, tokens, words};
use crate::error::code;

/// ER_PASSWORD_NO_MATCH of MariaDB, ER_CANNOT_USER of MySQL.
const NO_SUCH_USER: [u16; 2] = [1133, 1396];
/// ER_NONEXISTING_GRANT.
const NO_SUCH_GRANT: u16 = 1141;

/// The statement that makes it. The roles that it has by default come with its grants: they may be made later.
pub(super) async fn create(ctx: &Ctx, connection: &mut Connection, account: &Account) -> Result<Vec<String>> {
    let quoted = account.quoted();
    if account.host.is_none() {
        return Ok(vec![format!("CREATE ROLE {quoted}")]);
    }
    match show(ctx, connection, &quoted).await {
        // Accounts are not of the snapshot.
        Err(error) if code(&error).is_some_and(|code| NO_SUCH_USER.contains(&code)) => {
            let name = account.name();
            ctx.warn(format!(
                "account {} was dropped during the backup, and is not in it",
                name.escape_debug()
            ));
            Ok(Vec::new())
        }
        shown => Ok(vec![without_default_roles(&shown?).0]),
    }
}

async fn show(ctx: &Ctx, connection: &mut Connection, quoted: &str) -> Result<String> {
    if !connection.version.is_mariadb && connection.version.number >= (8, 0, 17) {
        // A hash need not be text.
        connection.execute(ctx, "SET SESSION print_identified_with_as_hex = ON").await?;
    }
    Reading::new(connection.row(ctx, &format!("SHOW CREATE USER {quoted}")).await?).text()
}

/// The statements that grant it what it has.
pub(super) async fn grants(ctx: &Ctx, connection: &mut Connection, account: &Account) -> Result<Vec<String>> {
    let quoted = account.quoted();
    let mut grants = Vec::new();
    let shown = match connection.rows(ctx, &format!("SHOW GRANTS FOR {quoted}")).await {
        // It was dropped meanwhile.
        Err(error) if code(&error) == Some(NO_SUCH_GRANT) => return Ok(grants),
        shown => shown?,
    };
    for row in shown {
        let grant = Reading::new(row).text()?;
        // Of a role what its own roles have is said too.
        if account.host.is_some() || grantee(&grant).as_ref() == Some(&account.user) {
            grants.push(grant);
        }
    }
    if !connection.version.is_mariadb
        && !grants.is_empty()
        && let Some(roles) = without_default_roles(&show(ctx, connection, &quoted).await?).1
    {
        grants.push(format!("ALTER USER {quoted} DEFAULT ROLE {roles}"));
    }
    Ok(grants)
}

/// To whom a statement grants something: the last name behind a TO.
fn grantee(grant: &str) -> Option<String> {
    let all: Vec<_> = words(grant).collect();
    let to = all.windows(2).rposition(|pair| matches!(pair, [to, Token::Name(_)] if to.is("TO")))?;
    all.get(to + 1)?.name()
}

/// A CREATE USER without its DEFAULT ROLE, and what that says.
fn without_default_roles(create: &str) -> (String, Option<String>) {
    let all: Vec<_> = tokens(create).collect();
    let is_start = |five: &[Token<'_>]| matches!(five, [_, a, _, b, _] if a.is("DEFAULT") && b.is("ROLE"));
    let Some(start) = all.windows(5).position(is_start) else { return (create.to_owned(), None) };
    let behind = all.iter().skip(start + 5);
    let length = behind.take_while(|token| !matches!(token, Token::Space(_))).count();
    let text =
        |part: &mut dyn Iterator<Item = &Token<'_>>| part.map(|token| token.as_str()).collect::<String>();
    let without = text(&mut all.iter().take(start).chain(all.iter().skip(start + 5 + length)));
    (without, Some(text(&mut all.iter().skip(start + 5).take(length))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_by_default_are_taken_out() {
        let create = "CREATE USER `a DEFAULT ROLE b`@`%` IDENTIFIED WITH 'x' AS 0x00 DEFAULT ROLE `r r`@`%`,`s`@`%` REQUIRE NONE";
        let (without, roles) = without_default_roles(create);
        assert_eq!(without, "CREATE USER `a DEFAULT ROLE b`@`%` IDENTIFIED WITH 'x' AS 0x00 REQUIRE NONE");
        assert_eq!(roles.as_deref(), Some("`r r`@`%`,`s`@`%`"));
        let none = "CREATE USER `a`@`%` IDENTIFIED BY PASSWORD ' DEFAULT ROLE x '";
        assert_eq!(without_default_roles(none), (none.to_owned(), None));
    }

    #[test]
    fn who_is_granted_something_is_found() {
        assert_eq!(
            grantee("GRANT SELECT (`TO`) ON `a`.`b` TO `r``x`@`%` WITH GRANT OPTION").as_deref(),
            Some("r`x")
        );
        assert_eq!(grantee("GRANT `a` TO `b`").as_deref(), Some("b"));
        assert_eq!(grantee("SET DEFAULT ROLE `a` FOR `b`"), None);
    }
}
