//! Durations as people write them: Go's syntax (`1h2m3.5s`, `500ms`) or a number of seconds.

use std::time::Duration;

/// Units, the longer spelling before the one that it starts with.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "it takes seconds, or a duration like 500ms, 1m30s, 2h".to_owned();
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total_nanos = 0_f64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        #[expect(clippy::cast_precision_loss, reason = "every unit is exact in an f64")]
        let nanos = unit.1 as f64;
        total_nanos += number * nanos;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total_nanos / 1e9).map_err(|_| wrong())
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// How long something took, for people: `12 ms`, `1.5 s`, `2m3s`.
pub(crate) fn show(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis @ 1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        millis => age(i64::try_from(millis / 1_000).unwrap_or(i64::MAX)),
    }
}

/// An age as kubectl shows it: `5s`, `3m5s`, `4h`, `2d3h`.
pub(crate) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let with = |whole: String, part: i64, unit: &str| {
        if part == 0 { whole } else { format!("{whole}{part}{unit}") }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        with(format!("{minutes}m"), seconds % 60, "s")
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        with(format!("{hours}h"), minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        with(format!("{days}d"), hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::{age, parse, seconds, show};
    use std::time::Duration;

    #[test]
    fn durations_read_as_in_go_or_as_seconds() {
        for (text, millis) in [
            ("0", 0),
            ("90", 90_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1h2m3.5s", 3_723_500),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "abc", "-1s", "s", "1x", "1s2", "1..5s", "1 s"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("1m30s"), "{text}: {error}");
        }
    }

    #[test]
    fn seconds_round_up() {
        assert_eq!(seconds(Duration::from_millis(500)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn ages_are_kubectls() {
        for (value, text) in [
            (5, "5s"),
            (119, "119s"),
            (185, "3m5s"),
            (600, "10m"),
            (10_800, "3h"),
            (100_000, "27h"),
            (260_000, "3d"),
        ] {
            assert_eq!(age(value), text);
        }
        assert_eq!(show(Duration::from_millis(12)), "12 ms");
        assert_eq!(show(Duration::from_millis(1_560)), "1.5 s");
        assert_eq!(show(Duration::from_secs(123)), "2m3s");
    }
}
