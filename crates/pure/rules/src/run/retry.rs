//! Whether and when a failed attempt is tried again, and the durations of the policy.

use crate::mutant::{self, Mutant};
use kruntimes_api::{Reason, RetryPolicy, RunSpec, RunStatus};
use std::time::Duration;
use thiserror::Error;

/// Wait before the second attempt when the policy names none.
pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
pub const BACKOFF_CAP: Duration = Duration::from_mins(1);

/// Attempts that the Run may take in all.
#[must_use]
pub fn max_attempts(policy: Option<&RetryPolicy>) -> i32 {
    policy.and_then(|policy| policy.max_attempts).unwrap_or(1).max(1)
}

/// Whether an attempt that ended with `reason` is tried again.
#[must_use]
pub fn should_retry(spec: &RunSpec, attempt: i32, reason: Reason) -> bool {
    let Some(policy) = &spec.retry_policy else { return false };
    (attempt < max_attempts(Some(policy)) || mutant::is(Mutant::PolicyIgnored))
        && spec.cancel_requested != Some(true)
        && may_ever_be_retried(reason)
        && (policy.retryable_reasons.is_empty()
            || policy.retryable_reasons.iter().any(|listed| listed == reason.as_str()))
}

const fn may_ever_be_retried(reason: Reason) -> bool {
    match reason {
        Reason::Timeout
        | Reason::PrepareSource
        | Reason::EnvUnavailable
        | Reason::InputUnavailable
        | Reason::RuntimeExecute
        | Reason::RuntimeError
        | Reason::MemoryLimit
        | Reason::ProcessLimit
        | Reason::DiskLimit
        | Reason::ExecutionLost
        | Reason::PodGone
        | Reason::PodTerminating
        | Reason::PodUnhealthy
        | Reason::Fenced
        | Reason::ArtifactStoreFailed => true,
        Reason::RunCompleted
        | Reason::Cancelled
        | Reason::EnvNotAllowed
        | Reason::InputInvalid
        | Reason::WorkspaceLost
        | Reason::NotStarted
        | Reason::Unschedulable
        | Reason::OutputsInvalid
        | Reason::OutputsTooLarge
        | Reason::ArtifactInvalid => false,
    }
}

/// The number that the next assignment carries: an attempt that was handed back before it started does not count.
#[must_use]
pub fn next_attempt(status: Option<&RunStatus>) -> i32 {
    let attempt = status.and_then(|status| status.attempt).unwrap_or(0);
    let reason = status.and_then(|status| status.reason.as_deref());
    let kept = reason == Some(Reason::NotStarted.as_str()) && !mutant::is(Mutant::NotStartedCounts);
    let kept = kept || mutant::is(Mutant::AttemptNotCounted);
    if attempt > 0 && kept { attempt } else { attempt + 1 }
}

/// Wait before attempt `attempt`: none before the first, then backoff · 2^(attempt − 2), at most [`BACKOFF_CAP`].
#[must_use]
pub fn delay_before(policy: Option<&RetryPolicy>, attempt: i32) -> Duration {
    let Some(doublings) = u32::try_from(attempt - 2).ok() else { return Duration::ZERO };
    let first = policy
        .and_then(|policy| policy.backoff.as_deref())
        .and_then(|text| parse_duration(text).ok())
        .filter(|backoff| !backoff.is_zero())
        .unwrap_or(DEFAULT_BACKOFF);
    2_u32.checked_pow(doublings).map_or(BACKOFF_CAP, |factor| {
        first.checked_mul(factor).unwrap_or(BACKOFF_CAP).min(BACKOFF_CAP)
    })
}

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing to read.
    #[error("a duration is empty; write it as `500ms` or `1h2m3.5s`")]
    Empty,
    /// A number is missing where one must stand.
    #[error("a duration must be numbers with units, as in `500ms` or `1h2m3.5s`")]
    Number,
    /// A number without a unit, or an unknown unit.
    #[error("a duration's units are ns, us, ms, s, m and h, as in `500ms` or `1h2m3.5s`")]
    Unit,
    /// Below zero.
    #[error("a duration must not be negative")]
    Negative,
    /// Beyond what fits.
    #[error("a duration must be at most 2540400h")]
    TooLong,
}

/// Reads a duration in Go's syntax: `1h2m3.5s`, `500ms`, `0`.
///
/// # Errors
/// When the text is no such duration, or is negative.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        None => return Err(DurationError::Empty),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(DurationError::Number);
    }
    let mut rest = unsigned;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (part, tail) = parse_part(rest)?;
        nanos = nanos.saturating_add(part);
        rest = tail;
    }
    let nanos = i64::try_from(nanos).map_err(|_| DurationError::TooLong)?;
    if negative && nanos > 0 {
        return Err(DurationError::Negative);
    }
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// One `<number><unit>` at the head of `text`: its nanoseconds, and what follows.
fn parse_part(text: &str) -> Result<(u128, &str), DurationError> {
    let number_end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError::Unit)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => {
            return Err(if number.is_empty() {
                DurationError::Number
            } else {
                DurationError::Unit
            });
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Number);
    }
    let whole: u128 = if whole.is_empty() { 0 } else { parse_digits(whole)? };
    let mut nanos = whole.saturating_mul(unit);
    let mut scale = unit;
    // Digits below a nanosecond change nothing.
    for digit in fraction.bytes() {
        scale /= 10;
        nanos = nanos.saturating_add(u128::from(digit - b'0') * scale);
    }
    Ok((nanos, rest))
}

fn parse_digits(digits: &str) -> Result<u128, DurationError> {
    digits.parse().map_err(|_| DurationError::TooLong)
}

/// Writes a duration as Go does: `2s`, `1m30s`, `1.5s`, `500ms`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let last = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{last}s"),
        (0, _) => format!("{minutes}m{last}s"),
        _ => format!("{hours}h{minutes}m{last}s"),
    }
}

fn decimal(value: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", value % unit);
    let fraction = if width == 0 { "" } else { fraction.trim_end_matches('0') };
    let whole = value / unit;
    if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
