//! Numbers with units on the command line: times and rates, as `ping`, `tc` and people write them.
//!
//! ```text
//!   seconds          60   60s   5m   24h            whole seconds
//!   microseconds     80ms   0.312ms   500us   1s    as ping prints a round trip; a unit is needed
//!   bits_per_second  10G   2.5G   250Mbit   9600    as tc names rates; steps of 1,000
//! ```
//! `bps` is refused: to some it is bits, to tc it is bytes.

use std::ops::RangeInclusive;

/// Whole seconds within a range; a plain number is of seconds.
pub(super) fn seconds(
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        let units = [("s", 1), ("m", 60), ("h", 3600), ("", 1)];
        let seconds = with_unit(text, &units).and_then(|(digits, factor)| {
            digits.parse::<u32>().ok().filter(|_| is_digits(digits))?.checked_mul(factor)
        });
        let (least, most) = (range.start(), range.end());
        seconds.filter(|seconds| range.contains(seconds)).ok_or_else(|| {
            format!("a whole number of seconds from {least} to {most}, or with s, m, h")
        })
    }
}

/// A rate, in bits a second.
pub(super) fn bits_per_second(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let number =
        lower.strip_suffix("bit/s").or_else(|| lower.strip_suffix("bit")).unwrap_or(&lower);
    let units =
        [("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000), ("t", 1_000_000_000_000), ("", 1)];
    with_unit(number, &units)
        .and_then(|(digits, factor)| product(digits, factor))
        .ok_or_else(|| "a number of bits, or with k, M, G, T: 2.5G, 250Mbit".to_owned())
}

/// A time, in microseconds.
pub(super) fn microseconds(text: &str) -> Result<u64, String> {
    let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
    with_unit(text, &units)
        .and_then(|(digits, factor)| product(digits, factor))
        .ok_or_else(|| "a number with us, ms or s: 80ms, 0.3ms".to_owned())
}

/// What is before the first unit that the text ends in, and the unit's factor.
fn with_unit<'t, F: Copy>(text: &'t str, units: &[(&str, F)]) -> Option<(&'t str, F)> {
    units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
}

/// A decimal number times a factor, to the nearest whole; none, 0 or too large is nothing.
fn product(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Twelve digits are as many as the largest factor has.
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 12 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let factor = u128::from(factor);
    let parts = fraction.parse::<u128>().ok()?.checked_mul(factor)?;
    let whole = whole.parse::<u64>().ok().map(u128::from)?.checked_mul(factor)?;
    let product = whole.checked_add((parts + scale / 2) / scale)?;
    u64::try_from(product).ok().filter(|product| *product > 0)
}

/// `u64::from_str` takes a sign, which is none of a length.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted and caught: the fraction not scaled; a sign taken; the range not asked.
    #[test]
    fn rates_and_times_have_units() {
        let rates = [
            ("10G", 10_000_000_000),
            ("2.5G", 2_500_000_000),
            ("250M", 250_000_000),
            ("250mbit", 250_000_000),
            ("1.5Gbit/s", 1_500_000_000),
            ("9600", 9600),
            ("0.000000000001T", 1),
        ];
        for (text, wanted) in rates {
            assert_eq!(bits_per_second(text), Ok(wanted), "{text}");
        }
        for bad in [
            "",
            "G",
            "0",
            "-1",
            "+1",
            ".5G",
            "5.G",
            "1..5G",
            "10Gbps",
            "99999999999T",
            "ü",
            "bit",
            "0.0000000000001T",
            "1e9",
            "1,5G",
        ] {
            assert!(bits_per_second(bad).is_err(), "{bad}");
        }
        for (text, wanted) in
            [("80ms", 80_000), ("500us", 500), ("1s", 1_000_000), ("0.312ms", 312), ("0.3us", 0)]
        {
            assert_eq!(microseconds(text).ok(), Some(wanted).filter(|us| *us > 0), "{text}");
        }
        for bad in ["", "ms", "80", "0ms", "80 ms", "1h", "+1ms"] {
            assert!(microseconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_are_whole_and_within_their_range() {
        let seconds = seconds(1..=86_400);
        for (text, wanted) in [("60", 60), ("60s", 60), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for bad in
            ["", "s", "0", "-1", "+1", "1.5m", "25h", "86401", "60 s", "1d", "99999999999999h"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(super::seconds(0..=10)("0"), Ok(0));
    }
}
