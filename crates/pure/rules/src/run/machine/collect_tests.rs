//! Between the end of the processes and the final write.

use super::collect::COLLECT_WITHIN;
use super::tests::{after_running, at, exit, spec, words};
use super::*;
use crate::run::event::Collected;
use crate::run::outputs::Outputs;
use kruntimes_api::ArtifactRef;

fn outputs() -> Outputs {
    Outputs::from([("a".to_owned(), "1".to_owned())])
}

fn ended(code: i32, attempts: i32) -> Machine {
    let mut machine = after_running(spec(Some(1), attempts), &[]);
    assert_eq!(machine.handle(Event::Exited(exit(code), at(9)), at(9)), [Effect::Collect]);
    machine
}

fn outcome(effects: &[Effect]) -> &Outcome {
    let (Effect::WriteTerminal(outcome, _) | Effect::WriteRetry(outcome, _)) = &effects[0] else {
        panic!("{effects:?} begin with no final write");
    };
    outcome
}

#[test]
fn outputs_go_with_the_final_write_of_a_success_and_of_a_failure() {
    for (code, attempts, want) in [
        (0, 1, ["Succeeded:RunCompleted", "release"]),
        (3, 1, ["Failed:RuntimeError", "release"]),
        (3, 2, ["retry:RuntimeError", "release"]),
    ] {
        let mut machine = ended(code, attempts);
        let collected = Collected { outputs: outputs(), ..Collected::default() };
        let effects = machine.handle(Event::Collected(collected.clone()), at(10));
        assert_eq!(words(&effects), want);
        assert_eq!(outcome(&effects).outputs, outputs());
        assert_eq!(machine.handle(Event::Collected(collected), at(11)), [], "they come once");
    }
}

#[test]
fn what_cannot_be_kept_is_never_tried_again() {
    let refused = Some((Reason::OutputsInvalid, "line 1".to_owned()));
    let collected = Collected { refused, ..Collected::default() };
    let effects = ended(0, 2).handle(Event::Collected(collected), at(10));
    assert_eq!(words(&effects), ["Failed:OutputsInvalid", "release"]);
    assert_eq!(outcome(&effects).exit_code, Some(0));
}

#[test]
fn neither_a_timeout_nor_a_cancel_changes_how_an_ended_command_ended() {
    let mut machine = ended(0, 1);
    for event in [Event::CancelRequested, Event::Fenced, Event::Broken, Event::Shutdown] {
        assert_eq!(machine.handle(event, at(10)), []);
    }
    assert_eq!(words(&machine.handle(Event::Deadline, at(1500))), ["running"]);
    let effects = machine.handle(Event::Collected(Collected::default()), at(2000));
    assert_eq!(words(&effects), ["Succeeded:RunCompleted", "release"]);
}

#[test]
fn a_disk_that_does_not_answer_holds_no_run_for_ever() {
    let mut machine = ended(0, 1);
    let end = 9 + i64::try_from(COLLECT_WITHIN.as_millis()).unwrap();
    machine.handle(Event::Deadline, at(100));
    assert_eq!(machine.deadline(), Some(at(end)));
    assert_eq!(machine.handle(Event::Deadline, at(end - 1)), []);
    let effects = machine.handle(Event::Deadline, at(end));
    assert_eq!(words(&effects), ["Failed:OutputsInvalid", "release"]);
}

#[test]
fn a_run_that_is_gone_leaves_nothing_behind() {
    assert_eq!(words(&ended(0, 1).handle(Event::Deleted, at(10))), ["release", "forget", "remove"]);
    let mut machine = after_running(spec(None, 1), &[(10, Event::Deleted, &["cancel"])]);
    let effects = machine.handle(Event::Exited(exit(0), at(11)), at(11));
    assert_eq!(words(&effects), ["release"]);
}

#[test]
fn what_was_killed_is_looked_through_once_it_is_dead() {
    let mut machine = after_running(spec(None, 1), &[(10, Event::CancelRequested, &["cancel"])]);
    assert_eq!(machine.handle(Event::CancelAcknowledged, at(11)), [Effect::Collect]);
    let collected = Collected { outputs: outputs(), ..Collected::default() };
    let effects = machine.handle(Event::Collected(collected), at(12));
    assert_eq!(words(&effects), ["Cancelled:Cancelled", "release"]);
    assert_eq!(outcome(&effects).outputs, outputs());
}

fn keeping(attempts: i32) -> Machine {
    let mut machine = ended(0, attempts);
    let collected = Collected { outputs: outputs(), artifacts: true, ..Collected::default() };
    let effects = machine.handle(Event::Collected(collected), at(10));
    assert_eq!(words(&effects), ["keep"]);
    machine
}

