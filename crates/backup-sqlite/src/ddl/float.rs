//! Floats as literals that every version of SQLite reads back exactly.

use backup_core::{Error, Result};
use rusqlite::Connection;

use crate::error::Doing;

/// Digits and exponents up to which any way of reading a number is exact: both the digits and the power of ten are
/// floats themselves, so there is only one rounding.
const EXACT_DIGITS: usize = 15;
const EXACT_EXPONENT: i32 = 22;

/// `value` as an expression. Not a number has no literal, and SQLite stores NULL in its place.
pub(crate) fn literal(value: f64, check: &Connection) -> Result<String> {
    if value.is_nan() {
        return Ok("NULL".to_owned());
    }
    if value.is_infinite() {
        return Ok(if value > 0.0 { "9e999" } else { "-9e999" }.to_owned());
    }
    let (shortest, digits, exponent) = scientific(value)?;
    if digits <= EXACT_DIGITS && exponent.abs() <= EXACT_EXPONENT {
        return Ok(shortest);
    }
    // SQLite reads some eighteen digits. So many lie so close to the value that they are read as it, whatever way the
    // rounding goes, where seventeen may not.
    let precise = if digits <= EXACT_DIGITS { shortest } else { format!("{value:.17e}") };
    if reads_back(&precise, value, check)? { Ok(precise) } else { Ok(exact(value)) }
}

/// The shortest literal with a point or exponent in it, the number of its digits, and the exponent of the last of them.
fn scientific(value: f64) -> Result<(String, usize, i32)> {
    let text = format!("{value:e}");
    let parts =
        text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    let (digits, exponent) = parts.ok_or_else(|| Error::internal("a float has no exponent"))?;
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let plain = format!("{value:?}");
    let last = exponent - i32::try_from(fraction).unwrap_or(i32::MAX);
    Ok((if plain.contains('e') { text } else { plain }, count, last))
}

fn reads_back(literal: &str, value: f64, check: &Connection) -> Result<bool> {
    let doing = || "check a number";
    let mut statement = check.prepare_cached("SELECT CAST(?1 AS REAL)").doing(doing)?;
    let found: f64 = statement.query_row([literal], |row| row.get(0)).doing(doing)?;
    Ok(found.to_bits() == value.to_bits())
}

/// A product of numbers that are all exact, by powers of two, none of which rounds: the integer comes first, and the factors lead straight to
/// the value.
fn exact(value: f64) -> String {
    const STEP: i32 = 52;
    let bits = value.to_bits();
    let fraction = bits & ((1 << STEP) - 1);
    let biased = i32::try_from((bits >> STEP) & 0x7ff).unwrap_or(0);
    let (mut integer, mut exponent) =
        if biased == 0 { (fraction, -1074) } else { (fraction | 1 << STEP, biased - 1075) };
    // Without trailing zero bits nothing is lost on the way down to the smallest numbers.
    let zeros = integer.trailing_zeros().min(63);
    integer >>= zeros;
    exponent += zeros.cast_signed();
    let mut text = format!("({}{integer}.0", if value.is_sign_negative() { "-" } else { "" });
    while exponent != 0 {
        let step = exponent.clamp(-STEP, STEP);
        let power = 1u64 << step.unsigned_abs();
        text.push_str(&format!("{}{power}.0", if step > 0 { "*" } else { "/" }));
        exponent -= step;
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evaluated(sql: &str, connection: &Connection) -> f64 {
        connection.query_row(&format!("SELECT {sql}"), (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn ordinary_numbers_are_readable_and_edges_come_back() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(literal(1.5, &connection).unwrap(), "1.5");
        assert_eq!(literal(-3.0, &connection).unwrap(), "-3.0");
        assert_eq!(literal(1e22, &connection).unwrap(), "1e22");
        let edges = [
            0.0,
            -0.0,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.1 + 0.2,
            1e23,
        ];
        for value in edges {
            assert_eq!(
                evaluated(&literal(value, &connection).unwrap(), &connection).to_bits(),
                value.to_bits(),
                "{value:e}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_float_comes_back(value in prop::num::f64::ANY) {
            prop_assume!(!value.is_nan());
            let connection = Connection::open_in_memory().unwrap();
            prop_assert_eq!(evaluated(&literal(value, &connection).unwrap(), &connection).to_bits(), value.to_bits());
            if value.is_finite() {
                prop_assert_eq!(evaluated(&exact(value), &connection).to_bits(), value.to_bits());
            }
        }
    }
}
