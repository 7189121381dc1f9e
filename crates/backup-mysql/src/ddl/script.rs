//! The parts of a backup as a script for the `mariadb` and `mysql` clients.

use std::io::Write;

use backup_core::{Error, Item, Part, PartKind, PartSource, Result, Script, ScriptInfo, ScriptWriter};

use super::value::{Literals, insert};
use super::{PLAIN, SUBTRACTING, in_zone};
use crate::catalog::context::collate;
use crate::catalog::spec::{RowsSpec, SqlSpec, spec};
use crate::connect::{Collations, Version};

/// About how long one INSERT is, if no row is longer.
pub(crate) const INSERT: usize = 512 << 10;

/// MySQL: tables are made as they were, though they be too wide for InnoDB, have options that it does not know, or no primary key: if the account
/// may ask for that, which not everybody may. By what right, roles or its own, the server tells by taking a hint or not.
fn lax() -> Vec<String> {
    let asks = |value: u8, answer: &str| {
        format!(
            "SET @lifeboat = IF(@lifeboat_asks, 'SELECT /*+ SET_VAR(sql_require_primary_key = {value}) */ @@SESSION.sql_require_primary_key INTO {answer}', 'DO 0')"
        )
    };
    let sets = "SET @lifeboat = IF(@lifeboat_on > @lifeboat_off, 'SET SESSION innodb_strict_mode = 0 /*!80013 , sql_require_primary_key = 0 */ \
                /*!80030 , sql_generate_invisible_primary_key = 0 */', 'DO 0')";
    let mut statements = vec![
        "SET @lifeboat_asks = 0, @lifeboat_on = VERSION() LIKE '5.7.%' OR VERSION() LIKE '%MariaDB%', @lifeboat_off = 0".to_owned(),
        "/*!80013 SET @lifeboat_asks = 1 */".to_owned(),
    ];
    for statement in [asks(1, "@lifeboat_on"), asks(0, "@lifeboat_off"), sets.to_owned()] {
        let run = ["PREPARE lifeboat FROM @lifeboat", "EXECUTE lifeboat", "DEALLOCATE PREPARE lifeboat"];
        statements.push(statement);
        statements.extend(run.map(str::to_owned));
    }
    statements
}

/// Writes scripts that make the same database out of an empty one.
#[derive(Debug)]
pub(crate) struct MySqlScript;

impl ScriptWriter for MySqlScript {
    fn client(&self) -> &'static str {
        "mariadb --comments DATABASE < FILE"
    }

    fn header(&self, info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        if info.server.product == "MariaDB" {
            // From here on the client runs no programs and opens no files, whatever the script says.
            say(script, "/*M!999999\\- enable the sandbox mode */\n")?;
        }
        for settings in PLAIN {
            say(script, &format!("{settings};\n"))?;
        }
        say(script, "SET SESSION foreign_key_checks = 0;\n")?;
        let source = Version::parse(&info.server.version);
        if !source.is_mariadb {
            let is_alike = format!("VERSION() LIKE '{}.%'", source.number.0);
            say(script, &format!("/*!50700 SET @lifeboat_unique_checks = IF({is_alike}, 0, 1) */;\n"))?;
        }
        if source.collations() == Collations::General {
            say(script, GENERAL)?;
        }
        say(script, EXPLICIT)?;
        if info.server.product == "MariaDB" {
            say(script, "SET SESSION check_constraint_checks = 0, innodb_strict_mode = 0;\n")?;
            say(script, "/*M!101101 SET SESSION system_versioning_insert_history = 1 */;\n")?;
        } else {
            for statement in lax() {
                say(script, &format!("{statement};\n"))?;
            }
        }
        Ok(())
    }

    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        match &part.kind {
            PartKind::Sql => statements(part, source, script),
            PartKind::Rows { columns, .. } => {
                let spec: RowsSpec = spec(part)?;
                let table = spec.aside.as_ref().unwrap_or(&part.object.name);
                let zone = spec.time_zone.as_deref().map(in_zone);
                let settings: Vec<_> =
                    spec.subtracts.then_some(SUBTRACTING).into_iter().chain(zone.as_deref()).collect();
                for setting in &settings {
                    say(script, &format!("{setting};\n"))?;
                }
                rows(&insert(table, columns), &spec, source, script)?;
                let [_, plain] = PLAIN;
                if settings.is_empty() { Ok(()) } else { say(script, &format!("{plain};\n")) }
            }
            _ => Err(Error::internal("a part is planned that MySQL has not")),
        }
    }

    fn footer(&self, _info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        say(script, "SET SESSION foreign_key_checks = 1;\n/*!50700 SET SESSION unique_checks = 1 */;\n")
    }
}

/// What character sets have by default where the tables come from, for servers that give them something else.
const GENERAL: &str = "/*!80011 SET SESSION default_collation_for_utf8mb4 = utf8mb4_general_ci */;\n/*M!110200 SET SESSION character_set_collations = '' */;\n";

/// A TIMESTAMP has no default that is not said.
const EXPLICIT: &str = "/*!80000 SET SESSION explicit_defaults_for_timestamp = 1 */;\n/*M!100802 SET SESSION explicit_defaults_for_timestamp = 1 */;\n";

/// Where tables are made by the script, and by a MySQL of the major version that they come from, no two rows are alike in a unique key. MariaDB, which would take
/// longer without checks, passes over comments for MySQL 5.7 to 9.
const UNIQUE: &str = "/*!50700 SET SESSION unique_checks = COALESCE(@lifeboat_unique_checks, 1) */;\n";