fn artifact() -> ArtifactRef {
    serde_json::from_value(serde_json::json!({
        "name": "a", "driver": "filesystem", "type": "file", "sizeBytes": 1,
        "location": {"filesystem": {"path": "p"}}, "createdAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

#[test]
fn a_success_waits_for_its_artifacts() {
    let mut machine = keeping(1);
    assert_eq!(words(&machine.handle(Event::Deadline, at(5_000))), ["running"], "no timeout");
    let effects = machine.handle(Event::Kept(Ok(vec![artifact()])), at(60_000));
    assert_eq!(words(&effects), ["Succeeded:RunCompleted", "release"]);
    assert_eq!(
        (&outcome(&effects).artifacts, &outcome(&effects).outputs),
        (&vec![artifact()], &outputs())
    );
}

#[test]
fn a_failure_keeps_no_artifacts() {
    let collected = Collected { artifacts: true, ..Collected::default() };
    let effects = ended(3, 1).handle(Event::Collected(collected.clone()), at(10));
    assert_eq!(words(&effects), ["Failed:RuntimeError", "release"]);
    let refused = Some((Reason::OutputsInvalid, "line 1".to_owned()));
    let effects = ended(0, 1).handle(Event::Collected(Collected { refused, ..collected }), at(10));
    assert_eq!(words(&effects), ["Failed:OutputsInvalid", "release"]);
}

#[test]
fn artifacts_that_are_not_kept_fail_the_attempt_but_not_its_outputs() {
    for (reason, attempts, want) in [
        (Reason::ArtifactInvalid, 2, "Failed:ArtifactInvalid"),
        (Reason::ArtifactStoreFailed, 1, "Failed:ArtifactStoreFailed"),
        (Reason::ArtifactStoreFailed, 2, "retry:ArtifactStoreFailed"),
    ] {
        let effects =
            keeping(attempts).handle(Event::Kept(Err((reason, "why".to_owned()))), at(20));
        assert_eq!(words(&effects), [want, "release"]);
        assert_eq!(outcome(&effects).outputs, outputs());
        assert_eq!(outcome(&effects).exit_code, Some(0));
    }
}

#[test]
fn a_cancel_between_the_end_and_the_keeping_begins_no_keeping() {
    let mut machine = ended(0, 2);
    assert_eq!(machine.handle(Event::CancelRequested, at(10)), []);
    let collected = Collected { artifacts: true, ..Collected::default() };
    let effects = machine.handle(Event::Collected(collected), at(11));
    assert_eq!(words(&effects), ["Cancelled:Cancelled", "release"]);
}

#[test]
fn who_stops_the_keeping_waits_for_its_end() {
    for (event, want) in [
        (Event::Broken, "retry:Fenced"),
        (Event::Fenced, "retry:Fenced"),
        (Event::Shutdown, "retry:PodTerminating"),
        (Event::CancelRequested, "Cancelled:Cancelled"),
    ] {
        let mut machine = keeping(2);
        assert_eq!(machine.handle(event.clone(), at(20)), [Effect::StopKeeping]);
        assert_eq!(machine.handle(Event::Shutdown, at(21)), [], "the first reason stays");
        let effects = machine.handle(Event::Kept(Ok(vec![artifact()])), at(22));
        assert_eq!(words(&effects), [want, "release"], "{event:?}");
        assert_eq!(outcome(&effects).artifacts, []);
    }
    let mut machine = keeping(2);
    machine.handle(Event::CancelRequested, at(20));
    assert_eq!(machine.handle(Event::Deleted, at(21)), []);
    let effects = machine.handle(Event::Kept(Ok(Vec::new())), at(22));
    assert_eq!(words(&effects), ["release", "forget", "remove"]);
    assert_eq!(keeping(1).handle(Event::Drain, at(20)), [], "a drain waits");
}

#[test]
fn a_store_that_never_answers_holds_no_run_for_ever_and_is_not_tried_again() {
    let mut machine = keeping(2);
    machine.handle(Event::Deadline, at(100));
    let due = machine.deadline().unwrap();
    let effects = machine.handle(Event::Deadline, due);
    assert_eq!(words(&effects), ["stop keeping", "Failed:ArtifactStoreFailed", "release"]);
}

#[test]
fn a_lost_answer_about_the_start_does_not_take_a_success_its_artifacts() {
    let mut machine = keeping(2);
    let failed = Event::ExecuteFailed("deadline".to_owned());
    assert_eq!(words(&machine.handle(failed, at(20))), [""; 0]);
    let effects = machine.handle(Event::Kept(Ok(vec![artifact()])), at(22));
    assert_eq!(words(&effects), ["Succeeded:RunCompleted", "release"]);
}
