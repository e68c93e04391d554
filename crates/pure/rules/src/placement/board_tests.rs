//! Budgets of decisions, and what a board holds when all is gone.

use super::tests::{START, pending, placed, pod, pool, run_with, secs, usable};
use super::*;
use crate::capacity::Resources;
use kruntimes_api::Run;
use serde_json::json;
use std::sync::Arc;

fn cancelled(name: &str) -> Arc<Run> {
    run_with("default", name, 1, json!({"cancelRequested": true}), json!({"phase": "Pending"}))
}

/// Asks for what can't be read.
fn unreadable(name: &str) -> Arc<Run> {
    let requests = json!({"resources": {"requests": {"gpu": "x"}}});
    run_with("default", name, 1, requests, json!({"phase": "Pending"}))
}

fn ready(slots: u32) -> Board {
    let mut board = Board::default();
    board.set_runtime(pool("default"), usable(Resources::runs(slots)));
    board.set_pod(&pod("default", "p1", slots, PodHealth::Ready));
    board
}

#[test]
fn no_more_is_decided_at_once_than_was_asked_for_and_the_rest_later() {
    let makers: [fn(&str) -> Arc<Run>; 3] = [cancelled, unreadable, pending];
    for make in makers {
        let mut board = ready(9);
        for name in ["a", "b", "c"] {
            board.set_run(make(name), secs(0), START);
        }
        let mut counts = vec![];
        for budget in [0, 1, 1, 5, 5] {
            counts.push(board.decide(secs(0), START, budget).len());
        }
        assert_eq!(counts, [0, 1, 1, 1, 0]);
    }
    // One of each kind beside each other, and a message.
    let mut board = ready(1);
    for run in [cancelled("a"), unreadable("b"), pending("c"), pending("d")] {
        board.set_run(run, secs(0), START);
    }
    let counts = [1, 1, 1, 1, 1].map(|budget| board.decide(secs(2), START, budget).len());
    assert_eq!(counts, [1, 1, 1, 1, 0]);
}

#[test]
fn of_what_is_gone_nothing_stays() {
    let mut board = Board::default();
    for (runs, pods) in [(1, 0), (0, 1), (1, 1), (3, 2)] {
        let names: Vec<String> = (0..runs).map(|number| format!("r{number}")).collect();
        board.set_runtime(pool("default"), usable(Resources::runs(2)));
        for number in 0..pods {
            board.set_pod(&pod("default", &format!("p{number}"), 2, PodHealth::Ready));
        }
        for name in &names {
            board.set_run(pending(name), secs(0), START);
        }
        drop(board.decide(secs(0), START, 100));
        board.set_runtime(pool("default"), RuntimeView::Gone);
        drop(board.decide(secs(0), START, 100));
        assert!(!board.pools.is_empty(), "{runs} {pods}");
        for number in 0..pods {
            board.drop_pod(&pool("default"), &format!("p{number}"));
        }
        for name in &names {
            board.drop_run(&RunKey::of(&pending(name)));
        }
        drop(board.decide(secs(0), START, 100));
        assert!(board.pools.is_empty(), "{runs} {pods}: {board:?}");
    }
}

#[test]
fn a_pool_whose_runs_alone_are_known_stays_known() {
    let mut board = Board::default();
    board.set_run(placed("a", "p1", 1), secs(0), START);
    drop(board.decide(secs(0), START, 100));
    board.set_runtime(pool("default"), usable(Resources::runs(1)));
    board.set_pod(&pod("default", "p1", 1, PodHealth::Ready));
    board.set_run(pending("b"), secs(0), START);
    assert!(board.decide(secs(0), START, 100).is_empty(), "its slot is taken");
}
