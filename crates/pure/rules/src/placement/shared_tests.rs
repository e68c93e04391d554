//! Runs that share a workspace: where they go, what they take, and what they wait for.

use super::tests::{START, decide, pending, placed, pod, pool, run_with, secs, usable};
use super::*;
use crate::capacity::Resources;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::Run;
use serde_json::{Value, json};
use std::sync::Arc;

fn of_group(name: &str, version: u64, spec: Value, phase: &str, on: Option<&str>) -> Arc<Run> {
    let mut spec = spec;
    spec["workspaceGroup"] = json!("g");
    let mut status = json!({"phase": phase});
    if let Some(pod) = on {
        status["assignedPod"] = json!(pod);
        status["assignedPodUID"] = json!(format!("uid-{pod}"));
        status["attempt"] = json!(1);
    }
    run_with("default", name, version, spec, status)
}

fn holder(version: u64, phase: &str, on: Option<&str>) -> Arc<Run> {
    of_group("h", version, json!({"holdsWorkspace": true}), phase, on)
}

fn step(name: &str, version: u64, phase: &str, on: Option<&str>) -> Arc<Run> {
    of_group(name, version, json!({}), phase, on)
}

fn board(slots: u32) -> Board {
    let mut board = Board::default();
    board.set_runtime(pool("default"), usable(Resources::runs(slots)));
    for name in ["p1", "p2"] {
        board.set_pod(&pod("default", name, slots, PodHealth::Ready));
    }
    board
}

fn set(board: &mut Board, run: Arc<Run>) {
    board.set_run(run, secs(0), START);
}

#[test]
fn a_run_waits_until_the_one_that_holds_its_workspace_is_running_and_goes_to_its_pod() {
    let mut board = board(1);
    set(&mut board, step("a", 1, "Pending", None));
    set(&mut board, placed("x", "p1", 1));
    set(&mut board, holder(2, "Pending", None));
    assert_eq!(decide(&mut board, secs(0)), ["h@p2#1"]);
    set(&mut board, holder(3, "Scheduled", Some("p2")));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    assert_eq!(decide(&mut board, secs(1)), ["a waits: WorkspaceNotFree"]);
    set(&mut board, holder(4, "Running", Some("p2")));
    assert_eq!(decide(&mut board, secs(1)), ["a@p2#1"], "on a pod that is full");
    assert_eq!(board.pending(), 0);
}

#[test]
fn the_slot_is_held_between_two_runs_and_free_after_the_holder() {
    let mut board = board(1);
    set(&mut board, placed("x", "p1", 1));
    set(&mut board, holder(2, "Running", Some("p2")));
    set(&mut board, step("a", 3, "Scheduled", Some("p2")));
    set(&mut board, pending("other"));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.drop_run(&RunKey::of(&step("a", 3, "Pending", None)));
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "the holder has the slot");
    set(&mut board, step("b", 4, "Pending", None));
    assert_eq!(decide(&mut board, secs(0)), ["b@p2#1"]);
    board.drop_run(&RunKey::of(&holder(2, "Pending", None)));
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "b works there");
    board.drop_run(&RunKey::of(&pending("b")));
    assert_eq!(decide(&mut board, secs(0)), ["other@p2#1"]);
}

#[test]
fn runs_of_a_group_execute_one_at_a_time_in_their_order() {
    let mut board = board(4);
    set(&mut board, holder(1, "Running", Some("p1")));
    for (version, name) in ["c", "a", "b"].into_iter().enumerate() {
        set(&mut board, step(name, 2 + version as u64, "Pending", None));
    }
    assert_eq!(decide(&mut board, secs(0)), ["c@p1#1"]);
    assert_eq!(decide(&mut board, secs(1)), ["a waits: WorkspaceNotFree"]);
    set(&mut board, step("c", 9, "Scheduled", Some("p1")));
    assert_eq!(decide(&mut board, secs(1)), [""; 0]);
    set(&mut board, step("c", 10, "Succeeded", Some("p1")));
    assert_eq!(decide(&mut board, secs(1)), ["a@p1#1"]);
    // Its write fails: whoever is next may go meanwhile.
    board.not_written(&RunKey::of(&pending("a")), Some("3"), secs(1), START);
    board.set_pod(&pod("default", "p2", 4, PodHealth::Ready));
    assert_eq!(decide(&mut board, secs(1)), ["b@p1#1"]);
}

