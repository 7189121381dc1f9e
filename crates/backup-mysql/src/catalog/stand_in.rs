//! Invalid views. A server makes no view that reads what is not there; so for the moment in which it is made something stands in for what
//! it reads, and what is really there under that name is put aside.

mod said;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::objects::View;
use crate::ddl::lex::words;
use crate::ddl::quote::identifier;
use crate::ddl::view;
use said::{Named, calls, columns, counts, is_said_as_a_table, is_said_as_a_view};

/// InnoDB has no tables of many more columns.
const MANY: usize = 1000;

/// What a view reads that stands in the way of making it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StandIns {
    tables: Vec<Table>,
    functions: Vec<Function>,
    /// Databases that are not there, with what the view reads of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    databases: Vec<Database>,
    /// Columns have to be texts. Otherwise they are numbers, which are good for more.
    #[serde(default)]
    texts: bool,
    /// The view, if it reads itself: it is made under another name, which no other view may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    itself: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    name: String,
    columns: Vec<String>,
    /// There is something of this name.
    exists: bool,
    /// It is a view: the server remembers the columns of one in another way than those of a table.
    is_view: bool,
    /// It is such a view on a table of its own, since a check wants something that can be updated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    updatable: bool,
    /// It is a sequence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    counts: bool,
    /// What the view names of it beside columns.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    named: Named,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Database {
    name: String,
    tables: Vec<Table>,
    functions: Vec<Function>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Function {
    name: String,
    arguments: usize,
}

/// What there is under a name.
pub(super) enum There<'a> {
    Nothing,
    /// A table with these columns.
    Table(&'a [String]),
    View,
    /// A view that is made behind this one, which it reads in turn.
    LaterView,
    Sequence,
}

