//! `completions`: for shells.

use clap_complete::Shell;
use lifeboat::Result;
use serde_json::json;

use crate::session::Session;

const HELP: &str = "\
Example:
  lifeboat completions zsh > ~/.zfunc/_lifeboat";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::command(), "lifeboat", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        session.result(&json!({ "script": script }), || script.clone())
    }
}
