//! Whether the account sees all that there is. A server says nothing of a table, routine, event or trigger that the account has no privilege
//! for: what is not seen would be left out silently.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Result};

use super::Reading;
use crate::connect::{Connection, Row};
use crate::ddl::lex::{Token, words};
use crate::ddl::quote::text;
use crate::error::code;

/// Any of them shows all routines.
const OF_ROUTINES: [&str; 5] =
    ["SHOW_ROUTINE", "SHOW CREATE ROUTINE", "EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"];
const ALL: &str = "ALL PRIVILEGES";

/// What the account and its roles lack to see all of a database, as a list for people.
pub(crate) async fn missing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
) -> Result<Option<String>> {
    let account = Reading::new(connection.row(ctx, "SELECT CURRENT_USER()").await?).text()?;
    let Some((user, host)) = account.rsplit_once('@') else { return Ok(None) };
    // A server without accounts shows everything to everybody.
    if user.starts_with("skip-grants") || (user.is_empty() && host.is_empty()) {
        return Ok(None);
    }
    let grants = grants(ctx, connection).await?;
    let grants: Vec<_> = grants.iter().filter_map(|grant| Grant::parse(grant)).collect();
    let patterns: Vec<_> = grants.iter().filter_map(|grant| grant.database.as_deref()).collect();
    let is_here = are_like(ctx, connection, database, &patterns).await?;
    let mut is_here = is_here.into_iter();
    let (mut everywhere, mut here, mut revoked) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for Grant { privileges, database, is_revoked } in grants {
        let of = match database {
            None => &mut everywhere,
            Some(_) if !is_here.next().unwrap_or(false) => continue,
            Some(_) if is_revoked => &mut revoked,
            Some(pattern) => here.entry(pattern).or_default(),
        };
        of.extend(privileges);
    }
    // Of several patterns only the closest counts. Which one that is among those with wildcards is not asked: all have to do.
    if here.keys().any(|pattern| !has_wildcard(pattern)) {
        here.retain(|pattern, _| !has_wildcard(pattern));
    }
    let has = |privilege: &str| {
        let has = |of: &BTreeSet<String>| of.contains(privilege) || of.contains(ALL);
        let has_here = !here.is_empty() && here.values().all(has);
        has_here || (has(&everywhere) && !has(&revoked))
    };
    let mut missing: Vec<&str> =
        ["SELECT", "TRIGGER", "EVENT"].into_iter().filter(|privilege| !has(privilege)).collect();
    let sees_routines = OF_ROUTINES.into_iter().any(has)
        || if connection.version.is_mariadb {
            reads_routines(ctx, connection).await?
        } else {
            everywhere.contains("SELECT")
        };
    if !sees_routines {
        missing.push(if connection.version.is_mariadb { "SELECT ON mysql.proc" } else { "SHOW_ROUTINE" });
    }
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// Whether a pattern stands for several names.
fn has_wildcard(pattern: &str) -> bool {
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '%' | '_' => return true,
            _ => {}
        }
    }
    false
}

/// The statements that would grant the account and its roles what they have.
async fn grants(ctx: &Ctx, connection: &mut Connection) -> Result<Vec<String>> {
    let own = connection.rows(ctx, "SHOW GRANTS").await?;
    let own = own.into_iter().map(|row| Reading::new(row).text());
    let mut grants: Vec<_> = own.collect::<Result<_>>()?;
    if connection.version.is_mariadb {
        // MySQL adds what the active roles have by itself; MariaDB what all have.
        grants.retain(|grant| is_of_account(grant));
        for of in ["CURRENT_ROLE", "PUBLIC"] {
            match connection.rows(ctx, &format!("SHOW GRANTS FOR {of}")).await {
                // There is no role, or no such word.
                Err(error) if code(&error).is_some() => {}
                shown => {
                    for row in shown? {
                        grants.push(Reading::new(row).text()?);
                    }
                }
            }
        }
    }
    Ok(grants)
}

/// Whether something is granted to an account, which has a host, and not to a role.
fn is_of_account(grant: &str) -> bool {
    let all: Vec<_> = words(grant).collect();
    all.windows(3).any(|three| matches!(three, [to, Token::Name(_), Token::Other("@")] if to.is("TO")))
}

