//! Keys: what a host keeps of a sealed repository, and what an operation is given to open one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::id::{Hash32, random};
use super::seal::{Identity, Recipient};
use super::sign::{Signer, SigningKey};
use crate::error::{During, Error, ErrorKind, Result};
use crate::secret::Secret;

/// A larger file is no host key.
const FILE_MAX: u64 = 1 << 20;
/// The version of the file.
const VERSION: u32 = 1;

/// What a backup host keeps of one sealed repository: enough to write into it, and not to read what is in it.
///
/// It also holds what the host knows of the repository, so that nobody who may write to the store can add himself to those who
/// can read, or to those whose signatures count.
#[derive(Clone)]
pub struct HostKey {
    pub(crate) repository: String,
    pub(crate) places: Vec<String>,
    pub(crate) revision: u64,
    pub(crate) chunk_key: Hash32,
    pub(crate) signing: SigningKey,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) signers: Vec<Signer>,
    /// The file that it was read from.
    file: Option<PathBuf>,
}

/// The file: JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct HostFile {
    lifeboat_host_key: u32,
    repository: String,
    /// Where the repository was seen.
    #[serde(default)]
    places: Vec<String>,
    /// The newest description that was seen.
    revision: u64,
    chunk_key: String,
    signing_key: String,
    recipients: Vec<Recipient>,
    signers: Vec<Signer>,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKey")
            .field("repository", &self.repository)
            .field("signing", &self.signing)
            .finish_non_exhaustive()
    }
}

impl HostKey {
    /// The key of a repository that is yet to be made, sealed for `recipients`. Errors: `Usage` if there are none.
    pub fn generate(recipients: Vec<Recipient>) -> Result<Self> {
        if recipients.is_empty() {
            return Err(Error::usage("a sealed repository needs a recipient")
                .hint("give --recipient age1..., or --passphrase-file"));
        }
        let signing = SigningKey::generate()?;
        Ok(Self {
            repository: hex::encode(random::<16>()?),
            places: Vec::new(),
            revision: 1,
            chunk_key: Hash32(random()?),
            signers: vec![signing.signer()],
            signing,
            recipients,
            file: None,
        })
    }

    /// The same for another host, which signs with a key of its own.
    pub(crate) fn for_another_host(&self) -> Result<Self> {
        let signing = SigningKey::generate()?;
        let mut signers = self.signers.clone();
        signers.push(signing.signer());
        Ok(Self { signing, signers, places: Vec::new(), file: None, ..self.clone() })
    }

    /// The id of the repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Whom this host seals for.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Whose signatures count here.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Who this host is to those that check its signatures.
    pub fn signer(&self) -> Signer {
        self.signing.signer()
    }

    /// Where the repository was seen.
    pub fn places(&self) -> &[String] {
        &self.places
    }

    /// Notes where the repository is. Whether that is news.
    pub fn seen_at(&mut self, place: &str) -> bool {
        let news = !self.places.iter().any(|known| known == place);
        if news {
            self.places.push(place.to_owned());
        }
        news
    }

