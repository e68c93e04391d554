//! Durations and timestamps in the text forms that rules and formats accept.
use jiff::Timestamp;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of a duration such as `1h30m`, `1.5s` or `-2ms`.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = component(rest)?;
        total += nanos;
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One `number unit` pair and what follows it.
fn component(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let unit = UNITS.iter().find(|(name, _)| *name == &rest[..end])?.1;
    let mut nanos =
        if whole.is_empty() { 0 } else { whole.parse::<i64>().map(i128::from).ok()? * unit };
    let mut scale = unit;
    for digit in fraction.bytes().take(18) {
        scale /= 10;
        nanos += i128::from(digit - b'0') * scale;
    }
    Some((nanos, &rest[end..]))
}

/// A duration in words, such as `2 days` or `3 hours 5 min`: whatever pairs of number and unit the text holds.
pub fn parse_spoken_duration(text: &str) -> Option<i64> {
    const DAY: i128 = 86_400_000_000_000;
    const EXACT: [(&str, i128); 14] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("hr", 3_600_000_000_000),
        ("d", DAY),
        ("w", 7 * DAY),
        ("hour", 3_600_000_000_000),
        ("day", DAY),
        ("week", 7 * DAY),
        ("wk", 7 * DAY),
    ];
    const PREFIXES: [(&str, i128); 8] = [
        ("nano", 1),
        ("micro", 1_000),
        ("milli", 1_000_000),
        ("sec", 1_000_000_000),
        ("min", 60_000_000_000),
        ("hour", 3_600_000_000_000),
        ("day", DAY),
        ("wk", 7 * DAY),
    ];
    let mut total: Option<i128> = None;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (number, after) = digits(&rest[start..]);
        let word = after.trim_start();
        let end = word.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(word.len());
        let unit = word[..end].to_lowercase();
        let exact = EXACT.iter().find(|(name, _)| *name == unit);
        let found = exact.or_else(|| PREFIXES.iter().find(|(prefix, _)| unit.starts_with(prefix)));
        if let Some((_, nanos)) = found {
            let more = i128::from(number.parse::<i64>().ok()?) * nanos;
            total = Some(total.unwrap_or(0).saturating_add(more));
        }
        rest = &word[end..];
    }
    i64::try_from(total?).ok()
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// A duration as the canonical seconds that `string(duration)` prints.
pub(super) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// An RFC 3339 date-time.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes[..10]
            .iter()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() })
        && matches!(bytes[10], b'T' | b't')
        && bytes[11..19]
            .iter()
            .enumerate()
            .all(|(i, b)| if i == 2 || i == 5 { *b == b':' } else { b.is_ascii_digit() })
        && zone(&bytes[19..]);
    // A leap second would be read as the second before it.
    if shaped && bytes[17] < b'6' { text.parse().ok() } else { None }
}

/// Whether this is an optional fraction and a zone: `.123Z`, `+02:00`.
fn zone(mut bytes: &[u8]) -> bool {
    if let [b'.', after @ ..] = bytes {
        let end = after.iter().position(|b| !b.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return false;
        }
        bytes = &after[end..];
    }
    match bytes {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

/// A full-date as the start of that day.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    if text.len() != 10 {
        return None;
    }
    parse_timestamp(&format!("{text}T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("-2ms", Some(-2_000_000)),
            ("1µs", Some(1_000)),
            ("2562047h47m16.854775807s", Some(i64::MAX)),
            ("2562047h47m16.854775808s", None),
            ("9999999999999999999h", None),
            ("", None),
            ("-", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("1d", None),
            ("1 s", None),
            ("1é", None),
            ("1s.", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
        }
    }

    #[test]
    fn durations_print_as_seconds() {
        for (nanos, text) in
            [(0, "0s"), (1_500_000_000, "1.5s"), (-1, "-0.000000001s"), (60_000_000_000, "60s")]
        {
            assert_eq!(format_duration(nanos), text);
        }
    }

    #[test]
    fn timestamps() {
        for (text, ok) in [
            ("2026-11-24T05:00:00Z", true),
            ("2026-11-24t05:00:00.123456z", true),
            ("2026-11-24T05:00:00+02:00", true),
            ("2026-11-24", false),
            ("2026-11-24T05:00:00", false),
            ("2026-13-24T05:00:00Z", false),
            ("2026-11-24 05:00:00Z", false),
            ("2026-11-24T05:00:00.Z", false),
            ("", false),
        ] {
            assert_eq!(parse_timestamp(text).is_some(), ok, "{text}");
        }
        assert!(parse_date("2026-02-28").is_some());
        assert!(parse_date("2026-02-30").is_none());
    }
}