impl StandIns {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.functions.is_empty() && self.databases.is_empty()
    }

    /// Those that the definition of `view` needs, every name in it with its database.
    pub(super) fn of<'a>(
        view: &View,
        database: &str,
        there: impl Fn(&str) -> There<'a>,
        has_function: impl Fn(&str) -> bool,
        has_database: impl Fn(&str) -> bool,
    ) -> Self {
        let all: Vec<_> = words(&view.definition).collect();
        let mut stand_ins = Self::default();
        let mut whole = Vec::new();
        for name in view::tables(&view.definition, database) {
            let columns: Vec<_> = columns(&all, database, &name).into_iter().collect();
            let named = Named::of(&all, database, &name);
            let counts = counts(&all, database, &name);
            let (exists, is_view) = match there(&name) {
                // It is not there yet.
                _ if name == view.name => {
                    stand_ins.itself = Some(name.clone());
                    (false, true)
                }
                There::Sequence => continue,
                There::LaterView => (false, is_said_as_a_view(&all, database, &name)),
                There::Table(_) if counts => (true, false),
                There::Nothing if counts => (false, false),
                There::Nothing => (false, is_said_as_a_view(&all, database, &name)),
                There::View => (true, !is_said_as_a_table(&all, database, &name)),
                There::Table(has) => {
                    let has = |column: &String| has.iter().any(|one| one.eq_ignore_ascii_case(column));
                    if columns.iter().all(has) && named.is_empty() {
                        whole.push(Table { exists: true, ..Table::new(name, columns, counts, named) });
                        continue;
                    }
                    (true, false)
                }
            };
            let (is_view, updatable) = (is_view && !view.checked, is_view && view.checked);
            let table = Table::new(name, columns, counts, named);
            stand_ins.tables.push(Table { exists, is_view, updatable, ..table });
        }
        for (name, arguments) in calls(&all, database) {
            if !has_function(&name) && !stand_ins.functions.iter().any(|function| function.name == name) {
                stand_ins.functions.push(Function { name, arguments });
            }
        }
        let view::OfOthers { tables, sequences, functions: called } =
            view::of_others(&view.definition, database);
        let named: BTreeSet<_> =
            tables.iter().chain(&sequences).chain(&called).map(|(database, _)| database).collect();
        for other in named.into_iter().filter(|other| !has_database(other)) {
            let of_it = tables.iter().chain(&sequences).filter(|(database, _)| database == other);
            let tables = of_it.map(|(_, name)| {
                let counts = sequences.contains(&(other.clone(), name.clone()));
                let columns = columns(&all, other, name).into_iter().collect();
                let named = Named::of(&all, other, name);
                Table::new(name.clone(), columns, counts, named)
            });
            let tables = tables.collect();
            let is_called = |name: &String| called.contains(&(other.clone(), name.clone()));
            let functions = calls(&all, other).into_iter().filter(|(name, _)| is_called(name));
            let functions = functions.map(|(name, arguments)| Function { name, arguments }).collect();
            stand_ins.databases.push(Database { name: other.clone(), tables, functions });
        }
        // With all there, it is the type of a column that does not fit any more.
        if stand_ins == Self::default() {
            stand_ins.tables = whole;
        }
        stand_ins.texts = all.iter().any(|token| token.is("collate"));
        stand_ins
    }

    /// The statements before and behind the one that makes the view.
    pub(crate) fn around(&self, view: String) -> Vec<String> {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for database in &self.databases {
            before.extend(self.fill(database));
            behind.push(drop_database(&database.name));
        }
        for (at, table) in self.tables.iter().enumerate() {
            let (name, aside) = (identifier(&table.name), identifier(&format!("lifeboat_aside_{at}")));
            if table.exists {
                before.push(format!("RENAME TABLE {name} TO {aside}"));
            }
            if table.updatable {
                let below = identifier(&format!("lifeboat_below_{at}"));
                before.push(self.create(&below, table));
                before.push(format!("CREATE VIEW {name} AS SELECT * FROM {below}"));
                behind.extend([format!("DROP VIEW {name}"), format!("DROP TABLE {below}")]);
            } else {
                before.push(self.create(&name, table));
                behind.push(format!("DROP {} {name}", table.kind()));
            }
            if table.exists {
                behind.push(format!("RENAME TABLE {aside} TO {name}"));
            }
        }
        for function in &self.functions {
            let name = identifier(&function.name);
            before.push(function.create(&name));
            behind.push(format!("DROP FUNCTION {name}"));
        }
        before.push(self.itself.as_ref().map_or_else(|| view.clone(), |_| view::called(&view, OF_ITSELF)));
        before.extend(behind);
        before.extend(self.itself.as_deref().map(rename_itself));
        before
    }

    /// Whether a statement gives a view that reads itself its name.
    pub(crate) fn names_itself(&self, sql: &[u8]) -> bool {
        self.itself.as_deref().is_some_and(|name| rename_itself(name).as_bytes() == sql)
    }

    fn create(&self, name: &str, table: &Table) -> String {
        if table.counts {
            return format!("CREATE SEQUENCE {name}");
        }
        let column = if table.is_view { "1 AS a" } else { "a INT" };
        let said = |column: &String| match identifier(column) {
            column if table.is_view => format!("1 AS {column}"),
            column if self.texts => format!("{column} TEXT"),
            column => format!("{column} INT"),
        };
        let engine = if table.columns.len() > MANY { " ENGINE=MyISAM" } else { "" };
        let columns: Vec<_> = table.columns.iter().map(said).collect();
        let columns = if columns.is_empty() { column.to_owned() } else { columns.join(", ") };
        if table.is_view {
            format!("CREATE VIEW {name} AS SELECT {columns}")
        } else {
            let versioned = if table.named.versioned { " WITH SYSTEM VERSIONING" } else { "" };
            format!(
                "CREATE TABLE {name} ({columns}{}){engine}{versioned}{}",
                table.named.keys(),
                table.named.partitions()
            )
        }
    }

    /// The database that a statement makes for the moment.
    pub(crate) fn makes(&self, sql: &[u8]) -> Option<&str> {
        self.database(|name| create_database(name).as_bytes() == sql)
    }

    /// The database that a statement drops again.
    pub(crate) fn drops(&self, sql: &[u8]) -> Option<&str> {
        self.database(|name| drop_database(name).as_bytes() == sql)
    }

    /// The database made for the moment that a statement is about.
    pub(crate) fn within(&self, sql: &[u8]) -> Option<&str> {
        let about = |database: &&Database| {
            let mut all = self.fill(database);
            drop_database(&database.name).as_bytes() == sql || all.any(|one| one.as_bytes() == sql)
        };
        self.databases.iter().find(about).map(|database| database.name.as_str())
    }

    /// The statements that make a database, and what is read in it.
    fn fill<'a>(&'a self, database: &'a Database) -> impl Iterator<Item = String> + 'a {
        let within = |name: &str| format!("{}.{}", identifier(&database.name), identifier(name));
        let tables = database.tables.iter().map(move |table| self.create(&within(&table.name), table));
        let functions =
            database.functions.iter().map(move |function| function.create(&within(&function.name)));
        std::iter::once(create_database(&database.name)).chain(tables).chain(functions)
    }

    fn database(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        self.databases.iter().map(|database| database.name.as_str()).find(|name| is_it(name))
    }
}

/// A view that reads itself, while what it reads stands in for it.
const OF_ITSELF: &str = "lifeboat_view";

fn rename_itself(name: &str) -> String {
    format!("RENAME TABLE {} TO {}", identifier(OF_ITSELF), identifier(name))
}

