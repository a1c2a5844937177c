//! Amounts of euros: whole millionths, exact, never floating-point numbers.

/// Millionths in one.
pub const ONE: i64 = 1_000_000;

/// Decimals that an amount can have.
const DECIMALS: usize = 6;
/// The largest amount that is read: a thousand million euros.
const MOST: i64 = 1_000_000_000 * ONE;

/// Reads `4.79`, `0.2177` or `-20`: at most six decimals behind a point. `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, decimals) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(both) => both,
        None => (digits, ""),
    };
    let are_digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || decimals.len() > DECIMALS || !are_digits(whole) || !are_digits(decimals)
    {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let part: i64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
    let amount = whole.checked_mul(ONE)?.checked_add(part)?;
    (amount <= MOST).then_some(sign * amount)
}

/// Writes an amount with two decimals, or with as many more as it has.
#[must_use]
pub fn format(micros: i64) -> String {
    let one = ONE.unsigned_abs();
    let (whole, part) = (micros.unsigned_abs() / one, micros.unsigned_abs() % one);
    let decimals = format!("{part:0>DECIMALS$}");
    let kept = decimals.trim_end_matches('0').len().max(2);
    let sign = if micros < 0 { "-" } else { "" };
    format!("{sign}{whole}.{}", &decimals[..kept])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amount_is_read_and_written_to_the_last_decimal() {
        for (text, micros, written) in [
            ("4.79", 4_790_000, "4.79"),
            ("0.2177", 217_700, "0.2177"),
            ("20", 20_000_000, "20.00"),
            ("0.000001", 1, "0.000001"),
            ("-1.5", -1_500_000, "-1.50"),
            ("0", 0, "0.00"),
            ("007.10", 7_100_000, "7.10"),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
            assert_eq!(format(micros), written);
        }
    }

    #[test]
    fn what_is_no_amount_is_not_read() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1,5",
            "1.0000001",
            "1e3",
            "+1",
            " 1",
            "1 ",
            "--1",
            "1.-5",
            "1_000",
            "1.5.0",
            "NaN",
            "inf",
            "\u{0661}",
            "9999999999",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_is_read_as_it_was_written(micros in -MOST..=MOST) {
            prop_assert_eq!(parse(&format(micros)), Some(micros));
        }
    }
}