    /// Notes in the file that it was read from where the repository is. The file is read again, since its keys may have been changed.
    pub(crate) fn note_place(&self, place: &str) -> Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut now = Self::load(path)?;
        if now.repository == self.repository && now.seen_at(place) {
            now.save(path)?;
        }
        Ok(())
    }

    /// Forgets that the repository was seen at a place. Whether it was.
    pub fn no_longer_at(&mut self, place: &str) -> bool {
        let before = self.places.len();
        self.places.retain(|known| known != place);
        self.places.len() < before
    }

    /// Reads the file at `path`. Errors: `PermissionDenied` if others than its owner may read it, `WrongKey` if it is no host key.
    pub fn load(path: &Path) -> Result<Self> {
        let doing = || format!("read the host key {}", path.display());
        let mut file = File::open(path).during(doing)?;
        let metadata = file.metadata().during(doing)?;
        if metadata.mode() & 0o077 != 0 {
            return Err(Error::new(ErrorKind::PermissionDenied, "others than its owner may use it")
                .hint("chmod 600 it, and think about who may have read it")
                .during(doing()));
        }
        let mut json = String::new();
        (&mut file).take(FILE_MAX).read_to_string(&mut json).during(doing)?;
        // What the parser says may repeat what it read, which is secret.
        let not_ours = || {
            Error::new(ErrorKind::WrongKey, "it is not a host key that this version knows")
                .hint("restore it from the copy that you keep, or name another with --host-key")
                .during(doing())
        };
        let file: HostFile = serde_json::from_str(&json).map_err(|_| not_ours())?;
        let chunk_key = file.chunk_key.try_into().map_err(|_| not_ours())?;
        if file.lifeboat_host_key != VERSION || file.recipients.is_empty() {
            return Err(not_ours());
        }
        Ok(Self {
            repository: file.repository,
            places: file.places,
            revision: file.revision,
            chunk_key,
            signing: SigningKey::from_secret(&Secret::new(file.signing_key)).map_err(|_| not_ours())?,
            recipients: file.recipients,
            signers: file.signers,
            file: Some(path.to_owned()),
        })
    }

    /// Writes the file at `path`, durably, for its owner only, in a directory for its owner only.
    pub fn save(&self, path: &Path) -> Result<()> {
        let doing = || format!("write the host key {}", path.display());
        let file = HostFile {
            lifeboat_host_key: VERSION,
            repository: self.repository.clone(),
            places: self.places.clone(),
            revision: self.revision,
            chunk_key: self.chunk_key.to_string(),
            signing_key: self.signing.to_secret().expose().to_owned(),
            recipients: self.recipients.clone(),
            signers: self.signers.clone(),
        };
        let json = serde_json::to_string_pretty(&file)
            .map_err(|error| Error::internal("a host key is not JSON").because(error))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).during(doing)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}", hex::encode(random::<4>()?)));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(json.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(directory)?.sync_all()
        };
        let written = write();
        if written.is_err() {
            // What is left of it is nothing that anybody needs.
            let _ = fs::remove_file(&temporary);
        }
        written.during(doing)
    }

    /// Writes the file at `path`, where there must be none.
    pub fn save_new(&self, path: &Path) -> Result<()> {
        if path.symlink_metadata().is_ok() {
            let message = format!("there is a file {} already", path.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .hint("a host key is never replaced: name another place with --host-key"));
        }
        self.save(path)
    }
}

/// What an operation is given to open a repository with. `default()` is that of a host that knows no sealed repository.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Keys {
    /// The host keys there are here, of whatever repositories.
    pub hosts: Vec<HostKey>,
    /// The id of the sealed repository that must be found. Anything else in its place was put there by somebody, and is refused.
    pub expected: Option<String>,
    /// Where the repository is, by the name under which host keys note it: one that opens a sealed repository there remembers the place.
    pub place: Option<String>,
    /// Who must be able to read what is stored: with any of these, a repository that is not sealed for them is refused.
    pub recipients: Vec<Recipient>,
    /// Opens what is sealed.
    pub identities: Vec<Identity>,
    /// Opens the identities that are stored in the repository itself.
    pub passphrase: Option<Secret>,
    /// Whose signatures count, beyond what host keys say.
    pub signers: Vec<Signer>,
    /// Whose signatures count for one repository, as the identity files say.
    pub(crate) vouched: Vec<(String, Signer)>,
    /// What the passphrase opened: that costs a second, and is done once.
    pub(crate) unlocked: Arc<OnceCell<Secret>>,
    /// Take what nobody known has signed. Whoever may write to the repository then decides what is restored.
    pub trust_unsigned: bool,
    /// That it is not sealed may be meant, whatever else is given: it is what is copied into.
    pub(crate) may_be_unsealed: bool,
}

/// What a line of an identity file begins with that says whose signatures count. Stock age takes it for a comment.
const VOUCHES: &str = "# lifeboat ";

impl Keys {
    /// Adds the identities of an age identity file, and the signers that its comments name.
    pub fn add_identity_file(&mut self, text: &Secret) -> Result<()> {
        self.identities.extend(Identity::parse_file(text)?);
        self.vouched.extend(vouched(text));
        Ok(())
    }

