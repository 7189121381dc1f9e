//! The configuration file, `lifeboat.toml`: where the repository is, and sources by name.
//!
//! Every key that is not known is an error, so that nothing that was asked for is silently left out.

mod rate;
mod retention;
mod section;
mod source;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use backup_core::{DatabaseUrl, Error, ErrorKind, Recipient, Result, RetentionPolicy, Signer};

use crate::keys::SecretSource;

use section::{Section, Text};

pub use rate::parse_rate;
pub use source::{MAX_JOBS, SourceConfig};

/// Keys of the design that this version does not honour yet, each refused by name.
const LATER: &[&str] = &["schedule", "hooks"];

/// A configuration file that was read and found sound. `default()` is that of nobody who wrote one.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConfigFile {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// The place of the repository, if it is said: see [`crate::repository_directory`].
    pub repository: Option<String>,
    /// Who must be able to read the repository: it is sealed for them, or refused.
    pub recipients: Vec<Recipient>,
    /// Whose signatures count in it, beyond those of the host key.
    pub signers: Vec<Signer>,
    /// The file of this host's key, if it is not in the usual place.
    pub host_key: Option<PathBuf>,
    /// What opens sealed backups.
    pub identity: SecretSource,
    /// What opens the identity that is stored in the repository.
    pub passphrase: SecretSource,
    /// The sources (and targets) by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Which backups are kept of every source that says nothing of its own.
    pub others_retention: Option<RetentionPolicy>,
}

impl ConfigFile {
    /// Reads the file at `path` if one is given, else the one that `LIFEBOAT_CONFIG` names, else the first there is of
    /// `./lifeboat.toml` and `$XDG_CONFIG_HOME/lifeboat/lifeboat.toml`. None at all is an empty one; but one that is
    /// named must be there.
    pub fn find(path: Option<&Path>) -> Result<Self> {
        let (named, places) = places(path, |name| std::env::var_os(name).filter(|value| !value.is_empty()));
        for place in places {
            match std::fs::read_to_string(&place) {
                Ok(text) => return Self::parse(&text, &place),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
                Err(error) => {
                    let message = format!("cannot read the configuration file {}: {error}", place.display());
                    return Err(Error::new(ErrorKind::Config, message).because(error));
                }
            }
        }
        Ok(Self::default())
    }

    /// Reads `text`, the contents of the file at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let text = Text::new(text, path);
        let mut root = Section::root(&text)?;
        root.refuse_later(LATER)?;
        let mut file = Self { path: Some(path.to_owned()), ..Self::default() };
        if let Some(mut repository) = root.section("repository")? {
            file.repository = repository
                .take_with("url", |url| crate::repository_directory(url).map(|_| url.to_owned()))?;
            file.recipients = repository.take_list("recipients", str::parse)?;
            file.signers = repository.take_list("signers", str::parse)?;
            file.host_key = repository.take("host-key")?;
            file.identity.file = repository.take("identity-file")?;
            file.identity.command = repository.take("identity-command")?;
            file.passphrase.file = repository.take("passphrase-file")?;
            file.passphrase.command = repository.take("passphrase-command")?;
            repository.finish()?;
        }
        if let Some(mut section) = root.section("retention")? {
            let timezone = retention::take_timezone(&mut section)?;
            file.others_retention = Some(retention::read(section, timezone)?);
        }
        if let Some(sources) = root.section("source")? {
            let mut variables = BTreeMap::new();
            for (name, section) in sources.sections()? {
                // A password goes to that source and to no other.
                if let Some(other) = variables.insert(source::password_variable(&name), name.clone()) {
                    return Err(section.error(format!(
                        "the sources {other:?} and {name:?} would have the same environment variables: name one otherwise"
                    )));
                }
                file.sources.insert(name, SourceConfig::read(section)?);
            }
        }
        root.finish()?;
        Ok(file)
    }

    /// The source or target that `name_or_url` stands for: the one of that name, or a URL with nothing else said about it.
    pub fn source(&self, name_or_url: &str) -> Result<SourceConfig> {
        if let Some(source) = self.sources.get(name_or_url) {
            return Ok(source.clone());
        }
        if name_or_url.contains(':') {
            return name_or_url.parse::<DatabaseUrl>().map(SourceConfig::new);
        }
        let error = Error::usage(format!("there is no source called {name_or_url:?}"));
        Err(match (&self.path, nearest(name_or_url, self.sources.keys().map(String::as_str))) {
            // The likeliest slip of all: the bare path of a database file.
            _ if Path::new(name_or_url).exists() => {
                error.hint(format!("it is a file: a URL such as sqlite:{name_or_url} names the database in it"))
            }
            (_, Some(near)) => error.hint(format!("did you mean {near:?}?")),
            (Some(path), None) => error.hint(format!(
                "give a URL such as sqlite:path/to.db, or describe it in {} as [source.NAME]",
                path.display()
            )),
            (None, None) => {
                error.hint("give a URL such as sqlite:path/to.db; names are described in lifeboat.toml, and there is none")
            }
        })
    }
}