fn statements(part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
    let made_from: SqlSpec = spec(part)?;
    // Not everybody who runs a script may write where these are, and nobody needs them.
    if made_from == SqlSpec::Statistics {
        while source.next_whole()?.is_some() {}
        return Ok(());
    }
    if made_from == SqlSpec::Database {
        say(script, UNIQUE)?;
    }
    if made_from.subtracts() {
        say(script, &format!("{SUBTRACTING};\n"))?;
    }
    while let Some(sql) = source.next_whole()? {
        let Some(context) = made_from.context() else {
            script.statement(|script| write(script, &sql))?;
            say(script, ";\n")?;
            continue;
        };
        let end = delimiter(&sql);
        let collations = context.database_collation.as_ref().zip(context.default_collation.as_ref());
        if let Some((then, _)) = collations {
            say(script, &format!("{};\n", collate(then)))?;
        }
        // Else the client would take a part of a character for a backslash or a quote.
        let client =
            |charset: &str| if context.hides_ascii() { format!("\\C {charset}\n") } else { String::new() };
        let settings = lenient(&context.settings());
        say(script, &format!("{}{settings};\nDELIMITER {end}\n", client(&context.charset)))?;
        script.statement(|script| write(script, &sql))?;
        let [names, plain] = PLAIN;
        say(script, &format!("\n{end}\nDELIMITER ;\n{}{names};\n{plain};\n", client("utf8mb4")))?;
        if let Some(reset) = context.reset() {
            say(script, &format!("{reset};\n"))?;
        }
        if let Some((_, now)) = collations {
            say(script, &format!("{};\n", collate(now)))?;
        }
    }
    let [_, plain] = PLAIN;
    if made_from.subtracts() { say(script, &format!("{plain};\n")) } else { Ok(()) }
}

/// Settings without a mode that MySQL has no more since version 8, if one of these reads them.
fn lenient(settings: &str) -> String {
    const MODE: &str = "NO_AUTO_CREATE_USER";
    let before = "SET SESSION sql_mode = ";
    let modes = settings.strip_prefix(before).and_then(|behind| behind.split_once('\'')?.1.split_once('\''));
    match modes {
        Some((modes, rest)) if modes.split(',').any(|mode| mode == MODE) => {
            format!("{before}/*!80000 REPLACE(*/'{modes}'/*!80000 ,'{MODE}','') */{rest}")
        }
        _ => settings.to_owned(),
    }
}

/// What ends a statement that may have semicolons in it: nothing that is in it.
fn delimiter(sql: &[u8]) -> String {
    let mut end = ";;".to_owned();
    while sql.windows(end.len()).any(|window| window == end.as_bytes()) {
        end.insert(0, '$');
    }
    end
}

fn rows(head: &str, spec: &RowsSpec, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
    let kinds = spec.written();
    let mut literals = Literals::new(&kinds);
    while piece(&mut literals, source)? {
        script.statement(|script| {
            say(script, head)?;
            let mut length = 0;
            loop {
                length += literals.out.len();
                write(script, &literals.out)?;
                literals.out.clear();
                let is_between = !literals.is_open();
                if is_between && length >= INSERT || !piece(&mut literals, source)? {
                    return Ok(());
                }
                if is_between {
                    say(script, ",\n")?;
                }
            }
        })?;
        say(script, ";\n")?;
    }
    Ok(())
}

/// Takes in the next row or piece of one; false at the end.
fn piece(literals: &mut Literals<'_>, source: &mut dyn PartSource) -> Result<bool> {
    match source.next()? {
        None => Ok(false),
        Some(Item::Row(row)) => {
            literals.piece(row)?;
            literals.end()?;
            Ok(true)
        }
        Some(Item::Fragment { bytes, last, .. }) => {
            literals.piece(bytes)?;
            if last {
                literals.end()?;
            }
            Ok(true)
        }
        Some(_) => Err(Error::internal("something else stands among the rows")),
    }
}

fn say(script: &mut Script<'_>, text: &str) -> Result<()> {
    write(script, text.as_bytes())
}

fn write(script: &mut Script<'_>, bytes: &[u8]) -> Result<()> {
    script.write_all(bytes).map_err(|error| Error::io("write the script", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_is_no_more_is_left_out_where_it_is_not() {
        assert_eq!(
            lenient("SET SESSION sql_mode = 'ANSI,NO_AUTO_CREATE_USER', time_zone = 'NO_AUTO_CREATE_USER'"),
            "SET SESSION sql_mode = /*!80000 REPLACE(*/'ANSI,NO_AUTO_CREATE_USER'/*!80000 ,'NO_AUTO_CREATE_USER','') */, time_zone = 'NO_AUTO_CREATE_USER'"
        );
        for other in ["SET SESSION sql_mode = ''", "SET SESSION sql_mode = 'ANSI', x = 'NO_AUTO_CREATE_USER'"]
        {
            assert_eq!(lenient(other), other);
        }
    }

    #[test]
    fn a_delimiter_is_not_in_the_statement() {
        for sql in ["select 1", "begin select ';;'; end", "begin select ';;;;;'; select '//;;;'; end"] {
            assert!(!sql.contains(&delimiter(sql.as_bytes())), "{sql}");
        }
    }
}
