//! What a roster orders, case by case.

use super::*;
use serde_json::json;

fn roster() -> Roster {
    after(&[])
}

fn after(left: &[&str]) -> Roster {
    let left = left.iter().map(|uid| (*uid).to_owned()).collect();
    Roster::new(Identity { name: "p".to_owned(), uid: "1".to_owned() }, Origin::Here, left)
}

fn run(phase: &str, pod: (&str, &str), attempt: i32) -> Arc<Run> {
    let scheduled = format!("2026-01-01T00:00:0{attempt}.000000Z");
    let run = json!({
        "metadata": {"name": "a", "namespace": "default", "uid": "u"},
        "spec": {"runtime": "bash"},
        "status": {"phase": phase, "assignedPod": pod.0, "assignedPodUID": pod.1, "attempt": attempt,
            "timeline": {"scheduled": scheduled}},
    });
    Arc::new(serde_json::from_value(run).unwrap())
}

fn mine(phase: &str, attempt: i32) -> Arc<Run> {
    run(phase, ("p", "1"), attempt)
}

fn names(orders: &[Order]) -> Vec<String> {
    let name = |order: &Order| match order {
        Order::Begin(uid, run, origin) => {
            let word = match origin {
                Origin::Here => "begin",
                Origin::Former => "resume",
            };
            format!("{word} {uid} {}", run.status.as_ref().unwrap().attempt.unwrap())
        }
        Order::Update(uid, _) => format!("update {uid}"),
        Order::Gone(uid) => format!("gone {uid}"),
        Order::Break(uid) => format!("break {uid}"),
        Order::Forget(uid) => format!("forget {uid}"),
        Order::KeepOnly(uids) => format!("keep {uids:?}"),
        Order::Sweep(uid) => format!("sweep {uid}"),
    };
    orders.iter().map(name).collect()
}

fn check(orders: &[Order], want: &[&str]) {
    assert_eq!(names(orders), want);
}

#[test]
fn an_assignment_begins_once_and_is_updated_after() {
    let mut roster = roster();
    check(&roster.observe(mine("Scheduled", 1)), &["begin u 1"]);
    check(&roster.observe(mine("Scheduled", 1)), &["update u"]);
    check(&roster.observe(mine("Running", 1)), &["update u"]);
    check(&roster.observe(mine("Succeeded", 1)), &["gone u"]);
    check(&roster.observe(mine("Succeeded", 1)), &[]);
    check(&roster.ended("u"), &[]);
    assert!(roster.is_empty());
}

#[test]
fn what_an_earlier_life_may_have_seen_is_told_apart() {
    let me = Identity { name: "p".to_owned(), uid: "1".to_owned() };
    let mut roster = Roster::new(me, Origin::Former, BTreeSet::new());
    roster.list_begins();
    check(&roster.listed(mine("Scheduled", 1)), &["resume u 1"]);
    check(&roster.list_ends(), &["keep {\"u\"}"]);
    check(&roster.observe(mine("Scheduled", 2)), &["gone u"]);
    check(&roster.ended("u"), &["begin u 2"]);
    // A later list is this life's own.
    check(&roster.observe(mine("Pending", 2)), &["gone u"]);
    check(&roster.ended("u"), &[]);
    roster.list_begins();
    check(&roster.listed(mine("Scheduled", 3)), &["begin u 3"]);
}

#[test]
fn what_is_not_this_pods_begins_nothing() {
    for other in [run("Scheduled", ("q", "1"), 1), run("Scheduled", ("p", "2"), 1)] {
        check(&roster().observe(other), &[]);
    }
    for phase in ["Pending", "Succeeded", "Failed", "Timeout", "Cancelled"] {
        check(&roster().observe(mine(phase, 1)), &[]);
    }
    let mut deleted = (*mine("Scheduled", 1)).clone();
    deleted.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    check(&roster().observe(Arc::new(deleted)), &[]);
    for uid in ["", "a/b", "..", "é", &"u".repeat(65)] {
        let mut hostile = (*mine("Scheduled", 1)).clone();
        hostile.metadata.uid = Some(uid.to_owned());
        check(&roster().observe(Arc::new(hostile)), &[]);
    }
}

#[test]
fn the_next_attempt_begins_when_the_former_has_ended() {
    let mut roster = roster();
    roster.observe(mine("Scheduled", 1));
    check(&roster.observe(mine("Scheduled", 2)), &["gone u"]);
    check(&roster.observe(mine("Scheduled", 3)), &[]);
    check(&roster.ended("u"), &["begin u 3"]);
    check(&roster.observe(mine("Scheduled", 3)), &["update u"]);
}

#[test]
fn the_same_number_given_anew_is_another_attempt() {
    let mut roster = roster();
    roster.observe(mine("Scheduled", 1));
    let mut anew = (*mine("Scheduled", 1)).clone();
    anew.status.as_mut().unwrap().timeline.as_mut().unwrap().scheduled =
        Some(serde_json::from_value(json!("2026-01-01T00:00:09.000000Z")).unwrap());
    check(&roster.observe(Arc::new(anew)), &["gone u"]);
    check(&roster.ended("u"), &["begin u 1"]);
}

#[test]
fn a_next_attempt_that_is_taken_away_meanwhile_does_not_begin() {
    let mut roster = roster();
    roster.observe(mine("Scheduled", 1));
    roster.observe(mine("Scheduled", 2));
    check(&roster.gone("u", Phase::Pending), &[]);
    check(&roster.ended("u"), &[]);
}

