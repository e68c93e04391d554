//! Numbers: as they are written, and as they are shown.

use serde_json::Number;

/// From here on not every whole number has a double of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// As JSON writes numbers, or hexadecimal after `0x`, or octal after `0o`.
pub(crate) fn parse(text: &str) -> Option<Number> {
    let prefixed = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        let are_digits = digits.chars().all(|digit| digit.is_digit(radix));
        if are_digits { u64::from_str_radix(digits, radix).ok() } else { None }
    };
    if let Some(number) = prefixed("0x", 16).or_else(|| prefixed("0o", 8)) {
        return Some(number.into());
    }
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let ends = text.ends_with(|last: char| last.is_ascii_digit());
    if !begins || !ends {
        return None;
    }
    let number = serde_json::from_str::<Number>(text).ok()?;
    // serde_json reads fractions to the last bit but one.
    let exact = if number.is_f64() { text.parse().ok().and_then(Number::from_f64) } else { None };
    Some(whole(&exact.unwrap_or(number)))
}

/// `1.0` is the number `1`, and so is `1e0`.
pub(crate) fn whole(number: &Number) -> Number {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < EXACT =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
            Number::from(double as i64)
        }
        _ => number.clone(),
    }
}

/// The shortest text for it.
pub(crate) fn text(number: &Number) -> String {
    let number = whole(number);
    match number.as_f64() {
        Some(double) if number.is_f64() && (double.abs() >= 1e21 || double.abs() < 1e-6) => {
            format!("{double:e}")
        }
        Some(double) if number.is_f64() => format!("{double}"),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn a_number_is_read_and_shown() {
        for (written, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("711", "711"),
            ("-9.2", "-9.2"),
            ("0xff", "255"),
            ("0xFF", "255"),
            ("0o17", "15"),
            ("-2.99e-2", "-0.0299"),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("9007199254740991.0", "9007199254740991"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e21"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("0xffffffffffffffff", "18446744073709551615"),
        ] {
            assert_eq!(parse(written).map(|number| text(&number)).as_deref(), Some(shown));
        }
        for written in [
            "",
            "-",
            "+1",
            ".5",
            "1.",
            "01",
            "1e",
            "1e999",
            "0x",
            "0xg",
            "0x+1",
            "0o8",
            "-0x1",
            " 1",
            "1 ",
            "1_000",
            "NaN",
            "Infinity",
            "0x10000000000000000",
        ] {
            assert_eq!(parse(written), None, "{written}");
        }
    }
}