/// Where to look, and whether the place was named by somebody.
fn places(path: Option<&Path>, env: impl Fn(&str) -> Option<OsString>) -> (bool, Vec<PathBuf>) {
    if let Some(path) = path.map(Path::to_owned).or_else(|| env("LIFEBOAT_CONFIG").map(PathBuf::from)) {
        return (true, vec![path]);
    }
    let home = env("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".config")));
    let here = PathBuf::from("lifeboat.toml");
    let places = std::iter::once(here).chain(home.map(|home| home.join("lifeboat").join("lifeboat.toml")));
    (false, places.collect())
}

/// The one of `words` that `word` is probably a slip of the finger for.
fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, left out or changed to make `b` out of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&b) {
            left = (diagonal + usize::from(a != *b)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, left);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(text, Path::new("lifeboat.toml"))
    }

    fn refusal(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    }

    #[cfg(feature = "zstd")] // the example says so
    #[test]
    fn the_example_in_the_documentation_is_read_as_it_says() {
        let page = include_str!("../../../../docs/configuration.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = parse(example).unwrap();
        assert_eq!(file.repository.as_deref(), Some("/var/backups/lifeboat"));
        let shop = file.source("shop").unwrap();
        assert_eq!(shop.url.to_string(), "sqlite:/srv/shop/shop.db");
        assert_eq!(shop.format, Some(backup_core::Format::Binary));
        assert_eq!((shop.jobs, shop.level, shop.verify), (Some(4), Some(3), Some(true)));
        assert_eq!(shop.bytes_per_second, Some(50 << 20));
        assert_eq!(shop.exclude.iter().map(ToString::to_string).collect::<Vec<_>>(), ["cache", "tmp_*"]);
        assert_eq!(shop.tags.get("team").map(String::as_str), Some("web"));
        assert!(file.sources.contains_key("ledger"));
        let kept = shop.retention.unwrap();
        assert_eq!((kept.max_backups, kept.days, kept.keep_monthly), (Some(30), Some(90), Some(12)));
        assert_eq!((kept.min_good, kept.keep_tags.len()), (Some(2), 1));
        assert_eq!(kept.timezone.name(), "Europe/Berlin");
        assert_eq!(file.others_retention.unwrap().keep_daily, Some(7));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_its_nearest_neighbour() {
        let message = refusal("[source.shop]\nurl = \"sqlite:a\"\n\nformt = \"sql\"\n");
        assert_eq!(
            message,
            "lifeboat.toml, line 4: unknown key \"formt\" in [source.shop]; did you mean \"format\"?"
        );
        assert!(refusal("[repo]\n").contains("line 1: unknown key \"repo\""));
        assert!(refusal("[source.shop]\nurl = \"sqlite:a\"\nwhatever = 1").contains("line 3"));
    }

    #[test]
    fn a_key_of_a_later_version_is_refused_as_such() {
        for text in [
            "[source.shop]\nurl = \"sqlite:a\"\nschedule = \"0 2 * * *\"",
            "[source.shop]\nurl = \"sqlite:a\"\n[source.shop.hooks]\non-failure = \"x\"",
            "[source.shop]\nurl = \"sqlite:a\"\ntype = \"incremental\"",
        ] {
            assert!(refusal(text).contains("not supported by this version yet"), "{text}");
        }
    }

    #[test]
    fn a_recipient_must_be_one_and_an_identity_in_its_place_is_not_repeated() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let file =
            parse(&format!("[repository]\nrecipients = [\"{good}\"]\npassphrase-file = \"p\"")).unwrap();
        assert_eq!(file.recipients.iter().map(ToString::to_string).collect::<Vec<_>>(), [good]);
        assert_eq!(file.passphrase.file.as_deref(), Some(Path::new("p")));
        let message = refusal("[repository]\nrecipients = [\"AGE-SECRET-KEY-1CANARY\"]");
        assert!(message.contains("recipients") && !message.contains("CANARY"), "{message}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_its_key() {
        for (line, part) in [
            ("jobs = 0", "jobs"),
            ("jobs = \"many\"", "jobs"),
            ("format = \"zip\"", "expected one of"),
            ("limit = \"fast\"", "limit"),
            ("include = [\"a.b.c.d\"]", "include"),
            ("codec = \"lzma\"", "codec"),
            ("tags = [1]", "tags"),
        ] {
            let message = refusal(&format!("[source.shop]\nurl = \"sqlite:a\"\n{line}"));
            assert!(message.contains(part) && message.contains("line 3"), "{message}");
        }
        assert!(refusal("[source.shop]\nformat = \"sql\"").contains("has no url"));
        assert!(refusal("[source.\"a:b\"]\nurl = \"sqlite:a\"").contains("name"));
        assert!(refusal("[repository]\nurl = \"s3://bucket\"").contains("s3://"));
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "[source.shop]\nurl = \"mysql://u:canary@h:99999/db\"",
            "[source.shop]\nurl = \"mysql://u:canary@h/db",
            "[source.shop]\nurl = \"mysql://u:canary@h/db\" x",
            "[source.shop]\nurl = \"mysql://u:x@h/db\"\npassword = \"canary\"",
            "[source.shop]\nurl = \"mysql://u@h/db\"\npassword = [\"canary\"]",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        for text in ["url = \"mysql://u:canary@h/db\"", "url = \"mysql://u@h/db\"\npassword = \"canary\""] {
            let file = parse(&format!("[source.shop]\n{text}")).unwrap();
            assert!(!format!("{file:?}").contains("canary"));
        }
    }

    #[tokio::test]
    async fn a_password_comes_from_the_file_and_goes_to_its_source_alone() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "from a file\n").unwrap();
        let file = parse(&format!(
            "[source.a]\nurl = \"mysql://u@h/a\"\npassword-file = {secret:?}
             [source.b]\nurl = \"mysql://u@h/b\"\npassword-command = [\"printf\", \"%s\", \"from a command\"]
             [source.c]\nurl = \"mysql://u@h/c\"\npassword = \"said\"
             [source.d]\nurl = \"mysql://u:in-the-url@h/d\"
             [source.e]\nurl = \"mysql://u@h/e\""
        ))
        .unwrap();
        for (name, expected) in [
            ("a", Some("from a file")),
            ("b", Some("from a command")),
            ("c", Some("said")),
            ("d", Some("in-the-url")),
            ("e", None),
            ("mysql://u@h/f", None),
            ("mysql://u:typed@h/g", Some("typed")),
        ] {
            let url = file.source(name).unwrap().url_with_password(&backup_core::Ctx::new()).await.unwrap();
            assert_eq!(url.password.as_ref().map(backup_core::Secret::expose), expected, "{name}");
        }
    }

    #[test]
    fn no_two_sources_share_the_variables_of_a_password() {
        let message = refusal("[source.a-b]\nurl = \"sqlite:a\"\n[source.A_B]\nurl = \"sqlite:b\"");
        assert!(message.contains("\"a-b\"") && message.contains("environment"), "{message}");
    }

    #[test]
    fn a_source_is_a_name_or_a_url() {
        let file = parse("[source.shop]\nurl = \"sqlite:shop.db\"").unwrap();
        assert_eq!(file.source("shop").unwrap().url.path, "shop.db");
        assert_eq!(file.source("sqlite:other.db").unwrap().url.path, "other.db");
        assert!(file.source("shpo").unwrap_err().to_string().contains("did you mean \"shop\"?"));
        assert!(file.source("Cargo.toml").unwrap_err().to_string().contains("sqlite:Cargo.toml"));
        assert_eq!(file.source("nothing").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_flag_goes_before_the_environment_and_that_before_the_usual_places() {
        let env = |name: &str| match name {
            "LIFEBOAT_CONFIG" => Some(OsString::from("/env.toml")),
            "XDG_CONFIG_HOME" => Some(OsString::from("/xdg")),
            _ => None,
        };
        assert_eq!(places(Some(Path::new("/flag.toml")), env), (true, vec!["/flag.toml".into()]));
        assert_eq!(places(None, env), (true, vec!["/env.toml".into()]));
        let usual = |name: &str| env(name).filter(|_| name != "LIFEBOAT_CONFIG");
        let expected = vec!["lifeboat.toml".into(), "/xdg/lifeboat/lifeboat.toml".into()];
        assert_eq!(places(None, usual), (false, expected));
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let error = ConfigFile::find(Some(Path::new("/nowhere/lifeboat.toml"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(distance("format", "format"), 0);
        assert_eq!(distance("formt", "format"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
