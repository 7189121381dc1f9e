//! What the file says about one source or target.

use std::collections::BTreeMap;

use backup_core::codec::{Level, codec};
use backup_core::{
    BackupConfig, BackupOptions, Ctx, DatabaseUrl, Format, Pattern, Result, RetentionPolicy, Secret,
};

use crate::keys::SecretSource;

use super::parse_rate;
use super::retention;
use super::section::Section;

/// Keys of the design that this version does not honour yet, each refused by name.
const LATER: &[&str] = &["schedule", "type", "full-every", "hooks"];

/// How many parts may be worked on at once.
pub const MAX_JOBS: usize = 256;

/// A source or target: its URL, and how it is backed up where that is said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceConfig {
    /// Its name in the file; a URL that was given as such has none.
    pub name: Option<String>,
    /// Where the database is.
    pub url: DatabaseUrl,
    /// What the file says of its password.
    pub password: SecretSource,
    /// The format of its backups.
    pub format: Option<Format>,
    /// The codec of its backups.
    pub codec: Option<String>,
    /// How hard the codec tries.
    pub level: Option<i32>,
    /// How many parts are worked on at once.
    pub jobs: Option<usize>,
    /// At most so many bytes a second to and from the repository.
    pub bytes_per_second: Option<u64>,
    /// Whether every backup of it is verified when it is complete.
    pub verify: Option<bool>,
    /// Tables to include; none means all.
    pub include: Vec<Pattern>,
    /// Tables to leave out.
    pub exclude: Vec<Pattern>,
    /// Words to find its backups by.
    pub tags: BTreeMap<String, String>,
    /// Which of its backups are kept.
    pub retention: Option<RetentionPolicy>,
}

impl SourceConfig {
    /// A source of which nothing but the URL is known.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            name: None,
            url,
            password: SecretSource::default(),
            format: None,
            codec: None,
            level: None,
            jobs: None,
            bytes_per_second: None,
            verify: None,
            include: Vec::new(),
            exclude: Vec::new(),
            tags: BTreeMap::new(),
            retention: None,
        }
    }

    /// Its URL with its password in it, from where it is found first: the environment (`LIFEBOAT_SOURCE_<NAME>_PASSWORD`, and with
    /// `_FILE` or `_COMMAND` behind it), the file, the URL. A URL that was given as such has its own, or else that of `LIFEBOAT_PASSWORD`
    /// (`_FILE`, `_COMMAND`) if it names a host or a user. A command is waited for until `ctx` is cancelled, at most two minutes.
    pub async fn url_with_password(&self, ctx: &Ctx) -> Result<DatabaseUrl> {
        let mut url = self.url.clone();
        let variable = match &self.name {
            Some(name) => password_variable(name),
            None if url.password.is_none() && (!url.hosts.is_empty() || url.user.is_some()) => {
                "LIFEBOAT_PASSWORD".to_owned()
            }
            None => return Ok(url),
        };
        if let Some(password) = self.password.clone().or_environment(&variable)?.read(ctx).await? {
            url.password = Some(password);
        }
        Ok(url)
    }

    /// Puts what is said here about the work as a whole into `config`.
    pub fn apply(&self, config: &mut BackupConfig) {
        if let Some(format) = self.format {
            config.format = format;
        }
        if let Some(codec) = &self.codec {
            config.codec.clone_from(codec);
        }
        if let Some(level) = self.level {
            config.level = Level::of(level);
        }
        if let Some(jobs) = self.jobs {
            config.jobs = jobs;
        }
        if self.bytes_per_second.is_some() {
            config.bytes_per_second = self.bytes_per_second;
        }
        if let Some(verify) = self.verify {
            config.verify = verify;
        }
    }

    /// What is said here about one backup.
    pub fn options(&self) -> BackupOptions {
        let mut options = BackupOptions::default();
        options.include.clone_from(&self.include);
        options.exclude.clone_from(&self.exclude);
        options.tags.clone_from(&self.tags);
        options
    }

    pub(super) fn read(mut section: Section<'_>) -> Result<Self> {
        let name = section.name().strip_prefix("source.").unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(section
                .error(format!("{name:?} cannot be the name of a source"))
                .hint("a name is made of letters, digits, - and _, so that nobody takes it for a URL"));
        }
        let name = name.to_owned();
        section.refuse_later(LATER)?;
        let no_url = section.error(format!("[{}] has no url", section.name()));
        let url: DatabaseUrl = section.take_with("url", str::parse)?.ok_or(no_url)?;
        let password = SecretSource {
            value: section.take::<String>("password")?.map(Secret::new),
            file: section.take("password-file")?,
            command: section.take("password-command")?,
        };
        let ways = [
            url.password.is_some(),
            password.value.is_some(),
            password.file.is_some(),
            password.command.is_some(),
        ];
        if ways.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err(
                section.error(format!("[{}] says in more than one way what its password is", section.name()))
            );
        }
        let jobs = |jobs: usize| (1..=MAX_JOBS).contains(&jobs);
        let timezone = retention::take_timezone(&mut section)?;
        let policy = section.section("retention")?.map(|section| retention::read(section, timezone));
        let source = Self {
            name: Some(name),
            password,
            retention: policy.transpose()?,
            format: section.take("format")?,
            codec: section.take_with("codec", |name| codec(name).map(|codec| codec.name().to_owned()))?,
            level: section.take("level")?,
            jobs: section.take_if("jobs", jobs, "it must be a number from 1 to 256")?,
            bytes_per_second: section.take_with("limit", parse_rate)?,
            verify: section.take("verify")?,
            include: section.take_list("include", str::parse)?,
            exclude: section.take_list("exclude", str::parse)?,
            tags: section.take("tags")?.unwrap_or_default(),
            ..Self::new(url)
        };
        section.finish()?;
        Ok(source)
    }
}

/// The environment variable of the password of the source `name`.
pub(super) fn password_variable(name: &str) -> String {
    format!("LIFEBOAT_SOURCE_{}_PASSWORD", name.replace('-', "_").to_ascii_uppercase())
}
