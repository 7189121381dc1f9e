//! `init`: an empty repository.

use lifeboat::Result;
use serde_json::json;

use crate::session::Session;

const HELP: &str = "\
Not needed before a backup: the first one into an empty place makes the repository. It fails if \
there is one already.

Example:
  lifeboat init --repo /var/backups/lifeboat";

/// Make an empty repository
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let place = session.directory(&session.config_file()?)?.display().to_string();
        let id = session.manager()?.init().await?;
        session.result(&json!({ "repository": { "id": id, "place": place } }), || {
            format!("made an empty repository in {}", crate::output::plain(&place))
        })?;
        session.note("Backups in it are not encrypted: keep it where only you can read it.");
        Ok(())
    }
}
