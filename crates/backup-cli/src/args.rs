//! What can be typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser};

use crate::commands::Command;

const EXAMPLES: &str = "\
Examples:
  lifeboat backup sqlite:shop.db
  lifeboat restore latest --target sqlite:copy.db
  lifeboat verify --all";

/// Backs up databases and restores them: no other programs are needed.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", bin_name = "lifeboat", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command. They come last in a command's help.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// The repository [env: LIFEBOAT_REPO] [default: ./backups]
    #[arg(long, global = true, value_name = "PLACE", display_order = 100)]
    pub(crate) repo: Option<String>,
    /// Settings [env: LIFEBOAT_CONFIG] [default: lifeboat.toml]
    #[arg(long, global = true, value_name = "FILE", display_order = 101)]
    pub(crate) config: Option<PathBuf>,
    /// How long to wait for others who use it [default: 60]
    #[arg(long, global = true, value_name = "SECONDS", display_order = 102)]
    pub(crate) lock_wait: Option<u32>,
    /// This host's key of a sealed repository [env: LIFEBOAT_HOST_KEY]
    #[arg(long, global = true, value_name = "FILE", display_order = 102)]
    pub(crate) host_key: Option<PathBuf>,
    /// Print JSON: results, warnings and errors
    #[arg(long, global = true, display_order = 103)]
    pub(crate) json: bool,
    /// Say more: of an error all its causes
    #[arg(short, long, global = true, display_order = 104)]
    pub(crate) verbose: bool,
    /// Say less: no progress; of a new backup only its ID
    #[arg(short, long, global = true, display_order = 105)]
    pub(crate) quiet: bool,
}

/// The whole command line, for completions and documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_has_no_contradictions() {
        super::command().debug_assert();
    }
}
