//! Numbers, sizes and times as people read them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;

/// `1.20 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `0.4 s`, `12.3 s`, `3 min 5 s`, `2 h 4 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `85.00 MiB/s`.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-3);
    format!("{}/s", size((bytes as f64 / seconds) as u64))
}

/// `2025-01-31 02:00:07`, in UTC.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The word that stands for `value` in JSON, such as `binary` for a format.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_counts_rates_and_durations_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(3 << 29), "1.50 GiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.00 MiB/s");
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(duration(Duration::from_secs(7500)), "2 h 5 min");
    }

    #[test]
    fn times_are_utc_and_words_are_those_of_json() {
        let at: DateTime<Utc> = "2025-01-31T03:00:07+01:00".parse().unwrap();
        assert_eq!(time(at), "2025-01-31 02:00:07");
        assert_eq!(word(&lifeboat::Format::Binary), "binary");
    }
}
