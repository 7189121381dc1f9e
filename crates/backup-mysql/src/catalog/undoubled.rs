//! Names in foreign keys that have a backquote: MariaDB before 10.11 prints some of them without doubling it.

use backup_core::{Ctx, Result};

use super::Reading;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};

/// The first version of which it is known that it doubles them.
const DOUBLES: (u32, u32, u32) = (10, 11, 0);

const KEY: &[u8] = b" FOREIGN KEY (";

/// A foreign key: its name, its columns, what it refers to as that is printed rightly, and the columns there.
#[derive(Debug, Default)]
struct Key {
    name: String,
    columns: Vec<String>,
    refers_to: String,
    referred: Vec<String>,
}

impl Key {
    /// From its name to the columns that it refers to, where each name is written by `quoted`.
    fn said(&self, quoted: impl Fn(&str) -> String) -> String {
        let all = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let Self { name, columns, refers_to, referred } = self;
        format!(
            "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {refers_to} ({})",
            quoted(name),
            all(columns),
            all(referred)
        )
    }

    /// The statement with this key as it should be.
    fn doubled_in(&self, mut create: Vec<u8>) -> Vec<u8> {
        let printed = self.said(|name| format!("`{name}`")).into_bytes();
        if let Some(at) = create.windows(printed.len()).position(|piece| piece == printed) {
            create.splice(at..at + printed.len(), self.said(identifier).into_bytes());
        }
        create
    }
}

/// What the server printed of a table, with all names as they should be.
pub(super) async fn doubled(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &str,
    create: Vec<u8>,
) -> Result<Vec<u8>> {
    let version = &connection.version;
    if !version.is_mariadb
        || version.number >= DOUBLES
        || !create.windows(KEY.len()).any(|piece| piece == KEY)
    {
        return Ok(create);
    }
    let sql = format!(
        "SELECT CONSTRAINT_NAME, COLUMN_NAME, IF(REFERENCED_TABLE_SCHEMA = TABLE_SCHEMA, NULL, REFERENCED_TABLE_SCHEMA), REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME \
         FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND REFERENCED_TABLE_NAME IS NOT NULL \
         ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
        text(table)
    );
    let mut keys: Vec<Key> = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, column, database, to, referred) =
            (row.text()?, row.text()?, row.maybe()?, row.text()?, row.text()?);
        if keys.last().is_none_or(|key| key.name != name) {
            let database = database.map(|name| identifier(&name) + ".").unwrap_or_default();
            keys.push(Key { name, refers_to: database + &identifier(&to), ..Key::default() });
        }
        if let Some(key) = keys.last_mut() {
            key.columns.push(column);
            key.referred.push(referred);
        }
    }
    Ok(keys.iter().fold(create, |create, key| key.doubled_in(create)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backquotes_in_the_names_of_a_key_are_doubled() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let key = Key {
            name: "k`k".to_owned(),
            columns: names(&["x`y", "z"]),
            refers_to: "`p``q`".to_owned(),
            referred: names(&["a`b", "c"]),
        };
        let printed = b"KEY `k``k` (`x``y`,`z`),\n  CONSTRAINT `k`k` FOREIGN KEY (`x`y`, `z`) REFERENCES `p``q` (`a`b`, `c`) ON DELETE CASCADE\n)";
        let right = b"KEY `k``k` (`x``y`,`z`),\n  CONSTRAINT `k``k` FOREIGN KEY (`x``y`, `z`) REFERENCES `p``q` (`a``b`, `c`) ON DELETE CASCADE\n)";
        assert_eq!(key.doubled_in(printed.to_vec()), right);
        assert_eq!(key.doubled_in(right.to_vec()), right);
    }
}
