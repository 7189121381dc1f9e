//! Rates: so many bytes a second, as people write them.

use backup_core::{Error, Result};

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// The bytes a second that `text` says: `50MiB/s`, `1.5 GB/s`, `800000`. The `/s` may be left out, and the case of
/// letters does not matter.
pub fn parse_rate(text: &str) -> Result<u64> {
    let malformed = |why: &str| {
        Error::usage(format!("{text:?} is no rate: {why}")).hint("write it like 50MiB/s, 800KB/s or 1.5GiB/s")
    };
    let amount = text.trim().strip_suffix("/s").unwrap_or(text.trim()).trim_end();
    let digits = amount.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let number: f64 = number.parse().map_err(|_| malformed("it does not begin with a number"))?;
    let unit = unit.trim_start();
    let &(_, factor) = (UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)))
        .ok_or_else(|| malformed("its unit is none of B, KB, MB, GB, KiB, MiB, GiB"))?;
    let bytes = number * factor as f64;
    // Above 2^53 a float no longer holds every integer; no disk or network is that fast.
    match bytes {
        bytes if bytes > 9e15 => Err(malformed("it is too large")),
        bytes if bytes < 1.0 => Err(malformed("nothing would ever be done")),
        bytes => Ok(bytes as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("50MiB/s", 50 << 20),
            ("50 mib/s", 50 << 20),
            ("1.5GiB", 3 << 29),
            ("800KB/s", 800_000),
            ("800000", 800_000),
            ("1B/s", 1),
        ] {
            assert_eq!(parse_rate(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in
            ["", "fast", "50MiB/h", "50Mbit/s", "-1MB", "0", "0MiB/s", "1e9", "1.2.3", "inf", "99999999999GB"]
        {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
    }
}
