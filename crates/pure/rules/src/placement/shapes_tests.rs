//! Requests of more than one Run: vectors, what can never be had, and big ones among small ones.

use super::pods::WATCHED;
use super::pool::HOLD_AFTER;
use super::tests::{START, decide, placed, pod, pool, run_with, secs, usable};
use super::*;
use crate::capacity::Resources;
use kruntimes_api::{Run, Runtime};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn asks(name: &str, requests: &Value) -> Arc<Run> {
    let spec = json!({"resources": {"requests": requests}});
    run_with("default", name, 1, spec, json!({"phase": "Pending"}))
}

fn with_pods(capacity: &Resources, pods: &[&str]) -> Board {
    let mut board = Board::default();
    board.set_runtime(pool("default"), usable(capacity.clone()));
    for name in pods {
        set_pod(&mut board, name, capacity, PodHealth::Ready);
    }
    board
}

fn set_pod(board: &mut Board, name: &str, capacity: &Resources, health: PodHealth) {
    board.set_pod(&PodView { capacity: capacity.clone(), ..pod("default", name, 1, health) });
}

fn submit(board: &mut Board, name: &str, requests: &Value, now: Duration) {
    board.set_run(asks(name, requests), now, START);
}

fn end(board: &mut Board, name: &str) {
    board.drop_run(&RunKey { namespace: "default".to_owned(), name: name.to_owned() });
}

