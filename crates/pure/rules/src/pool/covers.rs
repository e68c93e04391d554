//! Whether a live object already is what is wanted, whatever an API server added to it by default.

use serde_json::Value;

/// Whether every field of `desired` stands in `live` with the same value. Lists must have the same length. An API server
/// leaves out what is empty, and writes quantities in a form of its own.
#[must_use]
pub fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            live.get(key).map_or_else(|| is_empty(wanted), |found| covers(found, wanted))
        }),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        (Value::String(live), Value::String(desired)) => {
            live == desired || amount(live).is_some_and(|it| Some(it) == amount(desired))
        }
        _ => live == desired,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

/// A quantity in billionths: `1`, `1000m` and `1e0` are one amount.
fn amount(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 15] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("m", -1_000),
        ("u", -1_000_000),
        ("n", -1_000_000_000),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1));
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) if factor == 1 => (number, exponent.parse::<i32>().ok()?),
        Some(_) => return None,
        None => (number, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_digits = whole.bytes().chain(fraction.bytes()).any(|byte| byte.is_ascii_digit());
    let is_fine = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !has_digits || !is_fine {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction:0<9}").parse().ok()?;
    let billionths = if factor > 0 { digits.checked_mul(factor)? } else { digits / -factor };
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 { Some(billionths / power) } else { billionths.checked_mul(power) }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn quantities_that_are_the_same_amount_are_equal() {
        const ONE: i128 = 1_000_000_000;
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(ONE)),
            ("1.5", Some(ONE + ONE / 2)),
            ("-1.5", Some(-ONE - ONE / 2)),
            ("1000m", Some(ONE)),
            ("1500u", Some(1_500_000)),
            ("7n", Some(7)),
            ("1e3", Some(1_000 * ONE)),
            ("1E3", Some(1_000 * ONE)),
            ("1500e-3", Some(ONE + ONE / 2)),
            ("1e0", Some(ONE)),
            ("2k", Some(2_000 * ONE)),
            ("2M", Some(2_000_000 * ONE)),
            ("2G", Some(2_000_000_000 * ONE)),
            ("2T", Some(2_000_000_000_000 * ONE)),
            ("2P", Some(2_000_000_000_000_000 * ONE)),
            ("2E", Some(2_000_000_000_000_000_000 * ONE)),
            ("3Ki", Some(3_072 * ONE)),
            ("3Mi", Some(3_145_728 * ONE)),
            ("3Gi", Some(3_221_225_472 * ONE)),
            ("3Ti", Some(3_298_534_883_328 * ONE)),
            ("3Pi", Some(3_377_699_720_527_872 * ONE)),
            ("3Ei", Some(3_458_764_513_820_540_928 * ONE)),
            ("0.123456789", Some(123_456_789)),
            ("0.1234567891", None),
            ("1.-5", None),
            ("1e3Ki", None),
            ("1e3k", None),
            ("1e99", None),
            ("1e", None),
            (".5", Some(ONE / 2)),
            ("", None),
            ("k", None),
            ("Mi", None),
            ("-", None),
            ("-m", None),
            ("x", None),
        ] {
            assert_eq!(amount(text), expected, "{text}");
        }
    }
}
