//! `delete`: one backup less.

use lifeboat::{BackupRef, Result};
use serde_json::json;

use crate::output::{plain, size, time};
use crate::session::Session;

const HELP: &str = "\
It cannot be undone. On a terminal it is asked about, elsewhere it needs --yes. A backup that \
others continue is refused.

Example:
  lifeboat delete 20250131-020000-5f3a9c01 --yes";

/// Delete a backup
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The ID of a backup (its beginning will do)
    #[arg(value_name = "ID")]
    backup: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let mut backup: BackupRef = self.backup.parse()?;
        session.require_confirmation(self.yes, &format!("this deletes the backup {}", self.backup))?;
        let manager = session.manager()?;
        if !self.yes {
            let found = manager.get_info(&backup).await?;
            // What was asked about is what is deleted, whatever is added meanwhile.
            backup = BackupRef::from(&found.id);
            let (made, size) = (time(found.created_at), size(found.size));
            let question = format!("Delete {}, {} as of {made} UTC ({size})?", found.id, found.database);
            session.confirm(self.yes, &question).await?;
        }
        let deleted = manager.delete_backup(&backup).await?;
        session.result(&json!({ "deleted": deleted }), || {
            format!("deleted {} of {}", deleted.id, plain(&deleted.database))
        })
    }
}
