//! Retries and durations by tables.

use super::*;

fn spec(max: i32, backoff: Option<&str>, reasons: &[&str]) -> RunSpec {
    RunSpec {
        retry_policy: Some(RetryPolicy {
            max_attempts: Some(max),
            backoff: backoff.map(ToOwned::to_owned),
            retryable_reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
        }),
        ..RunSpec::default()
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    let cases: [(&str, Result<Duration, DurationError>); 20] = [
        ("0", Ok(Duration::ZERO)),
        ("1s", Ok(Duration::from_secs(1))),
        ("500ms", Ok(Duration::from_millis(500))),
        ("1h2m3.5s", Ok(Duration::from_millis(3_723_500))),
        ("1.5h", Ok(Duration::from_secs(5400))),
        (".5s", Ok(Duration::from_millis(500))),
        ("1.s", Ok(Duration::from_secs(1))),
        ("+2m", Ok(Duration::from_secs(120))),
        ("3us", Ok(Duration::from_micros(3))),
        ("3µs", Ok(Duration::from_micros(3))),
        ("-0s", Ok(Duration::ZERO)),
        ("", Err(DurationError::Empty)),
        ("-", Err(DurationError::Number)),
        ("s", Err(DurationError::Number)),
        (".s", Err(DurationError::Number)),
        ("1.2.3s", Err(DurationError::Number)),
        ("5", Err(DurationError::Unit)),
        ("5d", Err(DurationError::Unit)),
        ("-1s", Err(DurationError::Negative)),
        ("9999999999999h", Err(DurationError::TooLong)),
    ];
    for (text, want) in cases {
        assert_eq!(parse_duration(text), want, "{text:?}");
    }
}

#[test]
fn durations_are_written_as_go_writes_them() {
    let cases = [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(7), "7ns"),
        (Duration::from_nanos(1500), "1.5µs"),
        (Duration::from_millis(500), "500ms"),
        (Duration::from_secs(2), "2s"),
        (Duration::from_millis(1500), "1.5s"),
        (Duration::from_secs(60), "1m0s"),
        (Duration::from_secs(90), "1m30s"),
        (Duration::from_millis(3_723_500), "1h2m3.5s"),
    ];
    for (duration, text) in cases {
        assert_eq!(format_duration(duration), text);
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
    }
}

#[test]
fn the_wait_doubles_from_the_backoff_up_to_a_minute() {
    let seconds = |attempt| delay_before(None, attempt).as_secs();
    assert_eq!((0..=9).map(seconds).collect::<Vec<_>>(), [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
    let policy = spec(100, Some("250ms"), &[]).retry_policy;
    assert_eq!(delay_before(policy.as_ref(), 3), Duration::from_millis(500));
    assert_eq!(delay_before(policy.as_ref(), 100), BACKOFF_CAP);
    let hours = spec(3, Some("24h"), &[]).retry_policy;
    assert_eq!(delay_before(hours.as_ref(), 2), BACKOFF_CAP);
    let zero = spec(3, Some("0s"), &[]).retry_policy;
    assert_eq!(delay_before(zero.as_ref(), 2), DEFAULT_BACKOFF);
}

#[test]
fn an_attempt_is_tried_again_while_attempts_are_left_and_the_reason_allows_it() {
    assert!(!should_retry(&RunSpec::default(), 1, Reason::RuntimeError), "no policy");
    assert!(should_retry(&spec(2, None, &[]), 1, Reason::RuntimeError));
    assert!(!should_retry(&spec(2, None, &[]), 2, Reason::RuntimeError), "attempts used up");
    assert!(should_retry(&spec(2, None, &["Timeout"]), 1, Reason::Timeout));
    assert!(!should_retry(&spec(2, None, &["Timeout"]), 1, Reason::RuntimeError), "not listed");
    let mut cancelled = spec(2, None, &[]);
    cancelled.cancel_requested = Some(true);
    assert!(!should_retry(&cancelled, 1, Reason::PodGone), "the user gave up");
    let never = [
        Reason::RunCompleted,
        Reason::Cancelled,
        Reason::EnvNotAllowed,
        Reason::InputInvalid,
        Reason::WorkspaceLost,
        Reason::NotStarted,
        Reason::Unschedulable,
        Reason::OutputsInvalid,
        Reason::OutputsTooLarge,
        Reason::ArtifactInvalid,
    ];
    for reason in Reason::ALL {
        let listed = spec(9, None, &[reason.as_str()]);
        assert_eq!(should_retry(&listed, 1, reason), !never.contains(&reason), "{reason}");
    }
}

#[test]
fn the_next_attempt_counts_only_what_may_have_started() {
    let status = |attempt, reason: Option<Reason>| RunStatus {
        attempt,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        ..RunStatus::default()
    };
    assert_eq!(next_attempt(None), 1);
    assert_eq!(next_attempt(Some(&status(None, Some(Reason::NotStarted)))), 1);
    assert_eq!(next_attempt(Some(&status(Some(1), Some(Reason::NotStarted)))), 1);
    assert_eq!(next_attempt(Some(&status(Some(1), Some(Reason::PodGone)))), 2);
    assert_eq!(next_attempt(Some(&status(Some(3), None))), 4);
}