#[test]
fn nobody_enters_by_a_pod_that_takes_no_runs() {
    let mut board = board(2);
    set(&mut board, holder(1, "Running", Some("p1")));
    board.set_pod(&pod("default", "p1", 2, PodHealth::NotReady));
    set(&mut board, step("a", 2, "Pending", None));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    assert_eq!(decide(&mut board, secs(1)), ["a waits: NoReadyPods"]);
    let mut other = pod("default", "p1", 2, PodHealth::Ready);
    other.pod.uid = "another".to_owned();
    board.set_pod(&other);
    assert_eq!(decide(&mut board, secs(1)), [""; 0], "a pod of the same name");
    board.set_pod(&pod("default", "p1", 2, PodHealth::Ready));
    board.bar_pod(pool("default"), "p1");
    assert_eq!(decide(&mut board, secs(1)), [""; 0], "its Lease is broken");
    board.mend_pod(pool("default"), "p1");
    assert_eq!(decide(&mut board, secs(1)), ["a@p1#1"]);
}

#[test]
fn a_cancelled_run_of_a_group_waits_no_longer_and_nothing_of_a_group_stays() {
    let mut board = board(1);
    set(&mut board, step("a", 1, "Pending", None));
    set(&mut board, of_group("a", 2, json!({"cancelRequested": true}), "Pending", None));
    assert_eq!(decide(&mut board, secs(0)), ["a cancelled"]);
    board.drop_run(&RunKey::of(&pending("a")));
    set(&mut board, holder(3, "Running", Some("p1")));
    set(&mut board, step("b", 4, "Running", Some("p1")));
    board.drop_run(&RunKey::of(&pending("h")));
    board.drop_run(&RunKey::of(&pending("b")));
    assert!(board.pools[&pool("default")].shared.is_empty());
    set(&mut board, placed("x", "p1", 1));
    set(&mut board, pending("y"));
    set(&mut board, pending("z"));
    assert_eq!(decide(&mut board, secs(0)), ["y@p2#1"], "each slot is counted once");
}

fn second_holder(name: &str, version: u64, on: &str) -> Arc<Run> {
    let run = of_group(name, version, json!({"holdsWorkspace": true}), "Running", Some(on));
    let mut run = Arc::unwrap_or_clone(run);
    run.metadata.creation_timestamp = Some(Time(START));
    Arc::new(run)
}

#[test]
fn runs_of_another_owner_are_of_another_group() {
    let owned = |run: Arc<Run>, uid: &str| {
        let mut run = Arc::unwrap_or_clone(run);
        let owner =
            json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}]);
        run.metadata.owner_references = serde_json::from_value(owner).unwrap();
        Arc::new(run)
    };
    let mut board = board(2);
    set(&mut board, owned(holder(1, "Running", Some("p1")), "w"));
    set(&mut board, step("stranger", 2, "Pending", None));
    set(&mut board, owned(step("other", 3, "Pending", None), "v"));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    set(&mut board, owned(step("own", 4, "Pending", None), "w"));
    assert_eq!(decide(&mut board, secs(0)), ["own@p1#1"]);
}

#[test]
fn a_second_holder_takes_no_run_from_the_first() {
    let mut board = board(4);
    set(&mut board, holder(1, "Running", Some("p1")));
    set(&mut board, step("one", 2, "Running", Some("p1")));
    set(&mut board, second_holder("a", 3, "p2"));
    set(&mut board, step("one", 4, "Succeeded", Some("p1")));
    set(&mut board, step("two", 5, "Pending", None));
    assert_eq!(decide(&mut board, secs(0)), ["two@p1#1"], "what one has left is on p1");
}

#[test]
fn the_slot_stays_taken_while_somebody_works_in_the_workspace() {
    let mut board = board(1);
    set(&mut board, placed("x", "p2", 1));
    for round in 0..3_u64 {
        let group = format!("g{round}");
        let in_group = |name: String, version, holds: bool, phase| {
            let spec = json!({"workspaceGroup": group, "holdsWorkspace": holds});
            let status = json!({"phase": phase, "assignedPod": "p1", "assignedPodUID": "uid-p1", "attempt": 1});
            run_with("default", &name, version, spec, status)
        };
        let (h, s) = (format!("h{round}"), format!("s{round}"));
        set(&mut board, in_group(h.clone(), 10 * round + 1, true, "Running"));
        set(&mut board, in_group(s, 10 * round + 2, false, "Running"));
        set(&mut board, in_group(h, 10 * round + 3, true, "Cancelled"));
    }
    set(&mut board, pending("other"));
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "three steps execute on a pod with one slot");
    for round in 0..3 {
        board.drop_run(&RunKey::of(&pending(&format!("s{round}"))));
    }
    assert!(board.pools[&pool("default")].shared.is_empty());
    assert_eq!(decide(&mut board, secs(0)), ["other@p1#1"]);
}
