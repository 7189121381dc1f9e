//! Columns: how their values are read, and how they are written, so that not a bit changes.

use std::collections::BTreeSet;

use backup_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::ddl::lex::{Token, tokens};
use crate::ddl::quote::identifier;

/// The types of geometries.
pub(crate) const GEOMETRIES: [&str; 9] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
];

/// How the values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Digits, as the server prints them.
    Number,
    /// Digits of a double: as FLOAT or FLOAT(M,D) the server would print six of them, or cut off what D leaves out.
    Float,
    /// ASCII that is not a number: dates.
    Plain,
    /// ASCII that would be taken for something else if it came as bytes: addresses, UUIDs.
    Ascii,
    /// Text whose bytes are UTF-8.
    Text,
    /// Bytes, or text of any other character set.
    Bytes,
    /// The number of an ENUM's member or the bits of a SET, since by their texts two of them could be taken for each other.
    Index,
    /// MySQL's JSON.
    Json,
    /// Nothing: it is a generated column of a table that stores none, which has no more than a number of rows.
    Absent,
    /// When a version of a row ends. One of the present ends in the last moment that its server knows, and another server may know later ones.
    RowEnd,
}

/// A column whose values are backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) kind: Kind,
    pub(crate) default: Option<String>,
}

impl Column {
    /// What is selected to read it: of a FLOAT or DOUBLE the whole double that it is, which the text of the column alone is not. (Added to 0,
    /// a negative zero would be a positive one.)
    pub(crate) fn selected(&self) -> String {
        let name = identifier(&self.name);
        match self.kind {
            Kind::Float => match self.limit() {
                Some(limit) => format!("LEAST(GREATEST({name}*1e0,-{limit:e}),{limit:e})"),
                None => format!("{name}*1e0"),
            },
            Kind::Index => format!("CAST({name} AS UNSIGNED)"),
            Kind::Absent => "NULL".to_owned(),
            // As such, 2000 and 0000 read alike.
            Kind::Plain if self.declared.starts_with("year(2)") => {
                format!("IF(YEAR({name})=1900,'0000',YEAR({name}))")
            }
            _ => name,
        }
    }

    /// The largest value of a FLOAT(M,D) of more digits than a FLOAT has: what is stored for it may be a bit larger, and would be taken
    /// for too large when it comes back.
    fn limit(&self) -> Option<f64> {
        let digits = self.declared.strip_prefix("float(")?.split_once(')')?.0;
        let (all, behind) = digits.split_once(',')?;
        let (all, behind): (i32, i32) = (all.parse().ok()?, behind.parse().ok()?);
        (all > 6).then(|| 10f64.powi(all - behind) - 10f64.powi(-behind))
    }
}

impl Kind {
    /// How a column of the type `data_type`, in full `declared`, travels; an error if nobody taught us the type.
    pub(crate) fn of(
        data_type: &str,
        declared: &str,
        charset: Option<&str>,
        collation: Option<&str>,
    ) -> Result<Self> {
        let text = || match charset {
            Some("utf8" | "utf8mb3" | "utf8mb4" | "ascii") => Self::Text,
            _ => Self::Bytes,
        };
        Ok(match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" => Self::Number,
            "float" | "double" => Self::Float,
            "date" | "time" | "datetime" | "timestamp" | "year" => Self::Plain,
            "inet4" | "inet6" | "uuid" => Self::Ascii,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(),
            "enum" | "set" if has_plain_members(declared) && collation.is_some_and(tells_letters) => text(),
            "enum" | "set" => Self::Index,
            "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
                Self::Bytes
            }
            geometry if GEOMETRIES.contains(&geometry) => Self::Bytes,
            "json" => Self::Json,
            other => {
                return Err(Error::unsupported(format!(
                    "the type {:?} is not known to this version of lifeboat",
                    other
                ))
                .hint("leave the table out (--exclude), or use a newer lifeboat"));
            }
        })
    }
}

