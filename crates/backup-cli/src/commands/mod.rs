//! The commands, one file each: what can be typed, the one call of the library, what is printed.

mod backup;
mod check;
mod completions;
mod copy;
mod delete;
mod engines;
mod export;
pub(crate) mod flags;
mod init;
mod key;
mod list;
mod prune;
mod restore;
mod show;
mod unlock;
mod verify;

use clap::Subcommand;
use lifeboat::Result;

use crate::session::Session;

/// One of the commands. What is said of it in help stands at its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Backup(Box<backup::Args>),
    Restore(Box<restore::Args>),
    List(list::Args),
    Show(show::Args),
    Verify(verify::Args),
    Check(check::Args),
    Delete(delete::Args),
    Prune(prune::Args),
    Export(export::Args),
    Copy(copy::Args),
    Key(key::Args),
    Unlock(unlock::Args),
    Engines(engines::Args),
    Completions(completions::Args),
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::Init(args) => args.run(session).await,
            Self::Backup(args) => args.run(session).await,
            Self::Restore(args) => args.run(session).await,
            Self::List(args) => args.run(session).await,
            Self::Show(args) => args.run(session).await,
            Self::Verify(args) => args.run(session).await,
            Self::Check(args) => args.run(session).await,
            Self::Delete(args) => args.run(session).await,
            Self::Prune(args) => args.run(session).await,
            Self::Export(args) => args.run(session).await,
            Self::Copy(args) => args.run(session).await,
            Self::Key(args) => args.run(session).await,
            Self::Unlock(args) => args.run(session).await,
            Self::Engines(args) => args.run(session),
            Self::Completions(args) => args.run(session),
        }
    }
}
