//! Text that is really a number: an optional minus, at most 18 digits, a fixed number of decimals.
//!
//! Only text that prints back to itself counts: no leading zeros, no `-0`, no `.5`, no `+1`, no `1e3`.

/// The most digits of a number: they always fit an `i64`.
const MAX_DIGITS: usize = 18;
/// The longest text of a number, with its sign and its point; an `i64` of a tagged row has up to 20 characters.
const MAX_TEXT: usize = 24;

const POWERS: [u64; 19] = {
    let mut powers = [1; 19];
    let mut i = 1;
    while i < 19 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// How many decimals `text` has, if it is a number at all.
pub(super) fn scale_of(text: &[u8]) -> Option<u8> {
    if text.len() > MAX_DIGITS + 2 {
        return None;
    }
    let scale = match memchr::memchr(b'.', text) {
        Some(point) => u8::try_from(text.len() - point - 1).ok().filter(|&scale| scale > 0)?,
        None => 0,
    };
    parse(text, 0, text.len(), scale).map(|_| scale)
}

/// Reads `bytes[start..end]` as a number of `scale` decimals, without its point.
#[inline]
pub(super) fn parse(bytes: &[u8], start: usize, end: usize, scale: u8) -> Option<i64> {
    let negative = *bytes.get(start..end)?.first()? == b'-';
    let first = start + usize::from(negative);
    let magnitude = if scale == 0 {
        whole(bytes, first, end)?
    } else {
        let point = end.checked_sub(usize::from(scale) + 1).filter(|&point| point > first)?;
        if *bytes.get(point)? != b'.' || end - first > MAX_DIGITS + 1 {
            return None;
        }
        let decimals = digits(bytes, point + 1, end)?;
        whole(bytes, first, point)? * POWERS.get(usize::from(scale))? + decimals
    };
    match (negative, magnitude) {
        (false, _) => Some(magnitude.cast_signed()),
        (true, 0) => None,
        (true, _) => Some(-magnitude.cast_signed()),
    }
}

/// Digits without a leading zero, or a single zero.
#[inline]
fn whole(bytes: &[u8], start: usize, end: usize) -> Option<u64> {
    if *bytes.get(start)? == b'0' && end - start > 1 {
        return None;
    }
    digits(bytes, start, end)
}

/// One to eighteen digits.
#[inline]
fn digits(bytes: &[u8], start: usize, end: usize) -> Option<u64> {
    let length = end.checked_sub(start)?;
    match length {
        1..=8 => up_to_eight(bytes, end, length),
        9..=16 => Some(up_to_eight(bytes, end - 8, length - 8)? * 100_000_000 + up_to_eight(bytes, end, 8)?),
        17..=MAX_DIGITS => {
            let high = up_to_eight(bytes, end - 16, length - 16)?;
            let middle = up_to_eight(bytes, end - 8, 8)?;
            Some((high * 100_000_000 + middle) * 100_000_000 + up_to_eight(bytes, end, 8)?)
        }
        _ => None,
    }
}

/// The `length` digits, one to eight, that end at `end`, eight at a time: reads the eight bytes before `end` and
/// puts zeros where they are not part of the number.
#[inline]
fn up_to_eight(bytes: &[u8], end: usize, length: usize) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let word = match end.checked_sub(8).and_then(|at| bytes.get(at..end)?.first_chunk::<8>()) {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            for (place, byte) in word.iter_mut().rev().zip(bytes.get(..end)?.iter().rev()) {
                *place = *byte;
            }
            u64::from_le_bytes(word)
        }
    };
    let mask = u64::MAX << (8 * (8 - length as u32 % 8) % 64);
    let word = (word & mask | ZEROS & !mask) ^ ZEROS;
    if (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Pairs of digits, then fours, then all eight: the first digit is in the lowest byte.
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

/// All pairs of digits, one behind the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut i = 0;
    while i < 100 {
        pairs[2 * i] = b'0' + (i / 10) as u8;
        pairs[2 * i + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    pairs
};

/// Appends `value` as text with `scale` decimals, at most 18.
#[inline]
pub(super) fn print(value: i64, scale: u8, out: &mut Vec<u8>) {
    let mut text = [b'0'; MAX_TEXT];
    let mut whole = value.unsigned_abs();
    let mut begin = MAX_TEXT;
    if let Some(power) = POWERS.get(usize::from(scale)).filter(|_| scale > 0) {
        print_before(whole % power, &mut text, begin);
        whole /= power;
        // Leading zeros are there already.
        begin -= usize::from(scale) + 1;
        text[begin] = b'.';
    }
    begin = print_before(whole, &mut text, begin).min(begin - 1);
    if value < 0 {
        begin -= 1;
        text[begin] = b'-';
    }
    out.extend_from_slice(&text[begin..]);
}

/// Writes the digits of `value` so that they end at `end`, and returns where they begin; none for zero.
#[inline]
fn print_before(mut value: u64, text: &mut [u8; MAX_TEXT], mut end: usize) -> usize {
    while value >= 10 {
        let pair = 2 * (value % 100) as usize;
        text[end - 2..end].copy_from_slice(&PAIRS[pair..pair + 2]);
        value /= 100;
        end -= 2;
    }
    if value > 0 {
        end -= 1;
        text[end] = b'0' + value as u8;
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<(i64, u8)> {
        let scale = scale_of(text.as_bytes())?;
        Some((parse(text.as_bytes(), 0, text.len(), scale)?, scale))
    }

    fn printed(value: i64, scale: u8) -> String {
        let mut out = Vec::new();
        print(value, scale, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_read() {
        for (text, value, scale) in [
            ("0", 0, 0),
            ("7", 7, 0),
            ("-7", -7, 0),
            ("12345678", 12_345_678, 0),
            ("123456789", 123_456_789, 0),
            ("999999999999999999", 999_999_999_999_999_999, 0),
            ("-999999999999999999", -999_999_999_999_999_999, 0),
            ("0.05", 5, 2),
            ("-0.05", -5, 2),
            ("19.90", 1990, 2),
            ("0.00", 0, 2),
            ("0.00000000000000001", 1, 17),
            ("-1.00000000000000001", -100_000_000_000_000_001, 17),
        ] {
            assert_eq!(parsed(text), Some((value, scale)), "{text}");
            assert_eq!(printed(value, scale), text);
        }
    }

    #[test]
    fn text_that_would_print_otherwise_is_no_number() {
        for text in [
            "",
            "-",
            ".",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            "1e3",
            " 1",
            "1 ",
            ".5",
            "-.5",
            "5.",
            "00.5",
            "-0.0",
            "1.2.3",
            "--1",
            "1-",
            "1234567890123456789",
            "12345678901234567.89",
            "0.000000000000000001",
            "1/2",
            "1:2",
            "\u{b2}",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn the_widest_integers_print() {
        assert_eq!(printed(i64::MIN, 0), i64::MIN.to_string());
        assert_eq!(printed(i64::MAX, 0), i64::MAX.to_string());
        assert_eq!(printed(i64::MIN, 18), "-9.223372036854775808");
    }

    proptest! {
        #[test]
        fn what_is_read_prints_back_to_itself(text in "[-+]?[0-9]{0,12}[.]?[0-9]{0,10}", before: Vec<u8>, after: Vec<u8>) {
            if let Some((value, scale)) = parsed(&text) {
                prop_assert_eq!(printed(value, scale), text.clone());
                // The bytes around a number are not part of it.
                let all = [before.as_slice(), text.as_bytes(), after.as_slice()].concat();
                prop_assert_eq!(parse(&all, before.len(), before.len() + text.len(), scale), Some(value));
            }
        }

        #[test]
        fn what_is_printed_reads_back(value in -999_999_999_999_999_999i64..=999_999_999_999_999_999, scale in 0u8..17) {
            let text = printed(value, scale);
            prop_assert_eq!(text.parse::<f64>().is_ok(), true);
            if let Some(read) = parsed(&text) {
                prop_assert_eq!(read, (value, scale));
            }
            if scale == 0 {
                prop_assert_eq!(parsed(&text), Some((value, 0)));
            }
        }
    }
}
