//! Spatial reference systems that somebody made for a server of MySQL. They lie outside its databases, but geometries in one are nothing without it.

use std::collections::BTreeSet;

use backup_core::{Ctx, Result};

use super::Reading;
use super::column::{Column, GEOMETRIES};
use super::table::Table;
use crate::connect::{Connection, Version};
use crate::ddl::quote::{identifier, text};

/// Whether a server has such.
pub(crate) fn has_any(version: &Version) -> bool {
    !version.is_mariadb && version.number >= (8, 0, 11)
}

/// Those of the server that are not its own: what it brings along is all of one organization, and within two ranges.
pub(super) async fn made(
    ctx: &Ctx,
    connection: &mut Connection,
    tables: &[Table],
) -> Result<BTreeSet<String>> {
    if !has_any(&connection.version) || tables.iter().all(|table| places(table).next().is_none()) {
        return Ok(BTreeSet::new());
    }
    let sql = "SELECT SRS_ID FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS WHERE SRS_ID > 0 AND \
               (COALESCE(ORGANIZATION, '') <> 'EPSG' OR SRS_ID BETWEEN 32768 AND 59999999 OR SRS_ID >= 70000000)";
    let mut made = BTreeSet::new();
    for row in connection.rows(ctx, sql).await? {
        made.insert(Reading::new(row).number()?.to_string());
    }
    Ok(made)
}

/// Which of them the values of a table are in.
pub(super) async fn used(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    made: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let mut used: BTreeSet<_> = table.references.intersection(made).cloned().collect();
    if made.is_empty() {
        return Ok(used);
    }
    let made: Vec<_> = made.iter().map(String::as_str).collect();
    for place in places(table) {
        let number = format!("ST_SRID({})", identifier(&place.name));
        let sql =
            format!("SELECT DISTINCT {number} FROM {} WHERE {number} IN ({})", table.from(), made.join(","));
        for row in connection.rows(ctx, &sql).await? {
            used.insert(Reading::new(row).number()?.to_string());
        }
    }
    Ok(used)
}

fn places(table: &Table) -> impl Iterator<Item = &Column> {
    let is_place = |column: &&Column| GEOMETRIES.contains(&column.declared.as_str());
    table.columns.iter().filter(is_place)
}

/// The statement that makes one.
pub(crate) async fn statement(ctx: &Ctx, connection: &mut Connection, id: &str) -> Result<String> {
    let sql = format!(
        "SELECT SRS_NAME, ORGANIZATION, ORGANIZATION_COORDSYS_ID, DEFINITION, DESCRIPTION FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS WHERE SRS_ID = {}",
        text(id)
    );
    let mut row = Reading::new(connection.row(ctx, &sql).await?);
    let (name, organization, number) = (row.text()?, row.maybe()?, row.maybe()?);
    let (definition, description) = (row.text()?, row.maybe()?);
    let organization = organization.zip(number).map_or_else(String::new, |(organization, number)| {
        format!(" ORGANIZATION {} IDENTIFIED BY {number}", text(&organization))
    });
    let description =
        description.map_or_else(String::new, |description| format!(" DESCRIPTION {}", text(&description)));
    Ok(format!(
        "CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS {id} NAME {}{organization} DEFINITION {}{description}",
        text(&name),
        text(&definition)
    ))
}