#[test]
fn a_relist_tells_what_went_meanwhile() {
    let mut roster = roster();
    roster.list_begins();
    check(&roster.listed(mine("Running", 1)), &["begin u 1"]);
    check(&roster.list_ends(), &["keep {\"u\"}"]);
    roster.list_begins();
    check(&roster.listed(mine("Running", 1)), &["update u"]);
    check(&roster.list_ends(), &["keep {\"u\"}"]);
    roster.list_begins();
    roster.unreadable(Some("u".to_owned()));
    check(&roster.list_ends(), &["keep {\"u\"}"]);
    roster.list_begins();
    check(&roster.list_ends(), &["gone u", "keep {}"]);
}

#[test]
fn what_an_earlier_life_left_is_swept_before_a_next_attempt_begins() {
    let mut roster = after(&["u", "v"]);
    roster.list_begins();
    check(&roster.list_ends(), &["sweep u", "sweep v", "keep {}"]);
    assert!(!roster.is_empty());
    check(&roster.observe(mine("Scheduled", 2)), &[]);
    check(&roster.ended("v"), &[]);
    check(&roster.ended("u"), &["begin u 2"]);
    let mut goes_on = after(&["u"]);
    goes_on.list_begins();
    check(&goes_on.listed(mine("Running", 1)), &["begin u 1"]);
    check(&goes_on.list_ends(), &["keep {\"u\"}"]);
    goes_on.list_begins();
    check(&goes_on.list_ends(), &["gone u", "keep {}"]);
}

#[test]
fn what_is_kept_of_a_deleted_run_goes_when_nothing_of_it_goes_on() {
    let mut roster = roster();
    check(&roster.gone("u", Phase::Succeeded), &["forget u"]);
    check(&roster.gone("u", Phase::Running), &[]);
    roster.observe(mine("Running", 1));
    check(&roster.gone("u", Phase::Succeeded), &["gone u"]);
    check(&roster.ended("u"), &["forget u"]);
}

#[test]
fn after_a_break_all_that_a_new_list_shows_has_to_end() {
    let mut roster = after(&["v"]);
    roster.observe(mine("Scheduled", 1));
    check(&roster.broken(), &["break u"]);
    check(&roster.list_ends(), &["gone u", "sweep v", "keep {}"]);
    assert!(!roster.is_cleared(), "the list began before the break");
    roster.list_begins();
    assert!(!roster.is_cleared());
    roster.listed(mine("Scheduled", 1));
    check(&roster.list_ends(), &["keep {\"u\"}", "break u", "break v"]);
    check(&roster.ended("v"), &[]);
    assert!(!roster.is_cleared());
    check(&roster.ended("u"), &["begin u 1", "break u"]);
    assert!(!roster.is_cleared(), "it was assigned before the break");
    check(&roster.ended("u"), &[]);
    assert!(roster.is_cleared());
    assert!(!roster.is_cleared(), "once");
}

#[test]
fn what_is_assigned_after_a_break_is_not_waited_for() {
    let mut roster = roster();
    check(&roster.broken(), &[]);
    roster.list_begins();
    check(&roster.list_ends(), &["keep {}"]);
    check(&roster.observe(mine("Scheduled", 1)), &["begin u 1"]);
    assert!(roster.is_cleared());
    check(&roster.ended("u"), &[]);
}

#[test]
fn a_break_during_the_clearing_of_another_begins_anew() {
    let mut roster = roster();
    roster.observe(mine("Scheduled", 1));
    roster.broken();
    roster.list_begins();
    roster.listed(mine("Scheduled", 1));
    roster.list_ends();
    check(&roster.broken(), &["break u"]);
    roster.ended("u");
    assert!(!roster.is_cleared(), "no list since");
    roster.list_begins();
    roster.list_ends();
    assert!(roster.is_cleared());
}

#[test]
fn a_pod_that_ends_begins_nothing() {
    let mut roster = roster();
    roster.observe(mine("Scheduled", 1));
    roster.observe(mine("Scheduled", 2));
    roster.close();
    check(&roster.ended("u"), &[]);
}

#[test]
fn an_older_look_does_not_begin_again_what_has_ended() {
    let mut roster = roster();
    check(&roster.observe(mine("Scheduled", 1)), &["begin u 1"]);
    check(&roster.ended("u"), &[]);
    check(&roster.observe(mine("Running", 1)), &[]);
    roster.list_begins();
    check(&roster.listed(mine("Scheduled", 1)), &[]);
    check(&roster.list_ends(), &[r#"keep {"u"}"#]);
    check(&roster.observe(mine("Scheduled", 1)), &[]);
    check(&roster.observe(mine("Scheduled", 2)), &["begin u 2"]);
}

#[test]
fn what_has_ended_is_remembered_only_until_the_api_server_knows_it() {
    let ended = || {
        let mut roster = roster();
        check(&roster.observe(mine("Scheduled", 1)), &["begin u 1"]);
        check(&roster.ended("u"), &[]);
        roster
    };
    let mut shown = ended();
    check(&shown.observe(mine("Failed", 1)), &[]);
    let mut left = ended();
    check(&left.gone("u", Phase::Pending), &[]);
    let mut absent = ended();
    absent.list_begins();
    check(&absent.list_ends(), &["keep {}"]);
    let mut known = roster();
    check(&known.observe(mine("Scheduled", 1)), &["begin u 1"]);
    check(&known.observe(mine("Failed", 1)), &["gone u"]);
    check(&known.ended("u"), &[]);
    for roster in [shown, left, absent, known] {
        assert!(roster.over.is_empty());
    }
}
