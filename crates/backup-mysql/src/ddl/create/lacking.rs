//! Tables without what a server lacks.

use super::{CreateTable, Item};
use crate::ddl::lex::{Token, tokens, words};
use crate::ddl::view::is_counted;

/// A sequence that a default counts by, and its database, if that is said.
type Counted = (Option<String>, String);

impl<'a> CreateTable<'a> {
    /// The statement without the tablespaces that it and its partitions are in, and their names; nothing if none is said.
    pub(crate) fn without_tablespaces(&self) -> Option<(String, Vec<String>)> {
        let all: Vec<_> = tokens(self.tail).collect();
        let (mut said, mut names, mut at) = (String::new(), Vec::new(), 0);
        while let Some(token) = all.get(at) {
            let between = all.iter().skip(at + 1);
            let between =
                between.take_while(|next| matches!(next, Token::Space(_) | Token::Other("="))).count();
            match all.get(at + 1 + between).and_then(|next| next.name()) {
                Some(name) if token.is("TABLESPACE") => {
                    names.push(name);
                    at += between + 2;
                }
                _ => {
                    said.push_str(token.as_str());
                    at += 1;
                }
            }
        }
        let items: Vec<_> = self.items.iter().map(|item| item.sql).collect();
        (!names.is_empty()).then(|| (format!("{}{}{said}", self.head, items.join(",")), names))
    }

    /// The statement without the directories that it and its partitions are in; nothing if none is said.
    pub(crate) fn without_directories(&self) -> Option<String> {
        let all: Vec<_> = tokens(self.tail).collect();
        let (mut said, mut at, mut has_any) = (String::new(), 0, false);
        while let Some(token) = all.get(at) {
            let words = all.get(at..).unwrap_or_default().iter().enumerate();
            let mut words = words.filter(|(_, next)| !matches!(next, Token::Space(_) | Token::Other("=")));
            let (first, second, value) = (words.next(), words.next(), words.next());
            let is_one = first.is_some_and(|(at, word)| at == 0 && (word.is("DATA") || word.is("INDEX")))
                && second.is_some_and(|(_, word)| word.is("DIRECTORY"));
            match value {
                Some((length, Token::Text(_))) if is_one => {
                    has_any = true;
                    at += length + 1;
                }
                _ => {
                    said.push_str(token.as_str());
                    at += 1;
                }
            }
        }
        let items: Vec<_> = self.items.iter().map(|item| item.sql).collect();
        has_any.then(|| format!("{}{}{said}", self.head, items.join(",")))
    }

    /// The tablespaces that it and its partitions are in.
    pub(crate) fn tablespaces(&self) -> Vec<String> {
        self.without_tablespaces().map_or_else(Vec::new, |(_, names)| names)
    }

    /// The columns whose defaults count by sequences, in quotes, and which.
    pub(crate) fn counting_columns(&self) -> Vec<(&'a str, Vec<Counted>)> {
        let columns = self.items.iter().filter_map(|item| Some((item.column()?, counted_by(item))));
        columns.filter(|(_, counted)| !counted.is_empty()).collect()
    }

    /// The statement without the defaults of these columns.
    pub(crate) fn without_defaults(&self, columns: &[&str]) -> String {
        let items = self.items.iter().map(|item| match item.column() {
            Some(column) if columns.contains(&column) => without_default(item),
            _ => item.sql.to_owned(),
        });
        format!("{}{}{}", self.head, items.collect::<Vec<_>>().join(","), self.tail)
    }
}

fn counted_by(item: &Item<'_>) -> Vec<Counted> {
    let all: Vec<_> = words(item.sql).collect();
    let named = |at: usize| all.get(at).and_then(|token| token.name());
    let counted = (0..all.len()).filter(|at| is_counted(&all, *at));
    let counted = counted.filter_map(|at| match all.get(at + 1) {
        Some(Token::Other(".")) => Some((named(at), named(at + 2)?)),
        _ => Some((None, named(at)?)),
    });
    counted.collect()
}

