//! `key`: who can read a sealed repository, and whose signatures count.

use std::path::PathBuf;

use clap::Subcommand;
use lifeboat::keys::read_secret_file;
use lifeboat::{
    BackupConfig, BackupManager, ConfigFile, Error, ErrorKind, HostKey, KeyChange, KeyInfo, Recipient,
    Result, Signer,
};
use serde_json::json;

use super::flags::Reading;
use crate::output::{fields, plain};
use crate::session::Session;

const HELP: &str = "\
A change is signed by this host, and made known in its host key. Other hosts refuse to back up until the same is typed \
there: nobody becomes able to read by writing to the repository. What was stored before stays as it is: a new recipient cannot \
read older backups, and one that was removed still can.

Examples:
  lifeboat key show
  lifeboat key add --passphrase-file ./passphrase
  lifeboat key add --new-host ./other-host.json";

/// Show or change who can read a sealed repository
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show recipients and signers, and what this host holds
    Show(Show),
    /// Add a recipient, a signer, a passphrase or a host
    Add(Add),
    /// Remove a recipient or a signer
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    reading: Reading,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Add {
    /// Encrypt for this one too, from now on
    #[arg(long, value_name = "age1...")]
    recipient: Option<Recipient>,
    /// Believe backups that this key signed
    #[arg(long, value_name = "KEY")]
    signer: Option<Signer>,
    /// Make an identity, and store it in the repository encrypted with the passphrase in this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Write a host key for another host into this file, and believe what it signs
    #[arg(long, value_name = "FILE")]
    new_host: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Remove {
    /// Encrypt for this one no longer
    #[arg(long, value_name = "age1...")]
    recipient: Option<Recipient>,
    /// Believe this key no longer, and no backup that it has signed
    #[arg(long, value_name = "KEY")]
    signer: Option<Signer>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        match self.action {
            Action::Show(show) => {
                let manager = session.reader(&file, BackupConfig::default(), &show.reading).await?;
                print(session, &manager, "").await
            }
            Action::Add(add) => add.run(session, &file).await,
            Action::Remove(remove) => {
                let change = match (remove.recipient, remove.signer) {
                    (Some(recipient), _) => KeyChange::RemoveRecipient(recipient),
                    (_, Some(signer)) => KeyChange::RemoveSigner(signer),
                    _ => return Err(nothing()),
                };
                let manager = changer(session, &file)?;
                let host = manager.change_keys(change).await?;
                keep(session, &file, &manager, &host, "removed\n").await
            }
        }
    }
}

impl Add {
    async fn run(self, session: &Session, file: &ConfigFile) -> Result<()> {
        let manager = changer(session, file)?;
        if let Some(path) = self.new_host {
            if path.exists() {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("there is a file {} already", path.display()),
                )
                .hint("a host key is never replaced"));
            }
            let (other, host) = manager.new_host().await?;
            other.save_new(&path)?;
            let done = format!(
                "wrote {}: carry it to the other host by a safe way, and delete it here\n",
                plain(&path.display().to_string())
            );
            return keep(session, file, &manager, &host, &done).await;
        }
        let (host, done) = match (self.recipient, self.signer, self.passphrase_file) {
            (Some(recipient), ..) => {
                let host = manager.change_keys(KeyChange::AddRecipient(recipient)).await?;
                (host, "added; backups from now on are readable for it: older ones, and what continues them, are not\n".to_owned())
            }
            (_, Some(signer), _) => {
                (manager.change_keys(KeyChange::AddSigner(signer)).await?, "added\n".to_owned())
            }
            (.., Some(path)) => {
                let (recipient, host) = manager.add_passphrase(&read_secret_file(&path)?).await?;
                (host, format!("added {recipient}, whose identity the passphrase opens\n"))
            }
            _ => return Err(nothing()),
        };
        keep(session, file, &manager, &host, &done).await
    }
}

fn nothing() -> Error {
    Error::usage("there is nothing to do").hint("`lifeboat key --help` says what there is")
}

/// The manager that changes keys: what the configuration wants is not yet true.
fn changer(session: &Session, file: &ConfigFile) -> Result<BackupManager> {
    let mut keys = session.keys(file)?;
    keys.recipients.clear();
    session.manager_with_keys(file, BackupConfig::default(), keys)
}

/// Keeps what this host now knows, and shows it.
async fn keep(
    session: &Session,
    file: &ConfigFile,
    manager: &BackupManager,
    host: &HostKey,
    done: &str,
) -> Result<()> {
    let known = session.host_keys(file, false)?;
    let path = known.path_of(host.repository());
    host.save(path.ok_or_else(|| Error::new(ErrorKind::MissingKey, "the file of the host key is gone"))?)?;
    print(session, &changer(session, file).unwrap_or_else(|_| manager.clone()), done).await
}

async fn print(session: &Session, manager: &BackupManager, done: &str) -> Result<()> {
    let info = manager.keys().await?;
    session.result(&json!({ "keys": info }), || format!("{done}{}", text(&info)))
}

fn text(info: &KeyInfo) -> String {
    if !info.sealed {
        return format!(
            "the repository {} is not sealed: whoever may read it reads its backups\n",
            plain(&info.repository)
        );
    }
    let list = |items: Vec<String>| items.join(", ");
    let trusted = match (info.trusted, info.known_signers.is_empty()) {
        (true, _) => "yes: somebody known here signed this",
        (false, true) => "nothing here says whose signatures count",
        (false, false) => "NO: nobody known here signed this",
    };
    let this_host = match (&info.this_host, &info.refused) {
        (None, _) => "has no key: it can neither back up nor mark".to_owned(),
        (Some(signer), None) => format!("signs as {signer}, and can back up"),
        (Some(signer), Some(why)) => format!("signs as {signer}, and cannot back up: {why}"),
    };
    let reads = match info.identities.is_empty() {
        true => "nothing: no identity was given".to_owned(),
        false => {
            format!("what is sealed for {}", list(info.identities.iter().map(ToString::to_string).collect()))
        }
    };
    let head = format!("the repository {} is sealed\n", plain(&info.repository));
    head + &fields([
        ("sealed for", list(info.recipients.iter().map(ToString::to_string).collect())),
        ("signers", list(info.signers.iter().map(ToString::to_string).collect())),
        ("revision", info.revision.to_string()),
        ("trusted", trusted.to_owned()),
        ("known here", list(info.known_signers.iter().map(ToString::to_string).collect())),
        ("this host", this_host),
        ("reads", reads),
    ])
}
