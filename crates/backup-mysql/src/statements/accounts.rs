//! The statements that make an account, as the server prints them: passwords as it stores them.

use backup_core::{Ctx, Result};

use crate::catalog::Reading;
use crate::catalog::accounts::{self, Account};
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
            let why = if accounts::read(ctx, connection).await?.contains(account) {
                "is in mysql.user, and the server does not use it (one by the name of a host, where skip_name_resolve is on?): it"
            } else {
                "was dropped during the backup, and"
            };
            ctx.warn(format!("account {} {why} is not in the backup", account.name().escape_debug()));
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
            grants.push(without_password(&grant));
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

/// A grant of MariaDB's without the password, which that says too: given once more, one that has expired would be a new one.
fn without_password(grant: &str) -> String {
    let (mut without, mut is_password) = (String::new(), false);
    for token in tokens(grant) {
        is_password = token.is("IDENTIFIED") || is_password && !token.is("REQUIRE") && !token.is("WITH");
        if !is_password {
            without.push_str(token.as_str());
        }
    }
    without.trim_end().to_owned()
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

    #[test]
    fn passwords_are_taken_out_of_grants() {
        for (grant, without) in [
            (
                "GRANT USAGE ON *.* TO `IDENTIFIED`@`%` IDENTIFIED BY PASSWORD '*0 WITH' WITH GRANT OPTION",
                "GRANT USAGE ON *.* TO `IDENTIFIED`@`%` WITH GRANT OPTION",
            ),
            (
                "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED VIA ed25519 USING 'x' OR unix_socket REQUIRE SSL WITH MAX_USER_CONNECTIONS 3",
                "GRANT USAGE ON *.* TO `a`@`%` REQUIRE SSL WITH MAX_USER_CONNECTIONS 3",
            ),
            ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*0'", "GRANT USAGE ON *.* TO `a`@`%`"),
            ("GRANT SELECT ON `IDENTIFIED`.* TO `a`@`%`", "GRANT SELECT ON `IDENTIFIED`.* TO `a`@`%`"),
        ] {
            assert_eq!(without_password(grant), without);
        }
    }
}
