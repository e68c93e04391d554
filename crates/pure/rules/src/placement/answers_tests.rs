//! Pods that do not answer, and pods whose Lease is broken.

use super::tests::{START, decide, pending, placed, pod, pool, run_with, secs, usable};
use super::*;
use crate::capacity::Resources;
use kruntimes_api::Run;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn board(pods: &[(&str, u32)]) -> Board {
    let mut board = Board::default();
    board.set_runtime(pool("default"), usable(Resources::runs(2)));
    for (name, capacity) in pods {
        board.set_pod(&pod("default", name, *capacity, PodHealth::Ready));
    }
    board
}

fn in_phase(name: &str, phase: &str, attempt: i32) -> Arc<Run> {
    let status = json!({
        "phase": phase, "assignedPod": "p1", "assignedPodUID": "uid-p1", "attempt": attempt,
    });
    run_with("default", name, 3, json!({}), status)
}

/// Run `a` is assigned to p1 at 0 s, which has room for 9.
fn assigned() -> Board {
    let mut board = board(&[("p1", 9)]);
    board.set_run(pending("a"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
    board.assigned(placed("a", "p1", 1), Some("1"), secs(0), START);
    board
}

/// What becomes of Run `b`, which is submitted at `at`.
fn next(board: &mut Board, at: Duration) -> Vec<String> {
    board.set_run(pending("b"), at, START);
    decide(board, at)
}

#[test]
fn a_pod_that_left_an_assignment_unanswered_for_two_seconds_gets_no_more() {
    let millis = Duration::from_millis;
    assert_eq!(next(&mut assigned(), millis(1999)), ["b@p1#1"]);
    let mut late = assigned();
    assert_eq!(late.deadline(), Some(secs(2)));
    assert_eq!(next(&mut late, secs(2)), [""; 0]);
    // The Run goes on being Scheduled there: that is no answer.
    late.set_run(in_phase("a", "Scheduled", 1), secs(3), START);
    assert_eq!(decide(&mut late, secs(4)), ["b waits: NoReadyPods"]);
    late.set_run(in_phase("a", "Running", 1), secs(6), START);
    assert_eq!(decide(&mut late, secs(6)), ["b@p1#1"]);
}

#[test]
fn whatever_takes_the_run_out_of_scheduled_opens_the_pod_again() {
    let ways: [fn(&mut Board); 4] = [
        |board| board.set_run(in_phase("a", "Running", 1), secs(3), START),
        |board| board.set_run(in_phase("a", "Succeeded", 1), secs(3), START),
        |board| board.drop_run(&RunKey::of(&pending("a"))),
        // Its next attempt, with time of its own.
        |board| board.set_run(in_phase("a", "Scheduled", 2), secs(3), START),
    ];
    for way in ways {
        let mut board = assigned();
        assert_eq!(next(&mut board, secs(3)), [""; 0]);
        way(&mut board);
        assert_eq!(decide(&mut board, secs(3)), ["b@p1#1"]);
    }
}

#[test]
fn each_of_several_silent_runs_keeps_the_pod_closed() {
    let mut board = assigned();
    board.set_run(in_phase("c", "Scheduled", 1), secs(0), START);
    assert_eq!(next(&mut board, secs(3)), [""; 0]);
    board.drop_run(&RunKey::of(&pending("a")));
    assert_eq!(decide(&mut board, secs(3)), [""; 0]);
    board.drop_run(&RunKey::of(&pending("c")));
    assert_eq!(decide(&mut board, secs(3)), ["b@p1#1"]);
}

#[test]
fn a_running_run_is_an_answer_and_leaves_no_timer() {
    let mut board = assigned();
    board.set_run(in_phase("a", "Running", 1), secs(1), START);
    assert_eq!(board.deadline(), None);
    assert_eq!(next(&mut board, secs(9)), ["b@p1#1"]);
}

#[test]
fn the_silence_of_one_pod_closes_no_other_one() {
    let mut board = assigned();
    board.set_pod(&pod("default", "p2", 1, PodHealth::Ready));
    assert_eq!(next(&mut board, secs(2)), ["b@p2#1"]);
    // Nor one of the same name with another UID.
    let mut board = assigned();
    assert_eq!(next(&mut board, secs(2)), [""; 0]);
    let mut other = pod("default", "p1", 1, PodHealth::Ready);
    other.pod.uid = "other".to_owned();
    board.set_pod(&other);
    assert_eq!(decide(&mut board, secs(2)), ["b@p1#1"]);
}

#[test]
fn a_pod_whose_lease_is_broken_gets_nothing_until_it_is_mended() {
    let mut board = board(&[("p1", 9)]);
    board.bar_pod(pool("default"), "p1");
    // Twice is as good as once.
    board.bar_pod(pool("default"), "p1");
    assert_eq!(next(&mut board, secs(0)), [""; 0]);
    // What the kubelet says of it changes nothing.
    board.set_pod(&pod("default", "p1", 9, PodHealth::NotReady));
    board.set_pod(&pod("default", "p1", 9, PodHealth::Ready));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.mend_pod(pool("default"), "p1");
    assert_eq!(decide(&mut board, secs(0)), ["b@p1#1"]);
}

#[test]
fn a_break_that_is_seen_before_its_pod_counts() {
    let mut board = board(&[]);
    board.bar_pod(pool("default"), "p1");
    board.set_pod(&pod("default", "p1", 9, PodHealth::Ready));
    assert_eq!(next(&mut board, secs(0)), [""; 0]);
}

#[test]
fn ten_thousand_that_wait_for_one_slot_cost_two_decisions_each_at_most() {
    const RUNS: usize = 10_000;
    let mut board = board(&[("p1", 1)]);
    for number in 0..RUNS {
        board.set_run(pending(&format!("r{number:05}")), secs(0), START);
    }
    let mut now = secs(0);
    let (mut assigned, mut others) = (0, 0);
    while assigned < RUNS {
        for decision in board.decide(now, START, 1000) {
            let Decision::Assign { run, .. } = decision else {
                others += 1;
                continue;
            };
            assigned += 1;
            let name = RunKey::of(&run).name;
            board.assigned(placed(&name, "p1", 1), Some("1"), now, START);
            now += Duration::from_millis(100);
            board.drop_run(&RunKey::of(&run));
        }
    }
    assert_eq!((assigned, board.pending()), (RUNS, 0));
    assert!(others <= RUNS, "{others} decisions beside the assignments");
    assert!(others > RUNS / 2, "the messages compete: {others}");
    assert_eq!(board.deadline(), None);
}

#[test]
fn messages_that_wait_for_their_turn_wake_nobody_before_it() {
    let mut board = board(&[]);
    for name in ["a", "b"] {
        board.set_run(pending(name), secs(0), START);
    }
    assert_eq!(board.deadline(), Some(secs(1)));
    assert_eq!(decide(&mut board, secs(1)), ["a waits: NoReadyPods"]);
    let turn = secs(1) + Duration::from_millis(100);
    assert_eq!(board.deadline(), Some(turn));
    assert_eq!(decide(&mut board, turn), ["b waits: NoReadyPods"]);
}

/// Run `a`, handed back by p1, as version 3.
fn handed_back() -> Arc<Run> {
    let status = json!({"phase": "Pending", "reason": "NotStarted", "attempt": 1});
    run_with("default", "a", 3, json!({}), status)
}

#[test]
fn a_late_answer_to_an_older_assignment_says_nothing() {
    let key = RunKey::of(&pending("a"));
    let on_its_way_again = || {
        let mut board = board(&[("p1", 9)]);
        board.set_run(pending("a"), secs(0), START);
        assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
        board.set_run(placed("a", "p1", 1), secs(0), START);
        board.set_run(handed_back(), secs(0), START);
        assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
        board
    };
    let mut late = on_its_way_again();
    late.assigned(placed("a", "p1", 1), Some("1"), secs(0), START);
    late.not_written(&key, Some("3"), secs(0), START);
    assert_eq!(decide(&mut late, secs(1)), ["a@p1#1"], "the newer one failed: it is tried again");
    let mut late = on_its_way_again();
    late.not_written(&key, Some("1"), secs(0), START);
    assert_eq!(decide(&mut late, secs(5)), [""; 0], "the newer one is under way");
}

#[test]
fn what_the_watch_shows_before_the_answer_came_after_the_assignment() {
    let mut board = board(&[("p1", 9)]);
    board.set_run(pending("a"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
    board.set_run(handed_back(), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.assigned(placed("a", "p1", 1), Some("1"), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1"]);
}
