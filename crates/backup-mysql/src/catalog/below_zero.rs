//! Partitions by differences of unsigned numbers that are below zero: the server opens such a table in its mode NO_UNSIGNED_SUBTRACTION alone, whatever
//! is wanted of it. Others are better not opened so: the server may keep them open, and then computes for everybody as it does in that mode.

use backup_core::{Ctx, Result};

use super::expression::subtracts;
use super::{Reading, create_table};
use crate::connect::Connection;
use crate::ddl::create::CreateTable;
use crate::error::{code, is_broken_off};

/// ER_PARTITION_CONST_DOMAIN_ERROR
const OUT_OF_DOMAIN: u16 = 1563;

/// Whether the database of the session has such tables, which MariaDB lists without an engine. It is not in that mode.
pub(crate) async fn is_any(ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
    let partitioned = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND (CREATE_OPTIONS LIKE '%partitioned%' OR ENGINE IS NULL AND TABLE_TYPE <> 'VIEW')";
    for row in connection.rows(ctx, partitioned).await? {
        let name = Reading::new(row).text()?;
        let is_one = match create_table(ctx, connection, &name).await {
            // Somebody else may have it open.
            Ok(create) => CreateTable::parse(&create).is_ok_and(|create| is_one(&create)),
            Err(error) if code(&error) == Some(OUT_OF_DOMAIN) => true,
            // Whoever reads it will meet that again.
            Err(error) if code(&error).is_some() && !is_broken_off(&error) => false,
            Err(error) => return Err(error),
        };
        if is_one {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn is_one(create: &CreateTable<'_>) -> bool {
    create.has_partition_below_zero() && create.partitioned_by().iter().any(|by| subtracts(by))
}