#[test]
fn a_pod_must_have_every_resource_free() {
    let mut board = with_pods(&Resources::runs(4).with("gpu", 2), &["p1", "p2"]);
    submit(&mut board, "a", &json!({"gpu": 2}), secs(0));
    submit(&mut board, "b", &json!({"gpu": "1", "runs": 3}), secs(0));
    submit(&mut board, "c", &json!({"gpu": 2}), secs(0));
    submit(&mut board, "d", &json!({"gpu": 1}), secs(0));
    submit(&mut board, "e", &json!({"runs": 4}), secs(0));
    submit(&mut board, "f", &json!({}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1", "b@p2#1", "d@p2#1", "f@p1#1"]);
    end(&mut board, "a");
    assert_eq!(decide(&mut board, secs(0)), ["c@p1#1"]);
    end(&mut board, "c");
    end(&mut board, "f");
    assert_eq!(decide(&mut board, secs(0)), ["e@p1#1"]);
    assert_eq!(board.pending(), 0);
}

#[test]
fn placed_runs_take_what_they_request_before_and_after_their_pod_is_seen() {
    let has = Resources::runs(4).with("gpu", 2);
    let mut board = with_pods(&has, &[]);
    let mut a = (*placed("a", "p1", 1)).clone();
    a.spec = asks("a", &json!({"gpu": 2})).spec.clone();
    board.set_run(Arc::new(a), secs(0), START);
    submit(&mut board, "b", &json!({"gpu": 1}), secs(0));
    set_pod(&mut board, "p1", &has, PodHealth::Ready);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.drop_pod(&pool("default"), "p1");
    set_pod(&mut board, "p1", &has, PodHealth::Ready);
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "a pod that comes back has its Runs still");
    end(&mut board, "a");
    assert_eq!(decide(&mut board, secs(0)), ["b@p1#1"]);
}

#[test]
fn what_no_pod_could_ever_have_is_refused_by_field_value_and_limit() {
    let mut board = with_pods(&Resources::runs(4).with("gpu", 2), &["p1"]);
    submit(&mut board, "edge", &json!({"gpu": 2, "runs": 4}), secs(0));
    submit(&mut board, "gpu", &json!({"gpu": 3}), secs(0));
    submit(&mut board, "runs", &json!({"runs": 5}), secs(0));
    submit(&mut board, "tpu", &json!({"tpu": 1}), secs(0));
    submit(&mut board, "odd", &json!({"gpu": "1.5"}), secs(0));
    let mut decided = decide(&mut board, secs(0));
    decided.sort();
    assert_eq!(
        decided,
        [
            "edge@p1#1",
            "gpu refused: spec.resources.requests.gpu: 3 can never be had: a pod of its Runtime has 2; ask for \
             less, or raise spec.capacity.resources.gpu of the Runtime",
            "odd refused: spec.resources.requests.gpu: \"1.5\" is not an integer from 0 to 1000000000000000",
            "runs refused: spec.resources.requests.runs: 5 can never be had: a pod of its Runtime has 4; ask for \
             less, or raise spec.capacity.resources.runs of the Runtime",
            "tpu refused: spec.resources.requests.tpu: 1 can never be had: a pod of its Runtime has none of it, but \
             runs=4, gpu=2; ask for less, or raise spec.capacity.resources.tpu of the Runtime",
        ]
    );
    assert_eq!(decide(&mut board, secs(0)), [""; 0], "once");
}

#[test]
fn ever_means_the_pods_that_come_and_the_old_ones_that_stay() {
    let (old, new) = (Resources::runs(1).with("gpu", 8), Resources::runs(4));
    let mut board = with_pods(&new, &[]);
    set_pod(&mut board, "old", &old, PodHealth::NotReady);
    submit(&mut board, "gpu", &json!({"gpu": 8}), secs(0));
    submit(&mut board, "many", &json!({"runs": 4}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    set_pod(&mut board, "old", &old, PodHealth::Ready);
    assert_eq!(decide(&mut board, secs(0)), ["gpu@old#1"]);
    submit(&mut board, "late", &json!({"gpu": 8}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    set_pod(&mut board, "old", &old, PodHealth::Leaving);
    let refused = decide(&mut board, secs(0));
    assert!(refused.len() == 1 && refused[0].starts_with("late refused: "), "{refused:?}");
    board.set_runtime(pool("default"), usable(Resources::runs(3)));
    assert_eq!(decide(&mut board, secs(0)).len(), 1, "the capacity was lowered below what waits");
}

#[test]
fn a_runtime_that_is_not_there_or_can_not_be_read_refuses_nothing() {
    let mut board = Board::default();
    submit(&mut board, "a", &json!({"gpu": 1}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.set_runtime(pool("default"), RuntimeView::Unusable);
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    board.set_runtime(pool("default"), usable(Resources::runs(1)));
    assert_eq!(decide(&mut board, secs(0)).len(), 1);
}

#[test]
fn a_refusal_that_was_not_written_is_decided_again() {
    let mut board = with_pods(&Resources::runs(2), &["p1"]);
    submit(&mut board, "a", &json!({"runs": 3}), secs(0));
    assert_eq!(decide(&mut board, secs(0)).len(), 1);
    let key = RunKey::of(&asks("a", &json!({})));
    board.not_written(&key, Some("1"), secs(0), START);
    board.set_runtime(pool("default"), usable(Resources::runs(3)));
    set_pod(&mut board, "p1", &Resources::runs(3), PodHealth::Ready);
    assert_eq!(decide(&mut board, secs(1)), ["a@p1#1"]);
}

#[test]
fn a_cancelled_run_with_a_request_that_can_not_be_read_is_cancelled() {
    let mut board = with_pods(&Resources::runs(2), &["p1"]);
    let spec = json!({"resources": {"requests": {"gpu": "x"}}, "cancelRequested": true});
    board.set_run(run_with("default", "a", 1, spec, json!({})), secs(0), START);
    assert_eq!(decide(&mut board, secs(0)), ["a cancelled"]);
}

/// Small Runs of 1 s keep two pods busy for ever: how long does a big one wait?
#[test]
fn a_big_run_lets_small_ones_pass_for_a_while_and_then_gets_a_pod() {
    let mut board = with_pods(&Resources::runs(2), &["p1", "p2"]);
    let mut running: Vec<String> = Vec::new();
    let mut placed_at = None;
    let mut small_per_second = Vec::new();
    for step in 0..40 {
        let now = secs(step);
        // Half of what executes ends, so that never a whole pod is free.
        if step % 2 == 0 {
            running.drain(..running.len() / 2).for_each(|name| end(&mut board, &name));
        }
        for number in 0..4 {
            submit(&mut board, &format!("s{step}-{number}"), &json!({}), now);
        }
        if step == 5 {
            submit(&mut board, "big", &json!({"runs": 2}), now);
        }
        let decided = decide(&mut board, now);
        let names = decided.iter().filter_map(|text| Some(text.split_once('@')?.0.to_owned()));
        let names: Vec<String> = names.collect();
        if names.contains(&"big".to_owned()) {
            placed_at = Some(step);
        }
        small_per_second.push(names.iter().filter(|name| *name != "big").count());
        running.extend(names);
        if placed_at.is_some() {
            break;
        }
    }
    let placed_at = placed_at.expect("the big Run starves");
    assert!(placed_at >= 5 + HOLD_AFTER.as_secs(), "it takes its turn, not more: {placed_at}");
    let passed: usize = small_per_second[6..15].iter().sum();
    assert!(passed >= 4, "small ones pass meanwhile: {small_per_second:?}");
    let held: usize = small_per_second[16..].iter().sum();
    assert!(held >= 1, "and go on on the other pod: {small_per_second:?}");
}

#[test]
fn a_pod_is_held_from_ten_seconds_on_and_not_before() {
    for (wait, want) in
        [(HOLD_AFTER - Duration::from_nanos(1), "small@p1#1"), (HOLD_AFTER, "big@p1#1")]
    {
        let mut board = with_pods(&Resources::runs(2), &["p1"]);
        submit(&mut board, "first", &json!({}), secs(0));
        decide(&mut board, secs(0));
        submit(&mut board, "big", &json!({"runs": 2}), secs(0));
        submit(&mut board, "small", &json!({}), wait);
        let mut decided = decide(&mut board, wait);
        end(&mut board, "first");
        decided.extend(decide(&mut board, wait));
        decided.retain(|text| text.contains('@'));
        assert_eq!(decided.first().map(String::as_str), Some(want), "{wait:?}");
    }
}

#[test]
fn a_hold_ends_with_its_run_and_moves_when_its_pod_goes() {
    let two = Resources::runs(2);
    let mut board = with_pods(&two, &["p1", "p2"]);
    for name in ["a", "b"] {
        submit(&mut board, name, &json!({}), secs(0));
    }
    assert_eq!(decide(&mut board, secs(0)), ["a@p1#1", "b@p2#1"]);
    submit(&mut board, "big", &json!({"runs": 2}), secs(0));
    submit(&mut board, "c", &json!({}), secs(20));
    let at = |text: &Vec<String>| text.iter().filter(|text| text.contains('@')).cloned().collect();
    let decided: Vec<String> = at(&decide(&mut board, secs(20)));
    assert_eq!(decided, ["c@p2#1"], "p1 is held");
    set_pod(&mut board, "p1", &two, PodHealth::NotReady);
    end(&mut board, "c");
    submit(&mut board, "d", &json!({}), secs(21));
    let decided: Vec<String> = at(&decide(&mut board, secs(21)));
    assert_eq!(decided, [""; 0], "p2 is held instead");
    end(&mut board, "big");
    let decided: Vec<String> = at(&decide(&mut board, secs(21)));
    assert_eq!(decided, ["d@p2#1"]);
}

#[test]
fn beyond_the_watched_shapes_the_oldest_head_is_next_and_one_run_is_never_behind() {
    let mut board = with_pods(&Resources::runs(100).with("gpu", 1), &["p1"]);
    submit(&mut board, "taker", &json!({"gpu": 1}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), ["taker@p1#1"]);
    for shape in 1..=WATCHED {
        submit(&mut board, &format!("w{shape}"), &json!({"gpu": 1, "runs": shape}), secs(0));
    }
    submit(&mut board, "beyond", &json!({"runs": 50}), secs(0));
    submit(&mut board, "one", &json!({}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), ["one@p1#1"]);
    end(&mut board, "w7");
    assert_eq!(decide(&mut board, secs(0)), ["beyond@p1#1"]);
    // A lane that goes on does not keep its place from an older head.
    submit(&mut board, "w1-again", &json!({"gpu": 1, "runs": 1}), secs(0));
    submit(&mut board, "x1", &json!({"gpu": 1, "runs": 60}), secs(0));
    submit(&mut board, "x2", &json!({"runs": 2, "tpu": 0}), secs(0));
    submit(&mut board, "w1-last", &json!({"gpu": 1, "runs": 1}), secs(0));
    assert_eq!(decide(&mut board, secs(0)), [""; 0]);
    end(&mut board, "w1");
    end(&mut board, "w1-again");
    assert_eq!(decide(&mut board, secs(0)), ["x2@p1#1"]);
    assert_eq!(board.pending(), WATCHED);
}

#[test]
fn a_runtime_is_seen_with_its_capacity() {
    let view = |deleted: Option<&str>, resources: Value| {
        let runtime: Runtime = serde_json::from_value(json!({
            "metadata": {"name": "bash", "deletionTimestamp": deleted},
            "spec": {"template": {}, "capacity": {"resources": resources}},
        }))
        .unwrap();
        RuntimeView::of(&runtime)
    };
    assert_eq!(view(None, json!({})), usable(Resources::runs(2)));
    assert_eq!(
        view(None, json!({"gpu": "2", "runs": 3})),
        usable(Resources::runs(3).with("gpu", 2))
    );
    assert_eq!(view(None, json!({"gpu": "half"})), RuntimeView::Unusable);
    assert_eq!(view(Some("2026-01-01T00:00:00Z"), json!({})), RuntimeView::Gone);
}

#[test]
fn a_waiting_run_says_what_it_waits_for() {
    let says = |request: &Resources| Waiting::NoCapacity.message(&pool("default"), request);
    assert_eq!(
        says(&Resources::runs(1)),
        "waiting for Runtime bash: all slots of its ready pods are taken"
    );
    assert_eq!(
        says(&Resources::runs(1).with("gpu", 2)),
        "waiting for Runtime bash: no ready pod has runs=1, gpu=2 free"
    );
}
