//! What the file says about which backups are kept.

use backup_core::{Error, ErrorKind, Registry, Result, Retention, RetentionPolicy, Tz};

use super::ConfigFile;
use super::section::Section;

/// The time zone of a source, or of the file's own retention.
pub(super) fn take_timezone(section: &mut Section<'_>) -> Result<Tz> {
    let zone = section.take_with("timezone", |name| {
        name.parse::<Tz>().map_err(|_| {
            Error::usage(format!("{name:?} is no time zone")).hint("write it like Europe/Berlin or UTC")
        })
    })?;
    Ok(zone.unwrap_or(Tz::UTC))
}

pub(super) fn read(mut section: Section<'_>, timezone: Tz) -> Result<RetentionPolicy> {
    let mut policy = RetentionPolicy::default();
    policy.max_backups = section.take("max-backups")?;
    policy.days = section.take("days")?;
    policy.keep_hourly = section.take("keep-hourly")?;
    policy.keep_daily = section.take("keep-daily")?;
    policy.keep_weekly = section.take("keep-weekly")?;
    policy.keep_monthly = section.take("keep-monthly")?;
    policy.keep_yearly = section.take("keep-yearly")?;
    policy.min_good = section.take("min-good")?;
    policy.keep_tags = section.take_list("keep-tags", str::parse)?;
    policy.timezone = timezone;
    section.finish()?;
    Ok(policy)
}

impl ConfigFile {
    /// Which backups are kept. Sources of which the file says nothing are kept, unless it says something of all others.
    ///
    /// Errors: `Config` if the URL of a source with a retention names no database, or if two sources that a repository cannot tell apart are to be kept differently; `UnknownEngine`.
    pub fn retention(&self) -> Result<Retention> {
        let mut retention = Retention::default();
        retention.others.clone_from(&self.others_retention);
        for (name, source) in &self.sources {
            let Some(policy) = &source.retention else { continue };
            let registry = Registry::linked();
            let factory = registry.by_scheme(&source.url.scheme)?;
            let (engine, database) = (factory.name, (factory.database)(&source.url));
            if database.is_empty() {
                let message = format!(
                    "[source.{name}.retention]: the url of [source.{name}] does not name the database whose backups these are"
                );
                return Err(Error::new(ErrorKind::Config, message)
                    .hint("write its name at the end of the url, as `lifeboat list` shows it"));
            }
            let key = (engine.to_owned(), database.to_owned());
            let before = retention.sources.insert(key, policy.clone());
            if before.is_some_and(|before| before != *policy) {
                let message = format!(
                    "[source.{name}.retention]: another source is a database {database:?} of {engine} too, and has another retention"
                );
                return Err(Error::new(ErrorKind::Config, message)
                    .hint("a repository cannot tell them apart: give them the same, or a repository each"));
            }
        }
        Ok(retention)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(text, Path::new("lifeboat.toml"))
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_policy_is_that_of_the_database_that_the_source_names() {
        let file = parse(
            "[source.shop]\nurl = \"sqlite:/srv/shop.db\"\n[source.shop.retention]\ndays = 7\n\
             [source.other]\nurl = \"sqlite:/srv/other.db\"\n",
        );
        let retention = file.unwrap().retention().unwrap();
        assert_eq!(retention.of("sqlite", "shop.db").unwrap().days, Some(7));
        assert_eq!(retention.of("sqlite", "other.db"), None);
        assert_eq!(parse("").unwrap().retention().unwrap(), Retention::default());
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn two_sources_that_cannot_be_told_apart_have_one_policy() {
        let two = |days: u32| {
            parse(&format!(
                "[source.a]\nurl = \"sqlite:/a/shop.db\"\n[source.a.retention]\ndays = 7\n\
                 [source.b]\nurl = \"sqlite:/b/shop.db\"\n[source.b.retention]\ndays = {days}\n"
            ))
        };
        assert!(two(7).unwrap().retention().is_ok());
        let error = two(8).unwrap().retention().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("shop.db"), "{error}");
    }

    #[cfg(all(feature = "postgres", feature = "mysql"))]
    #[test]
    fn a_policy_goes_with_the_name_that_the_engine_has_for_the_database() {
        let policy = |url: &str| {
            let text = format!("[source.a]\nurl = \"{url}\"\n[source.a.retention]\ndays = 7\n");
            parse(&text).unwrap().retention()
        };
        for (url, engine, database) in [
            ("postgres://me@db/shop", "postgres", "shop"),
            ("postgres:///shop", "postgres", "shop"),
            ("postgres:///a%2Fb", "postgres", "a/b"),
            ("mysql://me@/a%2Fb", "mysql", "a/b"),
        ] {
            assert!(policy(url).unwrap().of(engine, database).is_some(), "{url}");
        }
        // Its name is elsewhere: in a service file, in the environment, or it is the user's.
        for url in ["postgres://me@db", "postgres://me@db/", "postgres:///?service=shop"] {
            let error = policy(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("[source.a.retention]"), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (line, part) in [
            ("max-backups = -1", "max-backups"),
            ("days = \"many\"", "days"),
            ("keep-daly = 7", "did you mean \"keep-daily\"?"),
            ("keep-tags = [\"=x\"]", "keep-tags"),
        ] {
            let error = parse(&format!("[retention]\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("line 2"), "{error}");
        }
        let error = parse("[retention]\ntimezone = \"Berlin\"").unwrap_err().to_string();
        assert!(error.contains("Europe/Berlin"), "{error}");
    }
}
