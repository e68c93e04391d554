//! Stories as they are printed.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::*;
use serde_json::{Value, json};

fn run(name: &str, spec: Value, status: Value) -> Run {
    let mut spec = spec;
    spec["runtime"] = json!("bash");
    let metadata = json!({"name": name, "namespace": "default"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn at(micros: &str) -> String {
    format!("2026-01-01T00:00:{micros}Z")
}

fn told(run: Run, wait: Option<Wait>, now: &str) -> String {
    tell(&Facts { run, wait }, at(now).parse().unwrap())
}

#[test]
fn the_time_of_a_run_that_succeeded() {
    let timeline = json!({
        "submitted": at("00.000000"), "seen": at("00.001000"), "scheduled": at("00.001500"),
        "received": at("00.002000"), "prepared": at("00.003000"), "started": at("00.004000"),
        "exited": at("02.004000"), "finished": at("02.004700"),
    });
    let status = json!({"phase": "Succeeded", "reason": "RunCompleted", "exitCode": 0, "attempt": 1,
        "message": "execution completed", "assignedPod": "bash-1", "timeline": timeline});
    let expected = "\
Run:        default/a, Runtime bash
Phase:      Succeeded
Reason:     RunCompleted
Message:    execution completed
Exit Code:  0
Pod:        bash-1
Attempt:    1 of 1

Where the time went:
  on its way to the scheduler   1.0 ms
  waited for a pod              0.5 ms
  on its way to the pod         0.5 ms
  workspace and source made     1.0 ms
  process started               1.0 ms
  your command ran               2.0 s   ███████████████████████
  outputs read, end written     0.7 ms
  in all                         2.0 s
";
    assert_eq!(told(run("a", json!({}), status), None, "09"), expected);
}

#[test]
fn a_run_that_runs_shows_how_long_and_unknown_stages_are_told_together() {
    let timeline = json!({"scheduled": at("01"), "received": at("00.5"), "started": at("02")});
    let status = json!({"phase": "Running", "attempt": 2, "timeline": timeline});
    let text = told(run("a", json!({"retryPolicy": {"maxAttempts": 3}}), status), None, "05");
    let expected = "
Where the time of attempt 2 went:
  on its way to the pod                            ?   the clocks of two machines differ
  workspace and source made, process started   1.5 s   ████████
  your command ran (so far)                    3.0 s   ████████████████
  in all                                       4.5 s
";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.contains("Attempt:  2 of 3\n"), "{text}");
}

#[test]
fn a_run_that_failed_shows_its_attempts_and_what_to_do() {
    let attempt = |number: i32, code: i32| {
        json!({"number": number, "pod": "bash-1", "reason": "RuntimeError", "exitCode": code,
            "startTime": at("00.000000"), "endTime": at("00.012000")})
    };
    let status = json!({"phase": "Failed", "reason": "RuntimeError", "exitCode": 2, "attempt": 2,
        "message": "a\n\u{1b}[2Jb", "attempts": [attempt(1, 1), attempt(2, 2)]});
    let text = told(run("a", json!({}), status), None, "09");
    assert!(text.contains("Message:    a\\n\\u{1b}[2Jb\n"), "{text}");
    let table = "
Attempts that ended:
  ATTEMPT   POD      REASON         EXIT CODE   TOOK
  1         bash-1   RuntimeError   1           12.0 ms
  2         bash-1   RuntimeError   2           12.0 ms

What to do:
  ";
    assert!(text.contains(table), "{text}");
}

#[test]
fn a_run_that_waits_shows_who_has_the_slots() {
    let timeline = json!({"scheduled": at("00"), "received": at("01")});
    let holder = |timeout: Value| {
        let status = json!({"phase": "Running", "assignedPod": "bash-1", "timeline": timeline});
        run("holder", json!({"timeoutSeconds": timeout}), status)
    };
    let wait = Wait {
        why: "NoCapacity: no ready pod has a free slot".to_owned(),
        before: 1,
        holding: 3,
        first: vec![holder(json!(60)), holder(Value::Null)],
    };
    let status = json!({"phase": "Pending", "nextAttemptTime": "2026-01-01T00:00:07Z"});
    let text = told(run("a", json!({}), status), Some(wait), "05");
    let waits = "
What it waits for:
  NoCapacity: no ready pod has a free slot
  The next attempt may start in 2.0 s.
  1 Run of its Runtime came before it and may go first.

What would free it:
  ";
    assert!(text.contains(waits), "{text}");
    let holders = "
3 Runs of its Runtime have a pod; the first to end:
  NAME     POD      PHASE     FOR     ENDS WITHIN
  holder   bash-1   Running   4.0 s   56.0 s
  holder   bash-1   Running   4.0 s   -
";
    assert!(text.ends_with(holders), "{text}");
}
