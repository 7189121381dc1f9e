//! Where keys are found: host keys in files, identities and passphrases in files, in the environment, or printed by a command.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, HostKey, Keys, Result, Secret};
use tokio::io::AsyncReadExt;

/// No key or passphrase is longer.
const SECRET_MAX: u64 = 64 << 10;
/// How long a command that prints a secret may take: somebody may have to touch a token.
const COMMAND_TIME: Duration = Duration::from_secs(120);

/// Where host keys are, when nobody says otherwise: `$XDG_CONFIG_HOME/lifeboat/keys`.
pub fn host_key_directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    home.map(|home| home.join("lifeboat").join("keys"))
}

/// The name of the place of a repository, by which a host knows it again.
///
/// It is the same whether the directory is there or yet to be made: links are followed as far as there are any, and `..` leads up from where
/// they lead.
pub fn place_name(directory: &Path) -> String {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut place = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                place.pop();
            }
            other => {
                place.push(other);
                place = place.canonicalize().unwrap_or(place);
            }
        }
    }
    place.to_string_lossy().into_owned()
}

/// The host keys that there are, each with its file: the one at `path`, or else all in the usual directory.
#[derive(Debug, Default)]
pub struct HostKeys {
    /// Whether the one key was named, so that it must fit.
    named: bool,
    found: Vec<(PathBuf, HostKey)>,
}

impl HostKeys {
    /// Reads them. A file that is named must be there, unless it is yet to be made.
    pub fn find(path: Option<&Path>, to_be_made: bool) -> Result<Self> {
        if let Some(path) = path {
            if to_be_made && !path.exists() {
                return Ok(Self { named: true, found: Vec::new() });
            }
            return Ok(Self { named: true, found: vec![(path.to_owned(), HostKey::load(path)?)] });
        }
        let Some(directory) = host_key_directory() else { return Ok(Self::default()) };
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(format!("read {}", directory.display()), error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path =
                entry.map_err(|error| Error::io(format!("read {}", directory.display()), error))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.extension().is_some_and(|extension| extension == "json") {
                let key = HostKey::load(&path)?;
                found.push((path, key));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { named: false, found })
    }

    /// The keys with which the repository at `place` is opened. A host that knows a sealed repository there takes nothing else for it.
    pub fn keys(&self, place: &str) -> Keys {
        let mut keys = Keys::default();
        let here =
            |key: &&(PathBuf, HostKey)| self.named || key.1.places().iter().any(|known| known == place);
        keys.expected = self.found.iter().find(here).map(|(_, key)| key.repository().to_owned());
        keys.place = Some(place.to_owned());
        keys.hosts = self.found.iter().map(|(_, key)| key.clone()).collect();
        keys
    }

    /// Notes in the files that none of these repositories is at `place` any more.
    pub fn forget_place(mut self, place: &str) -> Result<()> {
        for (path, key) in &mut self.found {
            if key.no_longer_at(place) {
                key.save(path)?;
            }
        }
        Ok(())
    }

    /// The file of the key of a repository.
    pub fn path_of(&self, repository: &str) -> Option<&Path> {
        self.found.iter().find(|(_, key)| key.repository() == repository).map(|(path, _)| path.as_path())
    }
}

/// Where a secret may come from, beyond the environment.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SecretSource {
    /// The secret itself.
    pub value: Option<Secret>,
    /// A file that holds it.
    pub file: Option<PathBuf>,
    /// A command that prints it: a program and its arguments, which no shell sees.
    pub command: Option<Vec<String>>,
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSource").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SecretSource {
    /// What the environment says: `NAME`, `NAME_FILE`, `NAME_COMMAND`; and otherwise `self`.
    pub fn or_environment(self, name: &str) -> Result<Self> {
        let set = |name: String| match std::env::var(&name) {
            Ok(value) if !value.is_empty() => Ok(Some(value)),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(_) => Err(Error::usage(format!("{name} is not UTF-8"))),
        };
        let found = Self {
            value: set(name.to_owned())?.map(Secret::new),
            file: set(format!("{name}_FILE"))?.map(PathBuf::from),
            command: set(format!("{name}_COMMAND"))?.map(|text| arguments(&text)).transpose()?,
        };
        let nothing = found.value.is_none() && found.file.is_none() && found.command.is_none();
        Ok(if nothing { self } else { found })
    }

