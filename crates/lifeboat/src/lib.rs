pub use backup_core::*;
#[cfg(feature = "sqlite")]
pub use backup_sqlite as sqlite;
