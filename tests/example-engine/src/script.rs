//! How parts are said as a script. A script of statements is a kv database already: its client is `cp`.

use std::io::Write;

use backup_core::{Error, Part, PartKind, PartSource, Result, Script, ScriptInfo, ScriptWriter};

use crate::statement::{Statement, unpack};

/// Writes scripts of kv statements.
#[derive(Debug)]
pub(crate) struct KvScript;

impl ScriptWriter for KvScript {
    fn client(&self) -> &'static str {
        "cp FILE DATABASE.kv"
    }

    fn header(&self, info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        // Debug escapes newlines: nothing that a server says of itself ends the comment.
        let line = format!("-- kv {:?} of {}\n", info.server.version, info.started);
        script.write_all(line.as_bytes()).map_err(write_failed)
    }

    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        let prefix = match &part.kind {
            PartKind::Rows { .. } => Some(Statement::row_prefix(&part.object.name)),
            _ => None,
        };
        while let Some(whole) = source.next_whole()? {
            match &prefix {
                None => script.statement(|script| script.write_all(&whole).map_err(write_failed))?,
                Some(prefix) => {
                    let values = unpack(&whole)?;
                    script.statement(|script| write!(script, "{prefix}{values}").map_err(write_failed))?;
                }
            }
            script.write_all(b"\n").map_err(write_failed)?;
        }
        Ok(())
    }

    fn footer(&self, _info: &ScriptInfo, _script: &mut Script<'_>) -> Result<()> {
        Ok(())
    }
}

fn write_failed(error: std::io::Error) -> Error {
    Error::io("write the script", error)
}