    /// The host key of the repository `id`.
    pub fn host(&self, id: &str) -> Option<&HostKey> {
        self.hosts.iter().find(|host| host.repository == id)
    }

    /// What was given that only makes sense for a sealed repository.
    pub(crate) fn of_sealed(&self) -> Option<&'static str> {
        match self {
            _ if !self.signers.is_empty() => Some("it was said whose signatures count"),
            _ if !self.vouched.is_empty() => Some("the identity file says whose signatures count"),
            _ if !self.identities.is_empty() => Some("an identity was given"),
            _ if self.passphrase.is_some() => Some("a passphrase was given"),
            _ => None,
        }
    }

    /// Whose signatures count for the repository `id`, as far as anybody here says so.
    pub(crate) fn signers_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Signer> + 'a {
        let of_host = self.host(id).into_iter().flat_map(|host| host.signers.iter().copied());
        let vouched = self.vouched.iter().filter(move |(of, _)| of == id).map(|(_, signer)| *signer);
        self.signers.iter().copied().chain(of_host).chain(vouched)
    }
}

/// The text of an identity file: for stock age an identity, and for us also whose signatures count in the repository `id`.
pub(crate) fn identity_file(identity: &Identity, id: &str, signers: &[Signer]) -> Secret {
    let signers: String = signers.iter().map(|signer| format!("{}\n", vouching_line(id, signer))).collect();
    let (recipient, secret) = (identity.recipient(), identity.to_secret());
    Secret::new(format!("{signers}# public key: {recipient}\n{}\n", secret.expose()))
}

/// The line that makes an identity file vouch for a signer.
pub fn vouching_line(repository: &str, signer: &Signer) -> String {
    format!("{VOUCHES}{repository} signer {signer}")
}

pub(crate) fn vouched(text: &Secret) -> Vec<(String, Signer)> {
    let lines = text.expose().lines().filter_map(|line| line.trim().strip_prefix(VOUCHES));
    let lines = lines.filter_map(|line| line.split_once(" signer "));
    lines.filter_map(|(id, signer)| Some((id.to_owned(), signer.trim().parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_host_key_comes_back_from_a_file_that_only_its_owner_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys").join("key.json");
        let mut key = HostKey::generate(vec![Identity::generate().recipient()]).unwrap();
        assert!(key.seen_at("/var/backups") && !key.seen_at("/var/backups"));
        key.save_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let again = HostKey::load(&path).unwrap();
        assert_eq!((again.repository(), again.signer()), (key.repository(), key.signer()));
        assert_eq!((again.chunk_key, again.recipients()), (key.chunk_key, key.recipients()));
        assert_eq!((again.signers(), again.places()), (key.signers(), key.places()));
        assert_eq!(key.save_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(HostKey::load(&path).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn nothing_that_is_printed_of_a_host_key_is_secret() {
        let key = HostKey::generate(vec![Identity::generate().recipient()]).unwrap();
        let shown = format!("{key:?} {:?}", Keys { hosts: vec![key.clone()], ..Keys::default() });
        assert!(!shown.contains(&key.chunk_key.to_string()));
        assert!(!shown.contains(key.signing.to_secret().expose()));
    }

    #[test]
    fn a_damaged_host_key_is_refused_without_a_word_of_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.json");
        HostKey::generate(vec![Identity::generate().recipient()]).unwrap().save(&path).unwrap();
        let text =
            fs::read_to_string(&path).unwrap().replace("\"signing-key\": \"", "\"signing-key\": \"canary");
        fs::write(&path, text).unwrap();
        let error = HostKey::load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn an_identity_file_says_whose_signatures_count_and_in_which_repository() {
        let (identity, signer) = (Identity::generate(), SigningKey::generate().unwrap().signer());
        let mut keys = Keys::default();
        keys.add_identity_file(&identity_file(&identity, "a1", &[signer])).unwrap();
        assert_eq!(keys.signers_of("a1").collect::<Vec<_>>(), [signer]);
        assert_eq!(keys.signers_of("a2").count(), 0);
        assert_eq!(keys.identities.len(), 1);
    }
}
