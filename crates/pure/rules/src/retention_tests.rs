//! Retention by tables.

use super::*;
use serde_json::json;

fn run(name: &str, ended: &str, ttl: Option<i32>) -> Run {
    let mut run: Run = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"runtime": "bash"},
        "status": {"phase": "Succeeded", "completionTime": ended},
    }))
    .unwrap();
    run.spec.ttl_seconds_after_finished = ttl;
    run
}

fn deleted(policy: Policy, runs: &[Run], now: &str) -> Vec<String> {
    let mut retention = Retention::new(policy);
    runs.iter().for_each(|run| retention.set(run));
    let now = now.parse().unwrap();
    std::iter::from_fn(|| retention.next(now)).map(|deletion| deletion.key.name).collect()
}

const END: &str = "2026-01-01T00:00:00Z";
const KEEP: Policy = Policy { default_ttl: None, max_runs: None };

#[test]
fn a_run_goes_when_its_ttl_has_passed_and_not_before() {
    let runs = [run("a", END, Some(10))];
    assert_eq!(deleted(KEEP, &runs, "2026-01-01T00:00:09.999Z"), [""; 0]);
    assert_eq!(deleted(KEEP, &runs, "2026-01-01T00:00:10Z"), ["a"]);
}

#[test]
fn a_ttl_of_zero_keeps_a_run_for_ever() {
    let policy = Policy { default_ttl: Some(Duration::from_secs(1)), max_runs: Some(0) };
    assert_eq!(deleted(policy, &[run("a", END, Some(0))], "2036-01-01T00:00:00Z"), [""; 0]);
}

#[test]
fn the_default_holds_for_runs_without_a_ttl() {
    let policy = Policy { default_ttl: Some(Duration::from_secs(60)), max_runs: None };
    let runs = [run("a", END, None), run("b", END, Some(3600))];
    assert_eq!(deleted(policy, &runs, "2026-01-01T00:01:00Z"), ["a"]);
}

#[test]
fn above_the_count_the_oldest_go_first() {
    let policy = Policy { default_ttl: None, max_runs: Some(1) };
    let runs = [
        run("new", "2026-01-01T00:00:02Z", None),
        run("old", END, None),
        run("middle", "2026-01-01T00:00:01Z", None),
    ];
    assert_eq!(deleted(policy, &runs, END), ["old", "middle"]);
}

#[test]
fn the_next_look_is_when_the_first_ttl_ends() {
    let mut retention = Retention::new(KEEP);
    assert_eq!(retention.deadline(), None);
    for run in [run("late", END, Some(20)), run("soon", END, Some(10)), run("kept", END, Some(0))] {
        retention.set(&run);
    }
    assert_eq!(retention.deadline(), Some("2026-01-01T00:00:10Z".parse().unwrap()));
    retention.remove(&RunKey::of(&run("soon", END, None)));
    assert_eq!(retention.deadline(), Some("2026-01-01T00:00:20Z".parse().unwrap()));
}

#[test]
fn a_run_that_is_gone_or_goes_or_has_not_ended_is_not_deleted() {
    let policy = Policy { default_ttl: Some(Duration::from_secs(1)), max_runs: Some(0) };
    let later = "2026-01-01T00:01:00Z".parse().unwrap();
    let mut retention = Retention::new(policy);
    retention.set(&run("a", END, None));
    retention.remove(&RunKey::of(&run("a", END, None)));
    let mut deleting = run("b", END, None);
    deleting.metadata.deletion_timestamp = serde_json::from_value(json!(END)).unwrap();
    retention.set(&deleting);
    let mut running = run("c", END, None);
    running.status.as_mut().unwrap().phase = serde_json::from_value(json!("Running")).unwrap();
    retention.set(&running);
    assert_eq!((retention.deadline(), retention.next(later)), (None, None));
}
