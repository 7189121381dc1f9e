//! The session in which a view, trigger, routine or event was made, and by whom: it is made anew in the same.

use std::fmt::Write;

use backup_core::Result;
use serde::{Deserialize, Deserializer, Serialize};

use super::Reading;
use super::parameters::OTHER;
use crate::ddl::quote::text;

/// The statement that gives the database of the session another collation.
pub(crate) fn collate(collation: &str) -> String {
    let word: String = collation.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("ALTER DATABASE COLLATE {word}")
}

/// Modes as a session takes them: MariaDB remembers one of a routine or an event by another name, and so do backups that earlier versions made.
fn as_set(modes: &str) -> String {
    let modes =
        modes.split(',').map(|mode| if mode == "INVALID_DATES" { "ALLOW_INVALID_DATES" } else { mode });
    modes.collect::<Vec<_>>().join(",")
}

/// A role has no host, and MariaDB does not always say of it that it has an empty one.
fn as_named(definer: String) -> String {
    definer.strip_suffix('@').map_or_else(|| definer.clone(), str::to_owned)
}

fn modes<'de, D: Deserializer<'de>>(read: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(read)?.map(|modes| as_set(&modes)))
}

/// What belongs to such an object beside its statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Context {
    /// The account that it acts as, as `user@host`, or a role.
    pub(crate) definer: String,
    #[serde(default, deserialize_with = "modes", skip_serializing_if = "Option::is_none")]
    pub(crate) sql_mode: Option<String>,
    pub(crate) charset: String,
    pub(crate) collation: String,
    /// The collation of the database then, which its parameters and variables have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database_collation: Option<String>,
    /// The collation of the database now, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_collation: Option<String>,
    /// The collation that its session gave utf8mb4 where none is said, if it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) utf8mb4: Option<String>,
    /// That of an event's schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_zone: Option<String>,
    /// When an event was made, in seconds since 1970, or a day before its time was over: none could be made behind that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<String>,
}

impl Context {
    /// Reads definer, mode, character set, collation, the database's collation, time zone and time.
    pub(super) fn read(row: &mut Reading) -> Result<Self> {
        Ok(Self {
            definer: as_named(row.maybe()?.unwrap_or_default()),
            sql_mode: row.maybe()?.map(|modes| as_set(&modes)),
            charset: row.maybe()?.unwrap_or_default(),
            collation: row.maybe()?.unwrap_or_default(),
            database_collation: row.maybe()?,
            default_collation: None,
            utf8mb4: None,
            time_zone: row.maybe()?,
            made: row.maybe()?,
        })
    }

    /// Remembers which collation the database has now.
    pub(super) fn note_default(&mut self, collation: &str) {
        if self.database_collation.as_deref().is_some_and(|then| then != collation) {
            self.default_collation = Some(collation.to_owned());
        }
    }

    /// Makes a session be as that one was.
    pub(crate) fn settings(&self) -> String {
        let mut settings =
            format!("SET SESSION sql_mode = {}", text(self.sql_mode.as_deref().unwrap_or_default()));
        settings.push_str(&self.charsets());
        if let Some(zone) = &self.time_zone {
            let _ = write!(settings, ", time_zone = {}", text(zone));
        }
        if let Some(made) = self.made.as_ref().filter(|made| made.parse::<f64>().is_ok()) {
            let _ = write!(settings, ", timestamp = {made}");
        }
        if self.utf8mb4.as_deref() == Some(OTHER) {
            let _ = write!(settings, " /*!80011 , default_collation_for_utf8mb4 = {OTHER} */");
        }
        settings
    }

    /// What makes a session be as others are again, if `settings` does not.
    pub(crate) fn reset(&self) -> Option<&'static str> {
        self.utf8mb4.is_some().then_some("/*!80011 SET SESSION default_collation_for_utf8mb4 = DEFAULT */")
    }

    /// The settings of its character set and collation, each behind a comma.
    pub(crate) fn charsets(&self) -> String {
        let mut settings = String::new();
        let word = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        for (variable, value) in
            [("character_set_client", &self.charset), ("collation_connection", &self.collation)]
        {
            if !value.is_empty() && word(value) {
                let _ = write!(settings, ", {variable} = {value}");
            }
        }
        settings
    }

    /// Whether bytes of its characters may look like ones of ASCII.
    pub(crate) fn hides_ascii(&self) -> bool {
        matches!(self.charset.as_str(), "sjis" | "cp932" | "big5" | "gbk" | "gb18030")
    }

    /// Whether what was written in it is UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        matches!(self.charset.as_str(), "" | "utf8" | "utf8mb3" | "utf8mb4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_earlier_backups_are_said_as_sessions_take_them() {
        let earlier = r#"{"definer": "a@b", "sql-mode": "STRICT_ALL_TABLES,INVALID_DATES", "charset": "", "collation": ""}"#;
        let context: Context = serde_json::from_str(earlier).unwrap();
        assert_eq!(context.settings(), "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'");
        let none: Context =
            serde_json::from_str(r#"{"definer": "", "charset": "", "collation": ""}"#).unwrap();
        assert_eq!(none.sql_mode, None);
    }
}