/// A column without its default, which is a call or in parentheses.
fn without_default(item: &Item<'_>) -> String {
    let Some((from, _)) = item.words().into_iter().find(|(_, word)| word.is("DEFAULT")) else {
        return item.sql.to_owned();
    };
    let mut depth = 0usize;
    let behind = tokens(item.sql).enumerate().skip(from).find(|(_, token)| {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Other(")")
    });
    behind.map_or_else(|| item.sql.to_owned(), |(to, _)| item.without(from..=to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablespaces_are_left_out() {
        let sql = "CREATE TABLE `a` (\n  `tablespace` int COMMENT 'TABLESPACE `x`'\n) /*!50100 TABLESPACE `m``s` */ ENGINE=InnoDB COMMENT='TABLESPACE `x`'\n/*!50100 PARTITION BY HASH (`a`)\n(PARTITION p0 TABLESPACE = `innodb_system` ENGINE = InnoDB) */";
        let (said, names) = CreateTable::parse(sql).unwrap().without_tablespaces().unwrap();
        assert_eq!(names, ["m`s", "innodb_system"]);
        assert_eq!(
            said,
            "CREATE TABLE `a` (\n  `tablespace` int COMMENT 'TABLESPACE `x`'\n) /*!50100  */ ENGINE=InnoDB COMMENT='TABLESPACE `x`'\n/*!50100 PARTITION BY HASH (`a`)\n(PARTITION p0  ENGINE = InnoDB) */"
        );
        assert!(
            CreateTable::parse("CREATE TABLE `a` (`b` int) ENGINE=InnoDB")
                .unwrap()
                .without_tablespaces()
                .is_none()
        );
    }

    #[test]
    fn directories_are_left_out() {
        let sql = "CREATE TABLE `a` (\n  `b` int COMMENT 'DATA DIRECTORY=''x'\n) ENGINE=InnoDB DATA DIRECTORY='/it''s/' COMMENT='DATA DIRECTORY'\n/*!50100 PARTITION BY HASH (`b`)\n(PARTITION p0 DATA DIRECTORY = '/x/' INDEX DIRECTORY = '/y/' ENGINE = InnoDB) */";
        assert_eq!(
            CreateTable::parse(sql).unwrap().without_directories().unwrap(),
            "CREATE TABLE `a` (\n  `b` int COMMENT 'DATA DIRECTORY=''x'\n) ENGINE=InnoDB  COMMENT='DATA DIRECTORY'\n/*!50100 PARTITION BY HASH (`b`)\n(PARTITION p0   ENGINE = InnoDB) */"
        );
        let plain = CreateTable::parse("CREATE TABLE `a` (`b` int) ENGINE=InnoDB").unwrap();
        assert!(plain.without_directories().is_none());
    }

    #[test]
    fn defaults_that_count_are_left_out() {
        let sql = "CREATE TABLE `t` (`a` int DEFAULT nextval(`s`) COMMENT 'c)',`b` int DEFAULT (nextval(`o`.`s`) + 1),`c` int DEFAULT nextval(`kept`),`d` int DEFAULT 7) ENGINE=InnoDB";
        let table = CreateTable::parse(sql).unwrap();
        let of = |database: Option<&str>, name: &str| vec![(database.map(str::to_owned), name.to_owned())];
        assert_eq!(
            table.counting_columns(),
            [("`a`", of(None, "s")), ("`b`", of(Some("o"), "s")), ("`c`", of(None, "kept"))]
        );
        assert_eq!(
            table.without_defaults(&["`a`", "`b`"]),
            "CREATE TABLE `t` (`a` int  COMMENT 'c)',`b` int ,`c` int DEFAULT nextval(`kept`),`d` int DEFAULT 7) ENGINE=InnoDB"
        );
    }
}