impl Table {
    /// A table that is not there.
    fn new(name: String, columns: Vec<String>, counts: bool, named: Named) -> Self {
        Self { name, columns, exists: false, is_view: false, updatable: false, counts, named }
    }

    /// As DROP calls it.
    fn kind(&self) -> &'static str {
        match self {
            Self { is_view: true, .. } => "VIEW",
            Self { counts: true, .. } => "SEQUENCE",
            _ => "TABLE",
        }
    }
}

impl Function {
    fn create(&self, name: &str) -> String {
        let arguments: Vec<_> = (0..self.arguments).map(|at| format!("a{at} INT")).collect();
        format!("CREATE FUNCTION {name}({}) RETURNS INT DETERMINISTIC NO SQL RETURN 1", arguments.join(", "))
    }
}

fn create_database(name: &str) -> String {
    format!("CREATE DATABASE {}", identifier(name))
}

/// The statement that drops one that stood in.
pub(crate) fn drop_database(name: &str) -> String {
    format!("DROP DATABASE {}", identifier(name))
}

#[cfg(test)]
mod tests {
    use super::super::context::Context;
    use super::*;

    #[test]
    fn what_is_missing_gets_a_stand_in() {
        let definition = "select `lost`.`l` AS `l`,`q`.`a` AS `q`,`x`.`b` AS `b`,`shop`.`f`(1,(2),`x`.`c`) AS `f`,`shop`.`g`() AS `g` \
             from ((`shop`.`gone` PARTITION (`p0`,`p 1`) `q` USE INDEX FOR GROUP BY (`k 1`) IGNORE INDEX (`PRIMARY`) join (`shop`.`there` `x`)) join `shop`.`whole`) join `shop`.`lost` where `shop`.`whole`.`id` = `far`.`f`(1) and exists(select `y`.`z` from `far`.`u` `y` join `there_too`.`w`) and exists(select `seen`.`s` from `shop`.`seen`)";
        let view = View {
            name: "v".into(),
            definition: definition.into(),
            invalid: true,
            checked: false,
            fixed: false,
            context: Context::default(),
        };
        let (there, whole) = (["b".to_owned()], ["ID".to_owned()]);
        let stand_ins = StandIns::of(
            &view,
            "shop",
            |name| match name {
                "there" => There::Table(&there),
                "seen" => There::View,
                "whole" => There::Table(&whole),
                _ => There::Nothing,
            },
            |name| name == "h",
            |name| name == "there_too",
        );
        assert_eq!(
            stand_ins.around("VIEW".to_owned()),
            [
                "CREATE DATABASE `far`",
                "CREATE TABLE `far`.`u` (`z` INT)",
                "CREATE FUNCTION `far`.`f`(a0 INT) RETURNS INT DETERMINISTIC NO SQL RETURN 1",
                "CREATE TABLE `gone` (`a` INT, lifeboat_own INT, PRIMARY KEY (lifeboat_own), KEY `k 1` (lifeboat_own)) PARTITION BY KEY (lifeboat_own) (PARTITION `p 1`, PARTITION `p0`)",
                "CREATE VIEW `lost` AS SELECT 1 AS `l`",
                "RENAME TABLE `seen` TO `lifeboat_aside_2`",
                "CREATE VIEW `seen` AS SELECT 1 AS `s`",
                "RENAME TABLE `there` TO `lifeboat_aside_3`",
                "CREATE TABLE `there` (`b` INT, `c` INT)",
                "CREATE FUNCTION `f`(a0 INT, a1 INT, a2 INT) RETURNS INT DETERMINISTIC NO SQL RETURN 1",
                "CREATE FUNCTION `g`() RETURNS INT DETERMINISTIC NO SQL RETURN 1",
                "VIEW",
                "DROP DATABASE `far`",
                "DROP TABLE `gone`",
                "DROP VIEW `lost`",
                "DROP VIEW `seen`",
                "RENAME TABLE `lifeboat_aside_2` TO `seen`",
                "DROP TABLE `there`",
                "RENAME TABLE `lifeboat_aside_3` TO `there`",
                "DROP FUNCTION `f`",
                "DROP FUNCTION `g`",
            ]
        );
        assert_eq!(stand_ins.makes(b"CREATE DATABASE `far`"), Some("far"));
        assert_eq!(stand_ins.drops(b"DROP DATABASE `far`"), Some("far"));
        assert_eq!(stand_ins.makes(b"CREATE DATABASE `else`"), None);
        assert_eq!(stand_ins.within(b"CREATE TABLE `far`.`u` (`z` INT)"), Some("far"));
        assert_eq!(stand_ins.within(b"DROP TABLE `gone`"), None);
    }
}
