//! Scales: the values of a key column as numbers, so that a range of them can be halved. A bound is a number on a scale, as a literal of SQL.
//!
//! Where bounds lie is for balance alone. That no row falls between two parts, or into both, rests on the server's own order (see `split`).

use super::table::KeyColumn;
use crate::ddl::quote::{bytes, text};

/// Maps the values between two of a column to numbers, in about the server's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scale {
    /// Digits, of which the last so many are behind the point.
    Number { decimals: usize },
    /// Days, of months that have 31 of them.
    Date,
    /// Seconds of such days.
    DateTime,
    /// Bytes behind those that all values have in common.
    Bytes { common: Vec<u8> },
    /// Letters and digits behind the text that all values have in common.
    Text { common: String, digits: &'static str, collated: String },
}

/// How many bytes behind the common ones are looked at.
const BYTES: usize = 12;
/// How many letters and digits: as many as 96 bits have room for.
const LETTERS: usize = 16;
/// In the order of nearly every collation. Where it is another, bounds are left out.
const FOLDED: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const BINARY: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A stretch of a scale: from a number up to, and without, another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) scale: Scale,
    pub(super) from: i128,
    pub(super) to: i128,
}

impl Stretch {
    /// One that has the values `least` and `most` of a column in it, as [`selected`] gives them out; nothing if it has no scale.
    pub(super) fn of(column: &KeyColumn, least: &str, most: &str) -> Option<Self> {
        let scale = match column.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "bit" => {
                Scale::Number { decimals: least.split_once('.').map_or(0, |(_, behind)| behind.len()) }
            }
            "date" => Scale::Date,
            "datetime" | "timestamp" => Scale::DateTime,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                let (least, most) = (unhex(least)?, unhex(most)?);
                let common = least.iter().zip(&most).take_while(|(a, b)| a == b).map(|(byte, _)| *byte);
                Scale::Bytes { common: common.collect() }
            }
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                let common = least.chars().zip(most.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c);
                let digits = if column.collation.ends_with("_bin") { BINARY } else { FOLDED };
                Scale::Text { common: common.collect(), digits, collated: column.collated() }
            }
            _ => return None,
        };
        let (from, to) = (scale.place(least)?, scale.place(most)?.checked_add(1)?);
        (from < to).then_some(Self { scale, from, to })
    }

    /// The roundest number within, by which it is halved: always the same for what lies around it, wherever the stretch begins and ends.
    pub(super) fn middle(&self) -> Option<i128> {
        let last = self.to.checked_sub(1)?;
        if self.from >= last {
            return None;
        }
        if self.from < 0 && last >= 0 {
            return Some(0);
        }
        // By the first digit in which its ends differ.
        let base = self.scale.base();
        let (mut unit, mut from, mut last) = (1, self.from, last);
        while from.div_euclid(base) != last.div_euclid(base) {
            (from, last, unit) = (from.div_euclid(base), last.div_euclid(base), unit * base);
        }
        // Of its values, the one that is divided by the largest power of two.
        let differs = 127 - (from ^ last).leading_zeros();
        Some((last & (-1i128).checked_shl(differs)?) * unit)
    }

    pub(super) fn before(&self, place: i128) -> Self {
        Self { to: place, ..self.clone() }
    }

    pub(super) fn behind(&self, place: i128) -> Self {
        Self { from: place, ..self.clone() }
    }
}

/// What is selected to read the value of a column.
pub(super) fn selected(column: &KeyColumn, name: &str) -> String {
    match column.data_type.as_str() {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => format!("HEX({name})"),
        "bit" | "enum" | "set" => format!("{name}+0"),
        _ => name.to_owned(),
    }
}

/// A value as a literal; nothing if the column is of a type that is compared otherwise.
pub(super) fn literal(column: &KeyColumn, value: &str) -> Option<String> {
    let is_number =
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "bit" | "enum" | "set"
            if is_number =>
        {
            value.to_owned()
        }
        "date" | "datetime" | "timestamp" => text(value),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => bytes(&unhex(value)?),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            collated(value, &column.collated())
        }
        _ => return None,
    })
}

