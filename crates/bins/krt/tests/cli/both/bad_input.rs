//! What the API refuses: field, value and limit in the message, the same text as in the API server's own answer; and
//! beside each refusal its legal neighbour.

use crate::support::{Ended, shared};

fn apply(name: &str, spec: &str) -> Ended {
    shared().apply(&format!(
        "{{\"apiVersion\": \"kruntimes.io/v1alpha1\", \"kind\": \"Run\", \"metadata\": {{\"generateName\": \"{name}-\"}}, \"spec\": {spec}}}"
    ))
}

#[track_caller]
fn refused(spec: &str, parts: &[&str]) {
    let ended = apply("refused", spec);
    ended.expect(125);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("error: ")), "{}", ended.stderr);
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "{part:?} is not in: {}",
            &ended.stderr[..ended.stderr.len().min(2000)]
        );
    }
    assert_eq!(ended.out(), "");
}

fn args(count: usize) -> String {
    format!(r#"{{"runtime": "bash", "args": ["true"{}]}}"#, r#", "x""#.repeat(count - 1))
}

fn inline(chars: usize) -> String {
    format!(r##"{{"runtime": "bash", "source": {{"inline": "#{}"}}}}"##, "x".repeat(chars - 1))
}

#[test]
fn entrypoints_stay_inside_the_workspace() {
    for entrypoint in ["/etc/passwd", "../x", "a/../../b", ".."] {
        refused(
            &format!(
                r#"{{"runtime": "bash", "source": {{"inline": "true"}}, "entrypoint": "{entrypoint}"}}"#
            ),
            &["spec.entrypoint", entrypoint],
        );
    }
    apply(
        "dots",
        r#"{"runtime": "bash", "source": {"inline": "echo ok"}, "entrypoint": "a..b/c"}"#,
    )
    .expect(0);
}

#[test]
fn a_source_is_one_of_two() {
    refused(
        r#"{"runtime": "bash", "source": {"inline": "true", "repoURL": "https://example.com/x.git"}}"#,
        &["spec.source", "inline", "repoURL"],
    );
    apply("empty-source", r#"{"runtime": "bash", "source": {}, "args": ["true"]}"#).expect(0);
}

#[test]
fn unknown_fields_are_named() {
    refused(
        r#"{"runtime": "bash", "args": ["true"], "argz": []}"#,
        &[r#"unknown field "spec.argz""#],
    );
}

#[test]
fn durations_are_read_before_they_are_needed() {
    for backoff in ["soon", "-1s", "0s", "25h"] {
        refused(
            &format!(
                r#"{{"runtime": "bash", "args": ["true"], "retryPolicy": {{"backoff": "{backoff}"}}}}"#
            ),
            &["spec.retryPolicy.backoff", backoff],
        );
    }
    apply("backoff", r#"{"runtime": "bash", "args": ["true"], "retryPolicy": {"backoff": "500ms", "maxAttempts": 100}}"#)
        .expect(0);
    refused(
        r#"{"runtime": "bash", "args": ["true"], "retryPolicy": {"maxAttempts": 101}}"#,
        &["spec.retryPolicy.maxAttempts", "101", "100"],
    );
    refused(
        r#"{"runtime": "bash", "args": ["true"], "timeoutSeconds": 0}"#,
        &["spec.timeoutSeconds", "0", "1"],
    );
}

#[test]
fn lists_and_sources_have_limits() {
    refused(&args(257), &["spec.args", "257", "256"]);
    apply("args", &args(256)).expect(0);
    refused(&inline(262_145), &["spec.source.inline", "262144"]);
    apply("inline", &inline(262_144)).expect(0);
}

#[test]
fn a_missing_runtime_is_named() {
    refused(r#"{"args": ["true"]}"#, &["spec.runtime", "Required"]);
}
