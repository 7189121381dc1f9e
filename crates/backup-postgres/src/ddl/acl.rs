//! Privileges: what an `aclitem[]` says, as GRANT and REVOKE.

use std::collections::BTreeSet;

use backup_core::{Error, Result};

use super::quote::ident;

/// One privilege of a grantee, as `aclitem`'s text has it: `grantee=rw*/grantor`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    /// `None` is PUBLIC.
    grantee: Option<String>,
    /// Each letter, and whether it may be granted on.
    privileges: Vec<(char, bool)>,
    grantor: String,
}

/// What is granted on, and by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granted<'a> {
    /// `TABLE "s"."t"`: what stands behind ON.
    pub(crate) on: &'a str,
    /// The columns in parentheses, if it is about a column.
    pub(crate) column: Option<&'a str>,
    pub(crate) owner: &'a str,
}

/// The statements that turn the privileges `base` into `acl`, in the order in which they stand there.
pub(crate) fn statements(
    granted: Granted<'_>,
    acl: &[String],
    base: &[String],
    roles: &mut BTreeSet<String>,
) -> Result<Vec<String>> {
    let parse = |items: &[String]| items.iter().map(|item| item.parse()).collect::<Result<Vec<Item>>>();
    let (acl, base) = (parse(acl)?, parse(base)?);
    let mut statements = Vec::new();
    for item in base.iter().filter(|item| !acl.contains(item)) {
        let lost = acl.iter().find_map(|left| item.lost_in(left));
        let what = match lost {
            // What a later version gives as well stays.
            Some(lost) => lost.names(false, granted.column)?.join(", "),
            None => granted.column.map_or("ALL".to_owned(), |column| format!("ALL {column}")),
        };
        if !what.is_empty() {
            statements.push(format!("REVOKE {what} ON {} FROM {}", granted.on, item.grantee()));
        }
    }
    for item in acl.iter().filter(|item| !base.contains(item)) {
        roles.extend(item.grantee.clone());
        for with_option in [false, true] {
            let privileges = item.names(with_option, granted.column)?;
            if privileges.is_empty() {
                continue;
            }
            let option = if with_option { " WITH GRANT OPTION" } else { "" };
            let grant =
                format!("GRANT {} ON {} TO {}{option}", privileges.join(", "), granted.on, item.grantee());
            if item.grantor == granted.owner {
                statements.push(grant);
            } else {
                roles.insert(item.grantor.clone());
                statements.push(format!("SET SESSION AUTHORIZATION {}", ident(&item.grantor)));
                statements.push(grant);
                statements.push("RESET SESSION AUTHORIZATION".to_owned());
            }
        }
    }
    Ok(statements)
}

/// Whether an item has the privilege MAINTAIN, which versions before 17 do not know.
pub(crate) fn grants_maintain(item: &str) -> bool {
    item.parse::<Item>().is_ok_and(|item| item.privileges.iter().any(|(letter, _)| *letter == 'm'))
}

/// The statements of default privileges of `owner`: `prefix` is all that comes before GRANT or REVOKE, `on` is `TABLES`.
pub(crate) fn default_statements(
    prefix: &str,
    on: &str,
    owner: &str,
    acl: &[String],
    base: &[String],
    roles: &mut BTreeSet<String>,
) -> Result<Vec<String>> {
    let statements = statements(Granted { on, column: None, owner }, acl, base, roles)?;
    Ok(statements.into_iter().map(|statement| format!("{prefix} {statement}")).collect())
}

impl Item {
    fn grantee(&self) -> String {
        self.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident)
    }

    /// What the same grantee has no more in `left`, if that is of the same grantor, and no privilege is only less than it was.
    fn lost_in(&self, left: &Self) -> Option<Self> {
        if left.grantee != self.grantee || left.grantor != self.grantor {
            return None;
        }
        let (mut lost, has) =
            (self.clone(), |letter: char| left.privileges.iter().find(|(of, _)| *of == letter));
        if self
            .privileges
            .iter()
            .any(|(letter, option)| *option && has(*letter).is_none_or(|(_, left)| !left))
        {
            return None;
        }
        lost.privileges.retain(|(letter, _)| has(*letter).is_none());
        Some(lost)
    }

    fn names(&self, with_option: bool, column: Option<&str>) -> Result<Vec<String>> {
        let column = column.map_or(String::new(), |column| format!(" {column}"));
        let these = self.privileges.iter().filter(|(_, option)| *option == with_option);
        these
            .map(|(letter, _)| {
                let name = privilege(*letter).ok_or_else(|| {
                    Error::unsupported(format!("there is an unknown privilege {letter:?}"))
                        .hint("this version of PostgreSQL is newer than lifeboat")
                })?;
                Ok(format!("{name}{column}"))
            })
            .collect()
    }
}

