//! `engines`: what can be backed up.

use lifeboat::{Registry, Result};
use serde_json::json;

use crate::output::{Align, Table};
use crate::session::Session;

const HELP: &str = "\
They are the engines that were compiled into this program.

Example:
  lifeboat engines";

/// List the databases that can be backed up
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let registry = Registry::linked();
        let documents: Vec<_> = (registry.engines().iter())
            .map(|engine| {
                json!({
                    "name": engine.name,
                    "schemes": engine.schemes,
                    "example": engine.example,
                    "scripts": engine.script.is_some(),
                })
            })
            .collect();
        session.result(&json!({ "engines": documents }), || {
            let mut table = Table::new([
                ("ENGINE", Align::Left),
                ("SCHEMES", Align::Left),
                ("EXAMPLE", Align::Left),
                ("SQL SCRIPTS", Align::Left),
            ]);
            for engine in registry.engines() {
                let scripts = if engine.script.is_some() { "yes" } else { "no" };
                table.row([
                    engine.name.into(),
                    engine.schemes.join(", "),
                    engine.example.into(),
                    scripts.into(),
                ]);
            }
            table.to_string()
        })
    }
}