/// Whether a collation is known to tell all printable ASCII from each other, but for upper and lower case. Those of some languages do not: in Latin V is a U, in
/// Lithuanian Y an I. Nor do those of some character sets that are older than Unicode: in `macce_general_ci` N is an M.
fn tells_letters(collation: &str) -> bool {
    const CHARSETS: [&str; 8] = ["ascii", "latin1", "utf8", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"];
    const OF_NO_LANGUAGE: [&str; 4] = ["general", "unicode", "0900", "uca1400"];
    const ENDINGS: [&str; 7] = ["520", "nopad", "ai", "as", "ci", "cs", "mysql500"];
    let mut words = collation.split('_');
    if !words.next().is_some_and(|charset| CHARSETS.contains(&charset)) {
        return false;
    }
    let is_general = words.next().is_some_and(|family| OF_NO_LANGUAGE.contains(&family));
    collation.ends_with("_bin")
        || collation == "latin1_swedish_ci"
        || is_general && words.all(|word| ENDINGS.contains(&word))
}

/// Whether the members of an ENUM or SET differ whatever the collation, and none is empty, as the error value is.
fn has_plain_members(declared: &str) -> bool {
    let mut seen = BTreeSet::new();
    let members = tokens(declared).filter_map(|token| match token {
        Token::Text(quoted) => Some(quoted),
        _ => None,
    });
    members.into_iter().all(|quoted| {
        let is_printable = quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let plain = quoted.len() > 2 && is_printable && !quoted.contains('\\');
        plain && seen.insert(quoted.trim_matches('\'').trim_end().to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_members_are_read_by_number() {
        let of =
            |declared: &str| Kind::of("enum", declared, Some("latin1"), Some("latin1_swedish_ci")).unwrap();
        assert_eq!(of("enum('a','b c')"), Kind::Bytes);
        for odd in ["enum('')", "enum('a','A')", "enum('ä')", "enum('a\\\\b')"] {
            assert_eq!(of(odd), Kind::Index, "{odd}");
        }
    }

    #[test]
    fn members_are_read_by_number_where_a_collation_may_take_letters_for_each_other() {
        let of = |collation| Kind::of("enum", "enum('u','v')", Some("utf8mb4"), Some(collation)).unwrap();
        for tells in [
            "utf8mb4_general_ci",
            "utf8mb4_0900_as_cs",
            "utf8mb4_uca1400_nopad_ai_ci",
            "utf8mb4_unicode_520_nopad_ci",
            "utf8mb4_roman_bin",
        ] {
            assert_eq!(of(tells), Kind::Text, "{tells}");
        }
        for not in [
            "utf8mb4_roman_ci",
            "utf8mb4_swedish_ci",
            "utf8mb4_la_0900_ai_ci",
            "utf8mb4_uca1400_roman_ai_ci",
            "utf8mb4_lithuanian_ci",
            "macce_general_ci",
        ] {
            assert_eq!(of(not), Kind::Index, "{not}");
        }
    }

    #[test]
    fn a_float_of_many_digits_stays_below_its_limit() {
        let of = |declared: &str| Column {
            name: "f".into(),
            declared: declared.into(),
            kind: Kind::Float,
            default: None,
        };
        assert_eq!(of("float(30,0)").selected(), "LEAST(GREATEST(`f`*1e0,-1e30),1e30)");
        assert_eq!(
            of("float(9,2) unsigned").selected(),
            "LEAST(GREATEST(`f`*1e0,-9.99999999e6),9.99999999e6)"
        );
        for other in ["float", "float(6,3)", "double(30,0)"] {
            assert_eq!(of(other).selected(), "`f`*1e0", "{other}");
        }
    }

    #[test]
    fn an_unknown_type_is_refused_by_name() {
        let error = Kind::of("hologram", "hologram", None, None).unwrap_err();
        assert!(error.to_string().contains("hologram"));
    }
}
