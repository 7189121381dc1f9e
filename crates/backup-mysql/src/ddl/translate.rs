//! What one product prints, said so that the other understands it.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Error, Result};

use super::create::CreateTable;
use super::item::Item;
use super::lex::{Token, tokens};
use crate::catalog::context::Context;

/// The languages of MySQL's collations of Unicode 9, and what MariaDB calls them.
const LANGUAGES: [(&str, &str); 20] = [
    ("cs", "czech"),
    ("da", "danish"),
    ("de_pb", "german2"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("es_trad", "spanish2"),
    ("et", "estonian"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("la", "roman"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("pl", "polish"),
    ("ro", "romanian"),
    ("sk", "slovak"),
    ("sl", "slovenian"),
    ("sv", "swedish"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
];

/// Modes that change nothing about what is made here.
const SPARE_MODES: [&str; 5] = [
    "NO_AUTO_CREATE_USER",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "NO_FIELD_OPTIONS",
    "IGNORE_BAD_TABLE_OPTIONS",
];

/// Names that MySQL had before version 8 for several modes, which stand beside them. MariaDB means more by one of them.
pub(crate) const OF_OLD_MYSQL: [&str; 7] =
    ["DB2", "MAXDB", "MSSQL", "MYSQL323", "MYSQL40", "ORACLE", "POSTGRESQL"];

/// Options of tables that MariaDB does not have, and that MySQL does not.
const OF_MYSQL: [&str; 6] = [
    "COMPRESSION",
    "ENCRYPTION",
    "AUTOEXTEND_SIZE",
    "SECONDARY_ENGINE",
    "ENGINE_ATTRIBUTE",
    "SECONDARY_ENGINE_ATTRIBUTE",
];
/// What it does not have of columns, keys and tables and what `information_schema` does not say of tables.
const UNTOLD: [&str; 5] =
    ["COLUMN_FORMAT", "STORAGE", "AUTOEXTEND_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"];
const OF_MARIADB: [&str; 6] =
    ["PAGE_CHECKSUM", "TRANSACTIONAL", "TABLE_CHECKSUM", "PAGE_COMPRESSED", "ENCRYPTED", "IETF_QUOTES"];

/// The types whose defaults MySQL wants in parentheses, whatever they are.
const LONG_TYPES: [&str; 8] =
    ["tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob"];

/// The collation of the other product that is nearest to `name`, whether the server has it or not. Padding is the same.
pub(crate) fn nearest(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("utf8mb4_") {
        let (language, ending) = match rest.split_once("0900_") {
            Some((language, ending)) => (language.trim_end_matches('_'), ending),
            None if rest == "nopad_bin" => return Some("utf8mb4_0900_bin".to_owned()),
            None => return nearest_to_mariadb("utf8mb4", rest),
        };
        return match (language, ending) {
            ("", "bin") => Some("utf8mb4_nopad_bin".to_owned()),
            ("", ending) => Some(format!("utf8mb4_uca1400_nopad_{ending}")),
            (language, ending) => {
                let (_, language) = LANGUAGES.iter().find(|(short, _)| *short == language)?;
                Some(format!("utf8mb4_uca1400_{language}_nopad_{ending}"))
            }
        };
    }
    let (charset, rest) = name.split_once('_')?;
    nearest_to_mariadb(charset, rest)
}

/// The nearest of MariaDB before 10.10, which knows no newer Unicode.
pub(crate) fn in_old_mariadb(name: &str) -> Option<String> {
    let charset = ["_0900_ai_ci", "_uca1400_nopad_ai_ci"].into_iter().find_map(|of| name.strip_suffix(of))?;
    Some(format!("{charset}_unicode_520_nopad_ci"))
}

fn nearest_to_mariadb(charset: &str, rest: &str) -> Option<String> {
    let rest = rest.strip_prefix("uca1400_")?;
    let ending = ["ai_ci", "as_ci", "as_cs"].into_iter().find(|ending| rest.ends_with(ending))?;
    let language = rest.strip_suffix(ending)?.trim_end_matches('_');
    if let Some(language) = language.strip_suffix("nopad") {
        let language = language.trim_end_matches('_');
        if language.is_empty() {
            return Some(format!("{charset}_0900_{ending}"));
        }
        let (language, _) = LANGUAGES.iter().find(|(_, long)| *long == language)?;
        return Some(format!("{charset}_{language}_0900_{ending}"));
    }
    // Those that ignore spaces at the end are of an older Unicode.
    match (language, ending) {
        ("", "ai_ci") => Some(format!("{charset}_unicode_520_ci")),
        (language, "ai_ci") => Some(format!("{charset}_{language}_ci")),
        _ => None,
    }
}

/// How statements and sessions of one server are said to another.
#[derive(Debug)]
pub(crate) struct Translation {
    /// To MariaDB from MySQL, or the other way; none if both are of one product.
    to_mariadb: Option<bool>,
    collations: BTreeMap<String, String>,
    without_modes: BTreeSet<String>,
}

impl Translation {
    pub(crate) fn new(to_mariadb: Option<bool>) -> Self {
        Self { to_mariadb, collations: BTreeMap::new(), without_modes: BTreeSet::new() }
    }

    /// One collation is another there.
    pub(crate) fn collation(&mut self, name: &str, there: &str) {
        self.collations.insert(name.to_owned(), there.to_owned());
    }

    /// Leaves a mode out, if it may be.
    pub(crate) fn without_mode(&mut self, name: &str) -> bool {
        let may = SPARE_MODES.contains(&name);
        if may {
            self.leave_out_mode(name);
        }
        may
    }

    pub(crate) fn leave_out_mode(&mut self, name: &str) {
        self.without_modes.insert(name.to_owned());
    }

    /// Whether a collation becomes another than the same under another name.
    pub(crate) fn compares_otherwise(&self) -> bool {
        let rest = |name: &str| name.split_once('_').map(|(_, rest)| rest.to_owned());
        self.collations.iter().any(|(name, there)| rest(name) != rest(there))
    }

    /// The session in which an object is made.
    pub(crate) fn context(&self, context: &Context) -> Context {
        let collation = |name: &String| self.collations.get(name).unwrap_or(name).clone();
        let mut context = context.clone();
        context.collation = collation(&context.collation);
        context.database_collation = context.database_collation.as_ref().map(collation);
        context.default_collation = context.default_collation.as_ref().map(collation);
        let modes = context.sql_mode.as_deref().unwrap_or_default().split(',');
        let modes: Vec<_> = modes.filter(|mode| !self.without_modes.contains(*mode)).collect();
        context.sql_mode = context.sql_mode.is_some().then(|| modes.join(","));
        context
    }

    /// The statement of a view or a program: the names of collations in it. What is not UTF-8 stays as it is.
    pub(crate) fn program(&self, sql: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(sql) {
            Ok(sql) => self.collations_in(&sql).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    /// The statement of a table, of its keys, or of the defaults of the database; and what is left out of it that no `Want` has told of.
    pub(crate) fn table(&self, sql: Vec<u8>) -> Result<(Vec<u8>, BTreeSet<String>)> {
        let mut left_out = BTreeSet::new();
        let Ok(text) = std::str::from_utf8(&sql) else { return Ok((sql, left_out)) };
        let text = self.collations_in(text);
        let text = match self.to_mariadb {
            None => text,
            Some(true) => for_mariadb(&text, &mut left_out)?,
            Some(false) => for_mysql(&text)?,
        };
        Ok((text.into_bytes(), left_out))
    }

    fn collations_in(&self, sql: &str) -> String {
        let there = |token: Token<'_>| match token {
            Token::Word(word) => self.collations.get(&word.to_ascii_lowercase()).cloned(),
            _ => None,
        };
        tokens(sql).map(|token| there(token).unwrap_or_else(|| token.as_str().to_owned())).collect()
    }
}

fn for_mariadb(sql: &str, left_out: &mut BTreeSet<String>) -> Result<String> {
    let sql = if sql.starts_with("CREATE TABLE") {
        // What is not enforced is only said.
        CreateTable::parse(sql)?
            .with_items(|item| (!item.trim_end().ends_with("NOT ENFORCED */")).then(|| item.to_owned()))
    } else {
        sql.to_owned()
    };
    let all: Vec<_> = tokens(&sql).collect();
    let (mut said, mut at) = (String::new(), 0);
    while let Some(token) = all.get(at) {
        if let Some((version, length)) = for_versions(all.get(at..).unwrap_or_default()) {
            let comment = all.get(at..at + length).unwrap_or_default();
            let inside = comment.get(4..length.saturating_sub(2)).unwrap_or_default();
            let inside: String = inside.iter().map(|token| token.as_str()).collect();
            let inside = inside.trim();
            // The value of an option stands behind a space, or none.
            let word = inside.split(['=', ' ']).next().unwrap_or_default();
            match (version, word) {
                // MariaDB runs these.
                (..50_700, _) => said.extend(comment.iter().map(|token| token.as_str())),
                (80_000, "INVISIBLE") => said.push_str("IGNORED"),
                (_, "INVISIBLE") => said.push_str("INVISIBLE"),
                (_, word) if UNTOLD.contains(&word) => _ = left_out.insert(word.to_owned()),
                (_, word) if word == "SRID" || OF_MYSQL.contains(&word) => {}
                _ => {
                    let message = format!(
                        "MySQL says {} of a table, which lifeboat cannot say to MariaDB",
                        inside.escape_debug()
                    );
                    return Err(Error::unsupported(message).hint("leave the table out (--table)"));
                }
            }
            at += length;
            continue;
        }
        if token.is("geomcollection") {
            said.push_str("geometrycollection");
        } else if is_option(all.get(at..).unwrap_or_default(), &OF_MYSQL) {
            at += 3;
            continue;
        } else if matches!(all.get(at..at + 3), Some([not, Token::Space(_), word]) if not.is("NOT") && word.is("SECONDARY"))
        {
            left_out.insert("NOT SECONDARY".to_owned());
            at += 3;
            continue;
        } else {
            said.push_str(token.as_str());
        }
        at += 1;
    }
    Ok(said)
}

fn for_mysql(sql: &str) -> Result<String> {
    let is_table = sql.starts_with("CREATE TABLE");
    let sql = if is_table {
        CreateTable::parse(sql)?.with_items(|item| Some(default_in_parentheses(item)))
    } else {
        sql.to_owned()
    };
    let all: Vec<_> = tokens(&sql).collect();
    let (mut said, mut at, mut depth) = (String::new(), 0, 0usize);
    while let Some(token) = all.get(at) {
        let behind = all.get(at..).unwrap_or_default();
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_named_option = is_table
            && depth == 0
            && matches!(behind, [Token::Name(_), Token::Other("="), Token::Text(_) | Token::Word(_), ..]);
        if is_named_option || depth == 0 && is_option(behind, &OF_MARIADB) {
            at += 3;
            continue;
        }
        if sql.starts_with("ALTER DATABASE") && token.is("COMMENT") {
            break;
        }
        said.push_str(if token.is("IGNORED") { "INVISIBLE" } else { token.as_str() });
        at += 1;
    }
    Ok(said)
}

/// A comment that only some versions run: since which, and how many tokens it has.
fn for_versions(all: &[Token<'_>]) -> Option<(u32, usize)> {
    let [Token::Other("/"), Token::Other("*"), Token::Other("!"), Token::Word(version), ..] = all else {
        return None;
    };
    let end =
        all.windows(2).skip(3).position(|pair| matches!(pair, [Token::Other("*"), Token::Other("/")]))?;
    Some((version.parse().ok()?, end + 5))
}

/// Whether an option with its value begins here.
fn is_option(all: &[Token<'_>], options: &[&str]) -> bool {
    let [Token::Word(name), Token::Other("="), Token::Text(_) | Token::Word(_), ..] = all else {
        return false;
    };
    options.iter().any(|option| name.eq_ignore_ascii_case(option))
}

/// A column as MySQL has it: a default that is calculated, or that is of a long text, is in parentheses.
fn default_in_parentheses(item: &str) -> String {
    let all: Vec<_> = tokens(item).collect();
    let words = Item::parse(item).words();
    let [(_, Token::Name(_)), (_, Token::Word(data_type)), said @ ..] = words.as_slice() else {
        return item.to_owned();
    };
    let default = said.iter().find(|(_, word)| word.is("DEFAULT"));
    let Some(start) = default.map(|(default, _)| default + 2) else { return item.to_owned() };
    let Some(end) = value_end(all.get(start..).unwrap_or_default()).map(|length| start + length) else {
        return item.to_owned();
    };
    let value: String = all.iter().take(end).skip(start).map(|token| token.as_str()).collect();
    let is_call = value.ends_with(')');
    let is_now = value.to_ascii_lowercase().starts_with("current_timestamp")
        && ["timestamp", "datetime"].iter().any(|of_time| data_type.eq_ignore_ascii_case(of_time));
    let is_long = LONG_TYPES.iter().any(|long| data_type.eq_ignore_ascii_case(long));
    let is_plain = is_now || !is_call && !is_long && !value.starts_with('`');
    if is_plain || value.starts_with('(') || value.eq_ignore_ascii_case("NULL") {
        return item.to_owned();
    }
    let text = |part: &[Token<'_>]| part.iter().map(|token| token.as_str()).collect::<String>();
    let (before, behind) = (all.get(..start).unwrap_or_default(), all.get(end..).unwrap_or_default());
    format!("{}({value}){}", text(before), text(behind))
}

/// How many tokens the value has that begins here: something in parentheses, a call, or a literal with what stands before it.
fn value_end(all: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in all.iter().enumerate() {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.checked_sub(1)?,
            _ => {}
        }
        let goes_on = matches!(all.get(at + 1), Some(Token::Other(_) | Token::Text(_) | Token::Word(_)));
        if depth == 0 && !goes_on {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collation_has_its_nearest_that_pads_alike() {
        for (name, near) in [
            ("utf8mb4_0900_ai_ci", "utf8mb4_uca1400_nopad_ai_ci"),
            ("utf8mb4_de_pb_0900_as_cs", "utf8mb4_uca1400_german2_nopad_as_cs"),
            ("utf8mb4_0900_bin", "utf8mb4_nopad_bin"),
            ("utf8mb4_nopad_bin", "utf8mb4_0900_bin"),
            ("utf8mb4_uca1400_ai_ci", "utf8mb4_unicode_520_ci"),
            ("utf8mb3_uca1400_swedish_ai_ci", "utf8mb3_swedish_ci"),
            ("utf8mb4_uca1400_swedish_nopad_as_cs", "utf8mb4_sv_0900_as_cs"),
        ] {
            assert_eq!(nearest(name).as_deref(), Some(near), "{name}");
        }
        for none in
            ["utf8mb4_uca1400_as_cs", "latin1_swedish_nopad_ci", "utf8mb4_ja_0900_as_cs", "gb18030_bin"]
        {
            assert_eq!(nearest(none), None, "{none}");
        }
    }

    #[test]
    fn a_table_of_mysql_is_said_to_mariadb() {
        let mut translation = Translation::new(Some(true));
        translation.collation("utf8mb4_0900_ai_ci", "utf8mb4_uca1400_nopad_ai_ci");
        let sql = "CREATE TABLE `t` (\n  `a` varchar(10) COLLATE utf8mb4_0900_ai_ci DEFAULT 'utf8mb4_0900_ai_ci' /*!80023 INVISIBLE */,\n  `g` geomcollection NOT NULL /*!80003 SRID 4326 */,\n  KEY `k` (`a`) /*!80000 INVISIBLE */,\n  CONSTRAINT `c` CHECK ((`a` > 1)) /*!80016 NOT ENFORCED */\n) ENGINE=InnoDB COMPRESSION='zlib' COMMENT='/*!80023 x */'\n/*!50100 PARTITION BY HASH (`a`) */";
        let said = String::from_utf8(translation.table(sql.into()).unwrap().0).unwrap();
        assert_eq!(
            said,
            "CREATE TABLE `t` (\n  `a` varchar(10) COLLATE utf8mb4_uca1400_nopad_ai_ci DEFAULT 'utf8mb4_0900_ai_ci' INVISIBLE,\n  `g` geometrycollection NOT NULL ,\n  KEY `k` (`a`) IGNORED) ENGINE=InnoDB  COMMENT='/*!80023 x */'\n/*!50100 PARTITION BY HASH (`a`) */"
        );
        let sql = "CREATE TABLE `a` (\n  `d` int NOT SECONDARY DEFAULT NULL /*!80021 SECONDARY_ENGINE_ATTRIBUTE '{\"x\": \"*/ 2\"}' */,\n  KEY `d` (`d`) /*!80021 ENGINE_ATTRIBUTE '{}' */,\n  CHECK ((`d` <> 'NOT SECONDARY'))\n) /*!80023 AUTOEXTEND_SIZE=4194304 */ ENGINE=InnoDB /*!80016 ENCRYPTION='N' */ SECONDARY_ENGINE=rapid /*!80021 SECONDARY_ENGINE_ATTRIBUTE='{\"s\": \"it''s\"}' */ COMMENT='x'";
        let (said, left_out) = translation.table(sql.into()).unwrap();
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "CREATE TABLE `a` (\n  `d` int  DEFAULT NULL ,\n  KEY `d` (`d`) ,\n  CHECK ((`d` <> 'NOT SECONDARY'))\n)  ENGINE=InnoDB    COMMENT='x'"
        );
        let left_out: Vec<_> = left_out.iter().map(String::as_str).collect();
        assert_eq!(
            left_out,
            ["AUTOEXTEND_SIZE", "ENGINE_ATTRIBUTE", "NOT SECONDARY", "SECONDARY_ENGINE_ATTRIBUTE"]
        );
        let strange = "ALTER TABLE `t` ADD KEY `k` (`a`) /*!99999 SPLENDID */";
        assert!(translation.table(strange.into()).unwrap_err().to_string().contains("SPLENDID"));
    }

    #[test]
    fn a_table_of_mariadb_is_said_to_mysql() {
        let translation = Translation::new(Some(false));
        let sql = "CREATE TABLE `t` (\n  `a` char(36) DEFAULT uuid() COMMENT 'DEFAULT f()',\n  `b` text DEFAULT 'x',\n  `c` int(11) DEFAULT (1 + 2) CHECK (`c` > 1),\n  `d` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(),\n  `e` bit(3) DEFAULT b'101',\n  `f` int(11) DEFAULT -3,\n  `g` text DEFAULT NULL,\n  `h` text DEFAULT concat(`b`,'x)'),\n  KEY `k` (`e`) IGNORED\n) ENGINE=InnoDB `page_compressed`='1' PAGE_CHECKSUM=1 COMMENT='x'";
        let said = String::from_utf8(translation.table(sql.into()).unwrap().0).unwrap();
        assert_eq!(
            said,
            "CREATE TABLE `t` (\n  `a` char(36) DEFAULT (uuid()) COMMENT 'DEFAULT f()',\n  `b` text DEFAULT ('x'),\n  `c` int(11) DEFAULT (1 + 2) CHECK (`c` > 1),\n  `d` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(),\n  `e` bit(3) DEFAULT b'101',\n  `f` int(11) DEFAULT -3,\n  `g` text DEFAULT NULL,\n  `h` text DEFAULT (concat(`b`,'x)')),\n  KEY `k` (`e`) INVISIBLE\n) ENGINE=InnoDB   COMMENT='x'"
        );
        let defaults = "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin COMMENT 'x'";
        let (said, _) = translation.table(defaults.into()).unwrap();
        assert_eq!(said, b"ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin ");
    }
}
