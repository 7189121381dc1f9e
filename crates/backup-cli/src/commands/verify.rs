//! `verify`: what is stored is what was written.

use std::collections::BTreeMap;

use lifeboat::{
    BackupConfig, BackupRef, ComparisonReport, Difference, Error, ErrorKind, Result, VerifyReport,
};
use serde_json::{Value, json};

use super::flags::Reading;
use crate::output::{count, error_json, plain, size};
use crate::session::Session;

const HELP: &str = "\
Everything that a restore would need, also what a backup continues, is read, decoded and hashed, and the \
rows of every table are counted and hashed again. Of a backup in SQL the script is hashed, and what it says \
of its parts compared. No database is needed. Damage ends with exit code 4. Of a sealed backup, without \
an identity, only the stored bytes are hashed, which is said.

With --restore it is also restored into a scratch database beside TARGET, which is not touched itself, and \
every table of that is read and compared. Tables that are not the same end with exit code 4, and what \
cannot be compared with exit code 3. The scratch database is removed whatever happens.

Examples:
  lifeboat verify latest
  lifeboat verify --all
  lifeboat verify latest --restore --target sqlite:/srv/shop.db";

/// Read backups back and check every byte and every row
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The ID of a backup (its beginning will do), latest, or a file that was exported
    #[arg(value_name = "ID|latest|FILE", required_unless_present = "all")]
    backup: Option<String>,
    /// Every backup in the repository, even after one that is damaged
    #[arg(long, conflicts_with = "backup")]
    all: bool,
    /// Restore it into a scratch database too, and compare that with the backup
    #[arg(long, requires = "target", conflicts_with = "all")]
    restore: bool,
    /// Beside which database: a URL, or the name of a source
    #[arg(long, value_name = "TARGET", requires = "restore")]
    target: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

/// A backup as it is printed, and what came of it.
type Verified = (String, Result<VerifyReport>);

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let manager = session.reader(&session.config_file()?, BackupConfig::default(), &self.reading).await?;
        let mut verified: Vec<Verified> = Vec::new();
        match self.backup {
            Some(text) => {
                let backup: BackupRef = text.parse()?;
                let name = match &backup {
                    BackupRef::File(_) => text,
                    _ => manager.get_info(&backup).await?.id.to_string(),
                };
                // What was found under the name is what is verified, whatever is added meanwhile.
                verified.push((name.clone(), manager.verify(&name.parse()?).await));
            }
            None => {
                let mut failed = BTreeMap::new();
                for backup in manager.list_backups().await? {
                    // What it continues came before it, and is not read again.
                    let mut report = manager.verify_alone(&BackupRef::from(&backup.id)).await;
                    let stopped = report.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
                    let mut continued = [&backup.parent, &backup.base].into_iter().flatten();
                    if let (Ok(_), Some((other, kind))) =
                        (&report, continued.find_map(|other| failed.get_key_value(other)))
                    {
                        report = Err(Error::new(*kind, format!("it continues {other}, which did not pass")));
                    }
                    if let Err(error) = &report {
                        failed.insert(backup.id.clone(), error.kind());
                    }
                    verified.push((backup.id.to_string(), report));
                    if stopped {
                        break;
                    }
                }
                // One that cannot even be listed is not good.
                let unreadable = manager.unreadable_backups().await?;
                verified.extend(unreadable.into_iter().map(|(backup, error)| (backup, Err(error))));
            }
        }
        if let (Some(target), [(name, Ok(report))]) = (&self.target, verified.as_slice()) {
            let (name, report) = (name.clone(), *report);
            return compare(session, &name, report, target, &self.reading).await;
        }
        if verified.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "there are no backups to verify"));
        }
        let documents: Vec<Value> = verified.iter().map(document).collect();
        session.result(&json!({ "verified": documents }), || verified.iter().map(line).collect())?;
        conclude(verified)
    }
}

