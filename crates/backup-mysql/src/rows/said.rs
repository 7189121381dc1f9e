//! Rows that come as statements: out of a script, or because a load would not do. What the server answers to them is looked at as it is to a load.

use backup_core::{Column, Ctx, Result};

use super::load::Target;
use crate::catalog::Reading;
use crate::catalog::column::Kind;
use crate::connect::{Connection, Done};
use crate::ddl::lex::{Token, words};
use crate::ddl::quote::text;

/// Looks at the answer to an INSERT, as [`crate::ddl::value`] writes them; `rows` is how many are in it, if that is not known from elsewhere.
pub(crate) async fn check(
    ctx: &Ctx,
    connection: &mut Connection,
    kinds: &[Kind],
    sql: &[u8],
    done: Done,
    rows: Option<u64>,
) -> Result<()> {
    if done.warnings == 0 && rows.is_none_or(|rows| rows == done.affected) {
        return Ok(());
    }
    let sql = String::from_utf8_lossy(sql);
    let mut names = words(&sql).take_while(|word| !word.is("VALUES")).filter_map(Token::name);
    let table = names.next().unwrap_or_default();
    let columns: Vec<_> = names.map(|name| Column::new(name, "")).collect();
    let target =
        Target { ctx, table: &table, columns: &columns, kinds, generated_places: &[], has_infile: false };
    let warned = target.warned(connection, done).await?;
    let no_members = if warned == 0 {
        0
    } else {
        let enums = enums(ctx, connection, &table).await?;
        no_members(&sql, |column| {
            let is_enum = columns.get(column).is_some_and(|column| enums.contains(&column.name));
            is_enum.then(|| kinds.get(column).copied()).flatten()
        })
    };
    target.compare(done, rows.unwrap_or(done.affected), warned, no_members)
}

/// The columns of the table that are ENUMs.
async fn enums(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND DATA_TYPE = 'enum'",
        text(table)
    );
    connection.rows(ctx, &sql).await?.into_iter().map(|row| Reading::new(row).text()).collect()
}

/// How many rows an INSERT has.
pub(crate) fn rows(sql: &[u8]) -> u64 {
    let mut rows = 0;
    each_value(&String::from_utf8_lossy(sql), |column, _| rows += u64::from(column == 0));
    rows
}

/// Of how many values an INSERT has to warn: those that are no members of their ENUM.
fn no_members(sql: &str, kind: impl Fn(usize) -> Option<Kind>) -> u64 {
    let mut count = 0;
    each_value(sql, |column, value| {
        let is_none = match kind(column) {
            None => false,
            Some(Kind::Index) => value == [Token::Word("0")],
            Some(_) => matches!(value, [Token::Text("''")] | [Token::Word("X"), Token::Text("''")]),
        };
        count += u64::from(is_none);
    });
    count
}

/// Goes through the values of an INSERT: the place of each in its row, and how it begins.
fn each_value(sql: &str, mut each: impl FnMut(usize, &[Token<'_>])) {
    let (mut depth, mut column, mut value) = (0usize, 0, Vec::new());
    for token in words(sql).skip_while(|word| !word.is("VALUES")).skip(1) {
        match token {
            Token::Other("(") => {
                depth += 1;
                if depth == 1 {
                    column = 0;
                    continue;
                }
            }
            Token::Other(")") => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    each(column, &value);
                    value.clear();
                }
            }
            Token::Other(",") if depth == 1 => {
                each(column, &value);
                value.clear();
                column += 1;
                continue;
            }
            _ => {}
        }
        // What is longer is none of those that are looked for.
        if depth > 0 && value.len() < 3 {
            value.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "INSERT INTO `VALUES (` (`a`,`e (`,`x`) VALUES\n(1,'',0),\n(NULL,X'','),('),\n(-2,/*!50708 JSON_REPLACE(*/'[1.50]'/*!50708 ,'$[0]',1.50)*/,0),(3,'it''s',X'00')";

    #[test]
    fn rows_of_statements_are_counted() {
        assert_eq!(rows(SQL.as_bytes()), 4);
        assert_eq!(rows(b"INSERT INTO `t` (`a`) VALUES\n(1)"), 1);
        assert_eq!(rows(b"DELETE FROM `t`"), 0);
    }

    #[test]
    fn what_is_no_member_is_counted_in_statements() {
        let counted = |place: usize, kind: Kind| no_members(SQL, |column| (column == place).then_some(kind));
        assert_eq!(counted(1, Kind::Bytes), 2);
        assert_eq!(counted(2, Kind::Index), 2);
        assert_eq!(counted(2, Kind::Text), 0);
        assert_eq!(counted(0, Kind::Index), 0);
    }
}
