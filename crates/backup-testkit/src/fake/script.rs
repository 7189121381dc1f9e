//! A fake database as a script: a change a line.

use std::io::Write;

use backup_core::{Error, Part, PartKind, PartSource, Result, Script, ScriptInfo, ScriptWriter};

use super::database::{Change, json, parse};

/// Writes scripts of changes.
#[derive(Debug)]
pub(super) struct FakeScript;

impl ScriptWriter for FakeScript {
    fn client(&self) -> &'static str {
        "nothing but lifeboat loads FILE"
    }

    fn header(&self, _info: &ScriptInfo, _script: &mut Script<'_>) -> Result<()> {
        Ok(())
    }

    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        while let Some(whole) = source.next_whole()? {
            let text =
                std::str::from_utf8(&whole).map_err(|error| Error::damaged("not text").because(error))?;
            let statement = match part.kind {
                PartKind::Rows { .. } => json(&Change::Insert(part.object.name.clone(), parse(text)?))?,
                _ => text.to_owned(),
            };
            script.statement(|script| script.write_all(statement.as_bytes()).map_err(write_failed))?;
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