    /// The secret, if there is one. A command is waited for until `ctx` is cancelled, at most two minutes.
    pub async fn read(&self, ctx: &Ctx) -> Result<Option<Secret>> {
        if let Some(value) = &self.value {
            return Ok(Some(value.clone()));
        }
        if let Some(path) = &self.file {
            return read_secret_file(path).map(Some);
        }
        let Some(command) = &self.command else { return Ok(None) };
        let Some((program, arguments)) = command.split_first() else {
            return Err(Error::usage("a command that prints a secret is empty"));
        };
        // Its arguments may be secret: they are not repeated.
        let doing = || format!("run {program} for a secret");
        let work = async {
            let mut child = tokio::process::Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| Error::io(doing(), error))?;
            let mut printed = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                let read = stdout.take(SECRET_MAX + 1).read_to_end(&mut printed).await;
                read.map_err(|error| Error::io(doing(), error))?;
            }
            let status = child.wait().await.map_err(|error| Error::io(doing(), error))?;
            if !status.success() {
                return Err(Error::new(ErrorKind::MissingKey, format!("it failed: {status}"))
                    .hint("run it yourself and see")
                    .during(doing()));
            }
            secret_of(printed).map_err(|error| error.during(doing()))
        };
        let timed = async {
            tokio::time::timeout(COMMAND_TIME, work).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, "it printed nothing in two minutes").during(doing()))
            })
        };
        ctx.run(timed).await.map(Some)
    }
}

/// Reads a secret from a file, without the newline at its end.
pub fn read_secret_file(path: &Path) -> Result<Secret> {
    use std::io::Read;
    let doing = || format!("read {}", path.display());
    let file = std::fs::File::open(path).map_err(|error| Error::io(doing(), error))?;
    let mut bytes = Vec::new();
    file.take(SECRET_MAX + 1).read_to_end(&mut bytes).map_err(|error| Error::io(doing(), error))?;
    secret_of(bytes).map_err(|error| error.during(doing()))
}

fn secret_of(bytes: Vec<u8>) -> Result<Secret> {
    let wrong = |why: &'static str| {
        Error::new(ErrorKind::WrongKey, why).hint("it must be a line of text, or an age identity file")
    };
    if bytes.len() as u64 > SECRET_MAX {
        return Err(wrong("it is too long for a secret"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(wrong("it is empty")) } else { Ok(Secret::new(text)) }
}

/// A command in an environment variable: a JSON list of arguments, or words between spaces. No shell reads it.
fn arguments(text: &str) -> Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| Error::usage("a command must be a JSON list of words, or words between spaces"));
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_is_a_list_of_arguments_that_no_shell_sees() {
        for text in ["printf %s $HOME;id", r#"["printf", "%s", "$HOME;id"]"#] {
            let source = SecretSource { command: Some(arguments(text).unwrap()), ..SecretSource::default() };
            let secret = source.read(&Ctx::new()).await.unwrap().unwrap();
            assert_eq!(secret.expose(), "$HOME;id");
        }
        assert!(arguments("[\"printf\"").is_err());
    }

    #[tokio::test]
    async fn a_command_that_fails_or_prints_nothing_gives_no_secret() {
        for command in ["false", "true"] {
            let source = SecretSource { command: Some(vec![command.into()]), ..SecretSource::default() };
            assert_eq!(source.read(&Ctx::new()).await.unwrap_err().kind().exit_code(), 12, "{command}");
        }
    }

    #[test]
    fn a_place_has_one_name_before_and_after_it_is_made_and_by_whatever_way() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("disk/deep")).unwrap();
        std::os::unix::fs::symlink(root.join("disk/deep"), root.join("link")).unwrap();
        let ways = ["disk/backups", "link/../backups", "link/./../new/../backups", "disk//backups/"];
        let names = || ways.map(|way| place_name(&root.join(way)));
        let before = names();
        assert_eq!(before, [(); 4].map(|()| root.join("disk/backups").display().to_string()));
        std::fs::create_dir(root.join("disk/backups")).unwrap();
        assert_eq!(names(), before);
    }

    #[test]
    fn one_newline_at_the_end_of_a_file_is_no_part_of_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, "correct horse \r\n").unwrap();
        let secret = read_secret_file(&path).unwrap();
        assert_eq!(secret.expose(), "correct horse ");
        assert!(
            !format!("{:?}", SecretSource { value: Some(secret), ..SecretSource::default() })
                .contains("horse")
        );
    }
}