fn privilege(letter: char) -> Option<&'static str> {
    Some(match letter {
        'r' => "SELECT",
        'a' => "INSERT",
        'w' => "UPDATE",
        'd' => "DELETE",
        'D' => "TRUNCATE",
        'x' => "REFERENCES",
        't' => "TRIGGER",
        'X' => "EXECUTE",
        'U' => "USAGE",
        'C' => "CREATE",
        'c' => "CONNECT",
        'T' => "TEMPORARY",
        's' => "SET",
        'A' => "ALTER SYSTEM",
        'm' => "MAINTAIN",
        _ => return None,
    })
}

impl std::str::FromStr for Item {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::internal(format!("an aclitem is not understood: {}", text.escape_debug()));
        let (grantee, rest) = role(text).ok_or_else(malformed)?;
        let rest = rest.strip_prefix('=').ok_or_else(malformed)?;
        let (letters, rest) = rest.split_once('/').ok_or_else(malformed)?;
        let (grantor, rest) = role(rest).ok_or_else(malformed)?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let mut privileges: Vec<(char, bool)> = Vec::new();
        for letter in letters.chars() {
            match letter {
                '*' => privileges.last_mut().ok_or_else(malformed)?.1 = true,
                letter => privileges.push((letter, false)),
            }
        }
        Ok(Self { grantee: Some(grantee).filter(|name| !name.is_empty()), privileges, grantor })
    }
}

/// A role at the front of `text`, in quotes if it is more than letters and digits, and what follows.
fn role(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            '=' | '/' if !quoted => return Some((name, text.get(at..)?)),
            c => name.push(c),
        }
    }
    (!quoted).then_some((name, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(acl: &[&str], base: &[&str]) -> Vec<String> {
        let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let granted = Granted { on: "TABLE \"t\"", column: None, owner: "me" };
        statements(granted, &texts(acl), &texts(base), &mut BTreeSet::new()).unwrap()
    }

    #[test]
    fn what_is_more_is_granted_and_what_is_less_is_revoked() {
        let base = ["me=arwdDxt/me"];
        assert!(said(&base, &base).is_empty());
        assert_eq!(
            said(&["me=arwdDxt/me", "=r/me", "bob=r*w/me"], &base),
            [
                "GRANT SELECT ON TABLE \"t\" TO PUBLIC",
                "GRANT UPDATE ON TABLE \"t\" TO \"bob\"",
                "GRANT SELECT ON TABLE \"t\" TO \"bob\" WITH GRANT OPTION",
            ]
        );
        assert_eq!(
            said(&["me=r/me"], &base),
            [
                "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON TABLE \"t\" FROM \"me\"",
                "GRANT SELECT ON TABLE \"t\" TO \"me\""
            ]
        );
        assert_eq!(said(&[], &base), ["REVOKE ALL ON TABLE \"t\" FROM \"me\""]);
        let option = ["REVOKE ALL ON TABLE \"t\" FROM \"eve\"", "GRANT SELECT ON TABLE \"t\" TO \"eve\""];
        assert_eq!(said(&["eve=r/me"], &["eve=r*/me"]), option);
        assert_eq!(
            said(&["eve=r*/me"], &["eve=r/me"]),
            ["GRANT SELECT ON TABLE \"t\" TO \"eve\" WITH GRANT OPTION"]
        );
        assert_eq!(said(&["eve=r/bob"], &[])[0], "SET SESSION AUTHORIZATION \"bob\"");
    }

    proptest! {
        #[test]
        fn role_names_come_out_of_their_quotes(grantee in "\\PC+", grantor in "[a-z]+|\\PC+") {
            let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let item: Item = format!("{}=r*w/{}", quote(&grantee), quote(&grantor)).parse().unwrap();
            prop_assert_eq!(item, Item {
                grantee: Some(grantee), privileges: vec![('r', true), ('w', false)], grantor,
            });
        }
    }
}