/// Whether the name of the database is like these patterns.
async fn are_like(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    patterns: &[&str],
) -> Result<Vec<bool>> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let of = text(database);
    let like = |pattern: &&str| format!("{of} LIKE CAST({} AS BINARY)", text(pattern));
    let sql = format!("SELECT {}", patterns.iter().map(like).collect::<Vec<_>>().join(", "));
    let row: Row = connection.row(ctx, &sql).await?;
    Ok(row.into_iter().map(|field| field.as_deref() == Some(b"1")).collect())
}

/// What is granted on all databases, or on those that are called like this; or what of it is taken away again.
#[derive(Debug, PartialEq, Eq)]
struct Grant {
    privileges: BTreeSet<String>,
    database: Option<String>,
    is_revoked: bool,
}

impl Grant {
    /// Nothing if it is of roles, or of something in a database.
    fn parse(sql: &str) -> Option<Self> {
        let mut all = words(sql);
        let is_revoked = all.next()?.is("REVOKE");
        let (mut privileges, mut words, mut depth) = (BTreeSet::new(), Vec::new(), 0usize);
        loop {
            let token = all.next()?;
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ if depth > 0 => words.clear(),
                _ if token.is("ON") || token.is(",") => {
                    if !words.is_empty() {
                        privileges.insert(words.join(" ").to_ascii_uppercase());
                        words.clear();
                    }
                    if token.is("ON") {
                        break;
                    }
                }
                word => words.push(word),
            }
        }
        let database = match (all.next()?, all.next()?, all.next()?) {
            (Token::Other("*"), Token::Other("."), Token::Other("*")) => None,
            (name @ Token::Name(_), Token::Other("."), Token::Other("*")) => Some(name.name()?),
            _ => return None,
        };
        Some(Self { privileges, database, is_revoked })
    }
}

/// Whether the table that MariaDB has its routines in may be read.
async fn reads_routines(ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
    match connection.rows(ctx, "SELECT body FROM mysql.proc LIMIT 0").await {
        Ok(_) => Ok(true),
        Err(error) if matches!(code(&error), Some(1044 | 1142 | 1143 | 1146)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_of_all_databases_or_of_some_by_their_names() {
        let parse = |sql: &str| {
            let grant = Grant::parse(sql)?;
            Some((Vec::from_iter(grant.privileges), grant.database, grant.is_revoked))
        };
        let all = |privileges: &[&str], database: Option<&str>, is_revoked| {
            let privileges = privileges.iter().map(|privilege| (*privilege).to_owned()).collect();
            Some((privileges, database.map(str::to_owned), is_revoked))
        };
        assert_eq!(
            parse("GRANT SELECT, SHOW VIEW ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*1'"),
            all(&["SELECT", "SHOW VIEW"], None, false)
        );
        assert_eq!(
            parse("GRANT ALL PRIVILEGES ON `ON``e\\_%`.* TO `a`@`%`"),
            all(&[ALL], Some("ON`e\\_%"), false)
        );
        assert_eq!(parse("REVOKE SELECT ON `shop`.* FROM `a`@`%`"), all(&["SELECT"], Some("shop"), true));
        assert_eq!(parse("GRANT SELECT ON `shop`.`t` TO `a`@`%`"), None);
        assert_eq!(parse("GRANT SELECT (`ON`), INSERT ON `shop`.`t` TO `a`@`%`"), None);
        assert_eq!(parse("GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `a`@`%`"), None);
        assert_eq!(parse("GRANT `role`@`%`,`ON`@`%` TO `a`@`%`"), None);
        assert!(has_wildcard("shop_eu") && has_wildcard("sho%") && !has_wildcard("shop\\_eu"));
        assert!(is_of_account("GRANT SELECT ON `TO`.* TO `a`@`%`"));
        assert!(!is_of_account("GRANT SELECT ON `a`.* TO `a@b`"));
        assert_eq!(parse("GRANT PROXY ON ''@'%' TO 'root'@'localhost'"), None);
    }
}
