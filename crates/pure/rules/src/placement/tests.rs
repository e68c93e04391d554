//! Placement: what is observed, and what is decided then.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::*;
use crate::capacity::Resources;
use jiff::Timestamp;
use kruntimes_api::Run;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const START: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn pool(namespace: &str) -> PoolKey {
    PoolKey { namespace: namespace.to_owned(), runtime: "bash".to_owned() }
}

pub(super) fn pod(namespace: &str, name: &str, capacity: u32, health: PodHealth) -> PodView {
    PodView {
        pool: pool(namespace),
        pod: PodRef { name: name.to_owned(), uid: format!("uid-{name}") },
        health,
        capacity: Resources::runs(capacity),
    }
}

pub(super) fn usable(capacity: Resources) -> RuntimeView {
    RuntimeView::Usable(capacity)
}

pub(super) fn run_with(
    namespace: &str,
    name: &str,
    version: u64,
    spec: Value,
    status: Value,
) -> Arc<Run> {
    let mut object = json!({
        "metadata": {"namespace": namespace, "name": name, "uid": name, "resourceVersion": version.to_string()},
        "spec": {"runtime": "bash"},
        "status": status,
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(object).unwrap())
}

pub(super) fn pending(name: &str) -> Arc<Run> {
    run_with("default", name, 1, json!({}), json!({"phase": "Pending"}))
}

pub(super) fn placed(name: &str, pod: &str, attempt: i32) -> Arc<Run> {
    let status = json!({
        "phase": "Scheduled", "assignedPod": pod, "assignedPodUID": format!("uid-{pod}"), "attempt": attempt,
    });
    run_with("default", name, 2, json!({}), status)
}

fn board(pods: &[(&str, u32)]) -> Board {
    let mut board = Board::default();
    board.set_runtime(pool("default"), usable(Resources::runs(2)));
    for (name, capacity) in pods {
        board.set_pod(&pod("default", name, *capacity, PodHealth::Ready));
    }
    board
}

/// Decisions as text: `a@p1#1` assigns attempt 1 of Run a to p1.
pub(super) fn decide(board: &mut Board, now: Duration) -> Vec<String> {
    let text = |decision: &Decision| match decision {
        Decision::Assign { run, pod, attempt, .. } => {
            format!("{}@{}#{attempt}", RunKey::of(run).name, pod.name)
        }
        Decision::Cancel { run } => format!("{} cancelled", RunKey::of(run).name),
        Decision::Refuse { run, message } => {
            format!("{} refused: {message}", RunKey::of(run).name)
        }
        Decision::Wait { run, waiting } => {
            format!("{} waits: {}", RunKey::of(run).name, waiting.reason())
        }
    };
    board.decide(now, START, 1000).iter().map(text).collect()
}

#[test]
fn runs_spread_to_the_pod_with_most_free_slots_then_by_name() {
    let mut board = board(&[("p2", 2), ("p1", 2), ("p3", 1)]);
    for name in ["a", "b", "c", "d", "e", "f"] {
        board.set_run(pending(name), secs(0), START);
    }
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1", "b@p2#1", "c@p3#1", "d@p1#1", "e@p2#1"]);
    assert_eq!(board.pending(), 1);
}

#[test]
fn a_slot_that_comes_free_is_taken_at_once() {
    let mut board = board(&[("p1", 1)]);
    board.set_run(placed("a", "p1", 1), secs(0), START);
    board.set_run(pending("b"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.drop_run(&RunKey::of(&pending("a")));
    assert_eq!(decide(&mut board, secs(0)), ["b@p1#1"]);
}

#[test]
fn a_run_never_leaves_its_namespace() {
    let mut board = board(&[]);
    board.set_pod(&pod("other", "p1", 9, PodHealth::Ready));
    board.set_runtime(pool("other"), usable(Resources::runs(2)));
    board.set_run(pending("a"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
}

#[test]
fn a_waiting_run_says_why_after_a_second_and_again_when_it_changes() {
    let mut board = Board::default();
    board.set_run(pending("a"), secs(0), START);
    assert_eq!(decide(&mut board, Duration::from_millis(999)), [""; 0]);
    assert_eq!(board.deadline(), Some(secs(1)));
    assert_eq!(decide(&mut board, secs(1)), ["a waits: RuntimeNotFound"]);
    assert_eq!(decide(&mut board, secs(3)), [""; 0]);
    board.set_runtime(pool("default"), usable(Resources::runs(2)));
    assert_eq!(decide(&mut board, secs(4)), ["a waits: NoReadyPods"]);
    board.set_pod(&pod("default", "p1", 1, PodHealth::ImagePullFailed));
    assert_eq!(decide(&mut board, secs(6)), ["a waits: ImagePullFailed"]);
    board.set_pod(&pod("default", "p1", 1, PodHealth::Ready));
    assert_eq!(decide(&mut board, secs(6)), ["a@p1#1"]);
}

#[test]
fn at_most_ten_messages_a_second_are_written() {
    let mut board = Board::default();
    for number in 0..50 {
        board.set_run(pending(&format!("r{number}")), secs(0), START);
    }
    let mut written = 0;
    for millis in (1000..2000).step_by(10) {
        written += decide(&mut board, Duration::from_millis(millis)).len();
    }
    assert_eq!(written, 10);
}

#[test]
fn a_write_that_failed_waits_for_a_newer_object() {
    let mut board = board(&[("p1", 1)]);
    board.set_run(pending("a"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)).len(), 1);
    board.not_written(&RunKey::of(&pending("a")), Some("1"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "the same version would fail again");
    board.set_run(run_with("default", "a", 3, json!({}), json!({})), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
    board.set_run(run_with("default", "a", 4, json!({}), json!({})), secs(0), START);
    board.not_written(&RunKey::of(&pending("a")), Some("3"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"], "a newer one is here already");
}

#[test]
fn a_write_that_failed_without_news_is_tried_again_after_a_second() {
    let mut board = board(&[("p1", 1)]);
    board.set_run(pending("a"), secs(0), START);
    decide(&mut board, secs(0));
    board.not_written(&RunKey::of(&pending("a")), Some("1"), secs(0), START);
    assert_eq!(decide(&mut board, secs(1)), ["a@p1#1"]);
}

#[test]
fn a_late_pending_event_does_not_free_the_slot() {
    let mut board = board(&[("p1", 1)]);
    board.set_run(pending("a"), secs(0), START);
    decide(&mut board, secs(0));
    board.assigned(placed("a", "p1", 1), Some("1"), secs(0), START);
    board.set_run(pending("a"), secs(0), START);
    board.set_run(pending("b"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
}

#[test]
fn a_retry_waits_its_backoff_and_gets_the_next_number() {
    let mut board = board(&[("p1", 1)]);
    let policy = json!({"retryPolicy": {"maxAttempts": 3, "backoff": "2s"}});
    let status = json!({"phase": "Pending", "attempt": 1, "reason": "RuntimeError"});
    board.set_run(run_with("default", "a", 1, policy, status), secs(10), START);
    assert_eq!(decide(&mut board, Duration::from_millis(11_999)), [""; 0]);
    assert_eq!(decide(&mut board, secs(12)), ["a@p1#2"]);
}

#[test]
fn an_attempt_that_never_started_keeps_its_number_and_does_not_wait() {
    let mut board = board(&[("p1", 1)]);
    let status = json!({"phase": "Pending", "attempt": 1, "reason": "NotStarted"});
    board.set_run(run_with("default", "a", 1, json!({}), status), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
}

#[test]
fn a_cancelled_run_ends_without_a_pod_even_while_it_waits() {
    let mut board = Board::default();
    board.set_run(pending("a"), secs(0), START);
    let cancelled = run_with("default", "a", 2, json!({"cancelRequested": true}), json!({}));
    board.set_run(cancelled, secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a cancelled"]);
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "once");
}

#[test]
fn a_run_of_the_same_name_is_another_run() {
    let mut board = board(&[("p1", 1)]);
    board.set_run(placed("a", "p1", 1), secs(0), START);
    let mut again = (*pending("a")).clone();
    again.metadata.uid = Some("another".to_owned());
    board.set_run(Arc::new(again), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
}

#[test]
fn slots_taken_before_a_pod_is_seen_count() {
    let mut board = board(&[]);
    board.set_run(placed("a", "p1", 1), secs(0), START);
    board.set_pod(&pod("default", "p1", 1, PodHealth::Ready));
    board.set_run(pending("b"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
}

#[test]
fn no_pod_is_ever_over_its_capacity() {
    // Every sequence of 5 of these events, with decisions after each.
    const EVENTS: usize = 6;
    for sequence in 0..EVENTS.pow(5) {
        let mut board = board(&[("p1", 1)]);
        let mut running: Vec<String> = Vec::new();
        let mut left = sequence;
        for step in 0..5 {
            let name = format!("r{step}");
            match left % EVENTS {
                0 => board.set_run(pending(&name), secs(step), START),
                1 => board.set_pod(&pod("default", "p1", 1, PodHealth::NotReady)),
                2 => board.set_pod(&pod("default", "p1", 1, PodHealth::Ready)),
                3 => board.drop_pod(&pool("default"), "p1"),
                4 => running
                    .pop()
                    .iter()
                    .for_each(|name| board.drop_run(&RunKey::of(&pending(name)))),
                _ => running.iter().for_each(|name| {
                    board.assigned(placed(name, "p1", 1), Some("1"), secs(0), START)
                }),
            }
            left /= EVENTS;
            for decision in board.decide(secs(step), START, 10) {
                if let Decision::Assign { run, .. } = decision {
                    running.push(RunKey::of(&run).name);
                }
            }
            assert!(running.len() <= 1, "sequence {sequence}: {running:?}");
        }
    }
}