/// A text that is compared as the column is.
fn collated(text: &str, collated: &str) -> String {
    collated.replacen('?', &bytes(text.as_bytes()), 1)
}

impl Scale {
    /// Of how many digits a round number is made of.
    fn base(&self) -> i128 {
        match self {
            Self::Text { digits, .. } => digits.len() as i128,
            _ => 2,
        }
    }

    /// Where a value lies.
    fn place(&self, value: &str) -> Option<i128> {
        match self {
            Self::Number { decimals } => {
                let (before, behind) = value.split_once('.').unwrap_or((value, ""));
                (behind.len() == *decimals).then_some(())?;
                format!("{before}{behind}").parse().ok()
            }
            Self::Date => day(value),
            Self::DateTime => {
                let (date, time) = value.split_once(' ')?;
                let mut fields = time.split(['.', ':']).map(str::parse::<u16>);
                let mut next = || fields.next()?.ok().map(i128::from);
                Some(day(date)? * 86_400 + next()? * 3600 + next()? * 60 + next()?)
            }
            Self::Bytes { common } => {
                let value = unhex(value)?;
                let behind = value.get(common.len()..)?.iter().copied().chain(std::iter::repeat(0));
                Some(behind.take(BYTES).fold(0, |place, byte| place << 8 | i128::from(byte)))
            }
            Self::Text { common, digits, .. } => {
                let behind = value.strip_prefix(common.as_str())?;
                let digit = |c: char| {
                    let c = if *digits == FOLDED { c.to_ascii_lowercase() } else { c };
                    digits.chars().position(|digit| digit >= c).unwrap_or(digits.len() - 1)
                };
                let behind = behind.chars().map(digit).chain(std::iter::repeat(0));
                Some(
                    behind.take(LETTERS).fold(0, |place, digit| place * digits.len() as i128 + digit as i128),
                )
            }
        }
    }

    /// What lies at a place.
    pub(super) fn literal(&self, place: i128) -> String {
        match self {
            Self::Number { decimals: 0 } => place.to_string(),
            Self::Number { decimals } => {
                let digits = format!("{:0>width$}", place.unsigned_abs(), width = decimals + 1);
                let (before, behind) = digits.split_at(digits.len() - decimals);
                format!("{}{before}.{behind}", if place < 0 { "-" } else { "" })
            }
            Self::Date => text(&date(place)),
            Self::DateTime => {
                let (day, second) = (place.div_euclid(86_400), place.rem_euclid(86_400));
                let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
                text(&format!("{} {hour:02}:{minute:02}:{second:02}", date(day)))
            }
            Self::Bytes { common } => {
                let behind = place.to_be_bytes();
                let behind = behind.get(behind.len() - BYTES..).unwrap_or_default();
                let used = behind.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes(&[common, behind.get(..used).unwrap_or_default()].concat())
            }
            Self::Text { common, digits, collated: form } => {
                let base = digits.len() as i128;
                let (mut behind, mut rest) = (Vec::new(), place);
                for _ in 0..LETTERS {
                    let digit = usize::try_from(rest.rem_euclid(base)).unwrap_or(0);
                    behind.extend(digits.chars().nth(digit));
                    rest = rest.div_euclid(base);
                }
                let behind: String = behind.into_iter().rev().collect();
                collated(&format!("{common}{}", behind.trim_end_matches('0')), form)
            }
        }
    }
}

/// The number of a day, whatever date it is: years of twelve months of 31 days.
fn day(date: &str) -> Option<i128> {
    let mut fields = date.split('-').map(str::parse::<u16>);
    let mut next = || fields.next()?.ok().map(i128::from);
    let (year, month, day) = (next()?, next()?, next()?);
    Some(year * 372 + (month - 1).max(0) * 31 + (day - 1).max(0))
}

