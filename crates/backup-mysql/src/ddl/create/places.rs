//! Columns of geometries.

use std::collections::BTreeMap;

use backup_core::Result;

use super::{CreateTable, Item};
use crate::catalog::column::GEOMETRIES;
use crate::ddl::lex::{tokens, words};

/// Whether a CREATE TABLE may have columns of geometries.
pub(crate) fn has_places(sql: &str) -> bool {
    words(sql).any(|word| GEOMETRIES.iter().any(|geometry| word.is(geometry)))
}

/// The statement that says these numbers of reference systems of its columns, for MariaDB alone.
pub(crate) fn with_reference_systems(sql: &str, numbers: &BTreeMap<String, u64>) -> Result<String> {
    let said = CreateTable::parse(sql)?.with_items(|said| {
        let item = Item::parse(said);
        let number = item.column().and(item.name()).and_then(|name| numbers.get(&name));
        let (Some(number), Some((kind, _))) = (number, item.words().get(1).copied()) else {
            return Some(said.to_owned());
        };
        let each = tokens(said).enumerate().map(|(at, token)| match at == kind {
            true => format!("{} /*M!100000 REF_SYSTEM_ID={number} */", token.as_str()),
            false => token.as_str().to_owned(),
        });
        Some(each.collect())
    });
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_reference_system_stands_behind_the_type() {
        let sql = "CREATE TABLE `t` (`a` int(11) COMMENT 'point',`g``1` geometry NOT NULL,KEY `g``1` (`a`)) ENGINE=InnoDB";
        assert!(has_places(sql) && !has_places(&sql.replace(" geometry", " text")));
        let numbers = BTreeMap::from([("g`1".to_owned(), 101), ("a".to_owned(), 7)]);
        let said = with_reference_systems(sql, &BTreeMap::from([("g`1".to_owned(), 101)])).unwrap();
        assert_eq!(said, sql.replace("geometry", "geometry /*M!100000 REF_SYSTEM_ID=101 */"));
        assert!(with_reference_systems(sql, &numbers).unwrap().contains("KEY `g``1` (`a`)"));
    }
}