/// Restores a backup that was read back, and says how the result compares.
async fn compare(
    session: &Session,
    backup: &str,
    report: VerifyReport,
    target: &str,
    reading: &Reading,
) -> Result<()> {
    let file = session.config_file()?;
    let source = session.source(&file, target).await?;
    let mut config = BackupConfig::default();
    source.apply(&mut config);
    let manager = session.reader(&file, config, reading).await?;
    let compared = manager.verify_restore(&backup.parse()?, &source.url).await?;
    let read = (backup.to_owned(), Ok(report));
    let mut found = document(&read);
    if let Some(found) = found.as_object_mut() {
        found.insert("ok".to_owned(), compared.is_equal().into());
        found.insert("restored".to_owned(), json!(compared));
    }
    session.result(&json!({ "verified": [found] }), || line(&read) + &comparison(&compared))?;
    let list = |differences: &[Difference]| {
        let names: Vec<_> =
            differences.iter().map(|difference| plain(&difference.what).into_owned()).collect();
        names.join(", ")
    };
    match (compared.different.is_empty(), compared.not_comparable.is_empty()) {
        (false, _) => {
            let message =
                format!("restored from {backup}, these are different: {}", list(&compared.different));
            Err(Error::new(ErrorKind::Different, message)
                .hint("do not rely on this backup alone, keep older ones, and please report it"))
        }
        (true, false) => {
            let message =
                format!("restored from {backup}, not comparable: {}", list(&compared.not_comparable));
            Err(Error::new(ErrorKind::Incomplete, message).hint(
                "what was compared is the same; give a target of the same product and version, or compare the rest by hand",
            ))
        }
        (true, true) => Ok(()),
    }
}

fn comparison(report: &ComparisonReport) -> String {
    let mut text = format!("restored: {} tables equal, {} rows\n", count(report.equal), count(report.rows));
    for (what, differences) in [("DIFFERENT", &report.different), ("NOT COMPARABLE", &report.not_comparable)]
    {
        for difference in differences {
            text += &plain(&format!("{what}  {}: {}", difference.what, difference.why));
            text.push('\n');
        }
    }
    text
}

fn document((backup, report): &Verified) -> Value {
    match report {
        Ok(report) => json!({ "backup": backup, "ok": true, "report": report }),
        Err(error) => {
            json!({ "backup": backup, "ok": false, "error": error_json(error, error.kind().exit_code()) })
        }
    }
}

fn line((backup, report): &Verified) -> String {
    let backup = plain(backup);
    match report {
        Ok(report) if !report.decoded => format!(
            "{backup}  stored  {} in {} chunks hashed; sealed, so its contents were not read back\n",
            size(report.bytes),
            count(report.chunks)
        ),
        Ok(report) => format!(
            "{backup}  ok      rows {}, parts {}, {} read\n",
            count(report.rows),
            count(report.parts),
            size(report.bytes)
        ),
        Err(error) => format!("{backup}  FAILED  {}\n", plain(&error.message())),
    }
}

/// An error of the kind of the first failure, if there is one: damage goes before whatever else failed.
fn conclude(verified: Vec<Verified>) -> Result<()> {
    let total = verified.len();
    let mut failures: Vec<Error> = verified.into_iter().filter_map(|(_, report)| report.err()).collect();
    failures.sort_by_key(|error| error.kind() != ErrorKind::Damaged);
    let failed = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(error) if total == 1 => Err(error),
        Some(error) => {
            let message = format!("{failed} of {total} backups did not pass");
            Err(Error::new(error.kind(), message).because(error).hint("the others can be relied on"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded() -> VerifyReport {
        let mut report = VerifyReport::default();
        report.decoded = true;
        report
    }

    #[test]
    fn what_was_not_decoded_is_not_called_ok() {
        let line = line(&("a".to_owned(), Ok(VerifyReport::default())));
        assert!(!line.contains("ok") && line.contains("not read back"), "{line}");
    }

    #[test]
    fn one_damaged_backup_of_several_decides_the_exit_code() {
        let verified = vec![
            ("a".to_owned(), Ok(decoded())),
            ("b".to_owned(), Err(Error::new(ErrorKind::TimedOut, "no answer"))),
            ("c".to_owned(), Err(Error::damaged("chunk 12 is not what it was"))),
        ];
        let lines: String = verified.iter().map(line).collect();
        assert!(lines.contains("a  ok ") && lines.contains("c  FAILED  chunk 12"), "{lines}");
        let error = conclude(verified).unwrap_err();
        assert_eq!(error.kind().exit_code(), 4);
        assert!(error.to_string().contains("2 of 3 backups"), "{error}");
    }

    #[test]
    fn when_all_pass_there_is_no_error() {
        assert!(conclude(vec![("a".to_owned(), Ok(VerifyReport::default()))]).is_ok());
    }
}