/// A date that every month has.
fn date(day: i128) -> String {
    let (year, month, day) = (day.div_euclid(372), day.rem_euclid(372) / 31 + 1, day.rem_euclid(31) + 1);
    format!("{year:04}-{month:02}-{:02}", day.min(28))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().try_fold(0, |byte, d| Some(byte << 4 | digit(*d)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(data_type: &str, collation: &str) -> KeyColumn {
        KeyColumn {
            name: "k".into(),
            data_type: data_type.into(),
            charset: "utf8mb4".into(),
            collation: collation.into(),
        }
    }

    proptest! {
        #[test]
        fn the_middle_is_within_and_the_same_wherever_the_ends_are(
            a: i64, b: i64, less in 0i128..100, more in 0i128..100,
        ) {
            let (from, to) = (i128::from(a.min(b)), i128::from(a.max(b)));
            let stretch = |from, to| Stretch { scale: Scale::Date, from, to };
            if let Some(middle) = stretch(from, to).middle() {
                prop_assert!(from < middle && middle < to);
                let (nearer, later) = ((from + less).min(middle - 1), (to - more).max(middle + 1));
                prop_assert_eq!(stretch(nearer, later).middle(), Some(middle));
            } else {
                prop_assert!(to - from < 2);
            }
        }

        #[test]
        fn numbers_lie_where_they_are(value: i64, decimals in 0usize..6) {
            let scale = Scale::Number { decimals };
            prop_assert_eq!(scale.place(&scale.literal(value.into())), Some(value.into()));
        }

        #[test]
        fn bounds_among_texts_and_bytes_are_in_order(a in "[a-z0-9]{1,20}", b in "[a-z0-9]{1,20}") {
            prop_assume!(a < b);
            for data_type in ["varchar", "varbinary"] {
                let column = column(data_type, "utf8mb4_bin");
                let value = |text: &str| match data_type {
                    "varchar" => text.to_owned(),
                    _ => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
                };
                let Some(stretch) = Stretch::of(&column, &value(&a), &value(&b)) else { continue };
                if let Some(middle) = stretch.middle() {
                    let bound = stretch.scale.literal(middle);
                    // Both are written in hexadecimal digits.
                    prop_assert!(literal(&column, &value(&a)).unwrap() < bound);
                    prop_assert!(bound <= literal(&column, &value(&b)).unwrap());
                }
            }
        }

        #[test]
        fn no_value_makes_it_panic(least: String, most: String, place: i128) {
            for data_type in ["int", "decimal", "date", "datetime", "varbinary", "varchar", "enum"] {
                let column = column(data_type, "utf8mb4_general_ci");
                let _ = literal(&column, &least);
                if let Some(stretch) = Stretch::of(&column, &least, &most) {
                    stretch.middle();
                    stretch.scale.literal(place);
                }
            }
        }
    }

    #[test]
    fn bounds_are_round() {
        let middle = |data_type: &str, least: &str, most: &str| {
            let stretch = Stretch::of(&column(data_type, "utf8mb4_bin"), least, most).unwrap();
            stretch.scale.literal(stretch.middle().unwrap())
        };
        assert_eq!(middle("bigint", "5", "3000000"), "2097152");
        assert_eq!(middle("bigint", "-7", "3"), "0");
        assert_eq!(middle("decimal", "-1.25", "-1.00"), "-1.12");
        assert_eq!(middle("varbinary", "00FF", "00FF9012"), "X'00FF80'");
        assert_eq!(middle("date", "0000-00-00", "2020-02-31"), "'1409-05-17'");
        assert_eq!(
            middle("datetime", "2020-02-01 00:00:00", "2020-02-01 23:59:59.9"),
            "'2020-02-01 21:09:20'"
        );
        assert!(middle("varchar", "item-000001", "item-900000").contains(&bytes(b"item-8")));
    }
}
