//! `init`: an empty repository.

use std::path::PathBuf;

use lifeboat::keys::{host_key_directory, place_name, read_secret_file};
use lifeboat::{BackupConfig, Error, ErrorKind, HostKey, Identity, Keys, Recipient, Result, vouching_line};
use serde_json::json;

use crate::output::{fields, plain};
use crate::session::Session;

const HELP: &str = "\
Not needed before a backup, unless backups are to be sealed: the first one into an empty place makes a repository that is \
not. It fails if there is one already.

With --recipient age1... (as `age-keygen` prints it) or --passphrase-file everything that holds contents is encrypted for the recipients: this host can \
then back up, list and delete, and cannot read. The recipients in the configuration file count as well.

Examples:
  lifeboat init --repo /var/backups/lifeboat
  lifeboat init --passphrase-file ./passphrase";

/// Make an empty repository
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Encrypt for this age X25519 recipient, whose identity is kept elsewhere
    #[arg(long = "recipient", value_name = "age1...")]
    recipients: Vec<Recipient>,
    /// Make an identity, and store it in the repository encrypted with the passphrase in this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        let place = session.directory(&file)?.display().to_string();
        let mut recipients = self.recipients;
        recipients.extend(
            file.recipients.iter().filter(|wanted| !recipients.contains(wanted)).cloned().collect::<Vec<_>>(),
        );
        let passphrase = self.passphrase_file.as_deref().map(read_secret_file).transpose()?;
        if recipients.is_empty() && passphrase.is_none() {
            let id = session.manager()?.init().await?;
            session
                .result(&json!({ "repository": { "id": id, "place": place, "sealed": false } }), || {
                    format!("made an empty repository in {}", plain(&place))
                })?;
            session.note("Backups in it are not encrypted: keep it where only you can read it.");
            return Ok(());
        }
        let stored = passphrase.map(|passphrase| (Identity::generate(), passphrase));
        recipients.extend(stored.iter().map(|(identity, _)| identity.recipient()));
        let mut host = HostKey::generate(recipients)?;
        let name = place_name(&session.directory(&file)?);
        host.seen_at(&name);
        let known = session.host_keys(&file, true)?;
        let path = match session.host_key_file(&file) {
            Some(path) => path,
            None => host_key_directory()
                .ok_or_else(|| {
                    Error::new(ErrorKind::MissingKey, "there is no place for the host key")
                        .hint("name one with --host-key")
                })?
                .join(format!("{}.json", host.repository())),
        };
        let manager = session.manager_with_keys(&file, BackupConfig::default(), Keys::default())?;
        host.save_new(&path)?;
        let made = manager
            .init_sealed(&host, stored.as_ref().map(|(identity, passphrase)| (identity, passphrase)))
            .await;
        if let Err(error) = made {
            // It is the key of nothing.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        // What was here before is not expected here any more.
        known.forget_place(&name)?;
        let id = host.repository().to_owned();
        let path = path.display().to_string();
        let document = json!({ "repository": {
            "id": id, "place": place, "sealed": true, "recipients": host.recipients(), "signer": host.signer(), "host-key": path,
            "vouching-line": vouching_line(&id, &host.signer()),
        } });
        session.result(&document, || {
            let head = format!("made an empty sealed repository in {}\n", plain(&place));
            head + &fields([
                ("id", id.clone()),
                (
                    "sealed for",
                    host.recipients().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                ),
                ("signed by", host.signer().to_string()),
                ("host key", path.clone()),
            ])
        })?;
        for line in keep_safe(&host, &path, stored.is_some()) {
            session.note(&line);
        }
        Ok(())
    }
}

/// What must be kept safe, and what is lost with it.
fn keep_safe(host: &HostKey, path: &str, passphrase: bool) -> Vec<String> {
    let opens = if passphrase {
        "1. The passphrase. It opens the identity that is stored under keys/, and that alone opens the backups. Lost, all backups are lost; \
         whoever has it and the repository reads them all. Neither this program nor anybody else can replace it."
    } else {
        "1. The identity (the file with AGE-SECRET-KEY-1...). Only it opens the backups. Lost, all backups are lost; whoever has it and the \
         repository reads them all. Keep it off this host, twice."
    };
    let (id, signer) = (host.repository(), host.signer());
    let mut lines = vec!["Keep safe, and not only here:".to_owned(), opens.to_owned()];
    if passphrase {
        lines.push(format!(
            "2. The signer {signer}. The stored identity names it too; with it you can tell your backups from forged ones."
        ));
    } else {
        lines.push(
            "2. This line, in the identity file, so that a restore anywhere can tell your backups from forged ones:"
                .to_owned(),
        );
        lines.push(format!("   {}", vouching_line(id, &signer)));
    }
    lines.push(format!(
        "3. A copy of the host key {path}. It cannot read backups. Lost, this repository can be restored from, and not be backed up \
         into any more; whoever has it can forge backups."
    ));
    lines
}
