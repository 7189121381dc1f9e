//! Rows that have no place in any partition, as ALTER TABLE ... WITHOUT VALIDATION leaves them. No server takes such a row; but a table of them is taken
//! for a partition, by a statement of the same kind.

use backup_core::{Ctx, Result};

use super::Reading;
use super::table::Table;
use crate::connect::Connection;
use crate::ddl::lex::{Token, tokens};
use crate::ddl::quote::{identifier, text};

/// A partition as the server tells of it.
struct Partition {
    name: String,
    /// Where it ends, or what is in it.
    holds: String,
}

/// The partitions of a table, if some of its rows are in one that is not theirs and there is none that is.
pub(super) async fn partitions(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<Vec<String>> {
    let version = &connection.version;
    let may_be = !version.is_mariadb || version.number >= (11, 4, 0);
    if !table.is_partitioned || table.versioned || !may_be {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND SUBPARTITION_NAME IS NULL ORDER BY PARTITION_ORDINAL_POSITION",
        text(&table.name)
    );
    let (mut all, mut is_range, mut expression) = (Vec::new(), false, String::new());
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, method) = (row.text()?, row.text()?);
        let (by, holds) = (row.maybe()?.unwrap_or_default(), row.maybe()?.unwrap_or_default());
        let is_list = method.starts_with("LIST");
        is_range = method.starts_with("RANGE");
        // Nothing is without a place where there is one for all else.
        if !is_range && !is_list || holds == "MAXVALUE" || holds == "DEFAULT" {
            return Ok(Vec::new());
        }
        expression = by;
        all.push(Partition { name, holds });
    }
    // Several columns are not compared here.
    if all.is_empty() || parts(&expression).len() != 1 {
        return Ok(Vec::new());
    }
    let placed = if is_range { below_the_last(&expression, &all) } else { listed(&expression, &all) };
    // Said so that the server does not take the answer from the definition of the partitions.
    let query =
        format!("SELECT 1 FROM {} WHERE COALESCE({placed}, FALSE) = FALSE LIMIT 1", identifier(&table.name));
    let has_any = !connection.rows(ctx, &query).await?.is_empty();
    Ok(if has_any { all.into_iter().map(|partition| partition.name).collect() } else { Vec::new() })
}

/// What lies below the end of the last, and no value at all, which is in the first.
fn below_the_last(expression: &str, all: &[Partition]) -> String {
    let end = all.last().map_or("", |last| last.holds.as_str());
    format!("(({expression}) < {end} OR ({expression}) IS NULL)")
}

fn listed(expression: &str, all: &[Partition]) -> String {
    let values: Vec<_> = all.iter().flat_map(|partition| parts(&partition.holds)).collect();
    let (nulls, values): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|value| value.eq_ignore_ascii_case("NULL"));
    let mut said = Vec::new();
    said.extend((!values.is_empty()).then(|| format!("({expression}) IN ({})", values.join(","))));
    said.extend((!nulls.is_empty()).then(|| format!("({expression}) IS NULL")));
    format!("({})", said.join(" OR "))
}

/// What stands between commas outside of parentheses.
fn parts(sql: &str) -> Vec<String> {
    let (mut depth, mut found) = (0usize, vec![String::new()]);
    for token in tokens(sql) {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.saturating_sub(1),
            Token::Other(",") if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push_str(token.as_str());
        }
    }
    found.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_place_is_said_of_all_partitions_together() {
        let of = |holds: &[&str]| -> Vec<_> {
            holds.iter().map(|holds| Partition { name: "p".into(), holds: (*holds).into() }).collect()
        };
        assert_eq!(
            below_the_last("to_days(`d`)", &of(&["10", "20"])),
            "((to_days(`d`)) < 20 OR (to_days(`d`)) IS NULL)"
        );
        assert_eq!(
            listed("`a`", &of(&["NULL,'x,y'", "'it''s'"])),
            "((`a`) IN ('x,y','it''s') OR (`a`) IS NULL)"
        );
        assert_eq!(parts("`a`,f(1,2)"), ["`a`", "f(1,2)"]);
    }
}
