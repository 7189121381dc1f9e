//! Scripts that nobody loads, of engines that exist only here.

use std::io::Write;

use backup_core::{Error, Item, Part, PartSource, Result, Script, ScriptInfo, ScriptWriter};

/// A row a statement, which is the row itself.
#[derive(Debug)]
pub(crate) struct Statements;

impl ScriptWriter for Statements {
    fn client(&self) -> &'static str {
        "nothing but lifeboat loads FILE"
    }

    fn header(&self, _info: &ScriptInfo, _script: &mut Script<'_>) -> Result<()> {
        Ok(())
    }

    fn part(&self, _part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        let failed = |error| Error::io("write the script", error);
        loop {
            let (first, mut whole) = match source.next()? {
                None => return Ok(()),
                Some(Item::Row(row)) => (row.to_vec(), true),
                Some(Item::Fragment { bytes, last, .. }) => (bytes.to_vec(), last),
                Some(_) => return Err(Error::internal("bytes among rows")),
            };
            script.statement(|script| {
                script.write_all(&first).map_err(failed)?;
                while !whole {
                    let Some(Item::Fragment { bytes, last, .. }) = source.next()? else {
                        return Err(Error::internal("a row without its end"));
                    };
                    script.write_all(bytes).map_err(failed)?;
                    whole = last;
                }
                Ok(())
            })?;
            script.write_all(b"\n").map_err(failed)?;
        }
    }

    fn footer(&self, _info: &ScriptInfo, _script: &mut Script<'_>) -> Result<()> {
        Ok(())
    }
}
