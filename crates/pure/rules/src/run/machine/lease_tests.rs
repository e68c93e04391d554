//! The machine of an attempt and the pod's Lease.

use super::tests::{after_running, at, exit, play, spec, words};
use super::*;

const HANDED_BACK: &[&str] = &["back:the pod's Lease was broken", "release"];

#[test]
fn a_fence_kills_what_executes_and_leaves_what_waits_for_the_lease() {
    after_running(
        spec(None, 2),
        &[
            (9, Event::Fenced, &["cancel"]),
            (10, Event::Fenced, &[]),
            (20, Event::CancelAcknowledged, &["retry:Fenced", "release"]),
        ],
    );
    let waits: [(i64, Event, &[&str]); 5] = [
        (0, Event::Fenced, &[]),
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Fenced, &[]),
        (1, Event::Prepared, &["await"]),
        (2, Event::Fenced, &[]),
    ];
    let mut machine = play(spec(None, 1), &waits);
    assert_eq!(words(&machine.handle(Event::LeaseHeld, at(3))), ["execute"]);
    assert_eq!(words(&machine.handle(Event::Fenced, at(4))), ["abandon"], "not answered yet");
    assert_eq!(words(&machine.handle(Event::Executed, at(5))), ["cancel"]);
}

#[test]
fn a_break_hands_back_what_has_not_started() {
    let to_gate: [(i64, Event, &[&str]); 2] =
        [(0, Event::SlotGranted, &["prepare"]), (1, Event::Prepared, &["await"])];
    play(spec(None, 1), &[(0, Event::Broken, HANDED_BACK)]);
    let stopped: &[&str] = &["stop", "back:the pod's Lease was broken", "release"];
    play(spec(None, 1), &[to_gate[0].clone(), (1, Event::Broken, stopped)]);
    play(spec(None, 1), &[to_gate[0].clone(), to_gate[1].clone(), (2, Event::Broken, HANDED_BACK)]);
    after_running(
        spec(None, 1),
        &[
            (9, Event::Broken, &["cancel"]),
            (20, Event::CancelAcknowledged, &["Failed:Fenced", "release"]),
        ],
    );
}

#[test]
fn a_lease_that_is_missed_sends_nothing_and_is_waited_for_again() {
    let missed: [(i64, Event, &[&str]); 5] = [
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Prepared, &["await"]),
        (1, Event::LeaseHeld, &["execute"]),
        (2, Event::LeaseMissed, &["await"]),
        (2, Event::LeaseMissed, &[]),
    ];
    let again = |rest: &[(i64, Event, &'static [&'static str])]| {
        let mut story = missed.to_vec();
        story.extend_from_slice(rest);
        play(spec(Some(1), 1), &story)
    };
    let machine = again(&[(3, Event::LeaseHeld, &["execute"])]);
    assert!(machine.may_have_started());
    let machine = again(&[(3, Event::Broken, HANDED_BACK)]);
    assert!(!machine.may_have_started());
    again(&[(1000, Event::Deadline, &["Timeout:Timeout", "release"])]);
    let early: [(i64, Event, &[&str]); 6] = [
        (3, Event::Executed, &[]),
        (3, Event::Started(at(3)), &[]),
        (3, Event::Exited(exit(0), at(3)), &[]),
        (3, Event::Lost, &[]),
        (3, Event::LeaseHeld, &["execute"]),
        (4, Event::LeaseMissed, &["await"]),
    ];
    assert_eq!(again(&early).timeline.started, None);
    let stopped: [(i64, Event, &[&str]); 3] = [
        (3, Event::LeaseHeld, &["execute"]),
        (4, Event::Broken, &["abandon"]),
        (5, Event::LeaseMissed, HANDED_BACK),
    ];
    again(&stopped);
}

#[test]
fn what_an_earlier_life_may_have_given_up_is_killed_then_handed_back() {
    for between in [None, Some(Event::CancelRequested), Some(Event::Broken), Some(Event::Drain)] {
        let (mut machine, first) = Machine::give_back(spec(None, 2), 1, at(0));
        assert_eq!(first, [Effect::Cancel]);
        assert_eq!(machine.deadline(), None, "it waits as long as the Cancel takes");
        assert_eq!(between.map_or_else(Vec::new, |event| machine.handle(event, at(1))), []);
        let effects = machine.handle(Event::CancelAcknowledged, at(2));
        assert_eq!(effects, [Effect::HandBack("runtimed was started anew".to_owned())]);
        assert!(!machine.may_have_started() && !machine.is_done());
        assert_eq!(machine.handle(Event::Written, at(3)), [Effect::RemoveWorkspace]);
        machine.handle(Event::WorkspaceRemoved, at(4));
        assert!(machine.is_done());
    }
    let (mut machine, _) = Machine::give_back(spec(None, 2), 1, at(0));
    assert_eq!(machine.handle(Event::Deleted, at(1)), []);
    let effects = machine.handle(Event::CancelAcknowledged, at(2));
    assert_eq!(effects, [Effect::RemoveWorkspace], "a Run that is gone gets no status");
}

#[test]
fn what_was_executed_was_not_missed() {
    let machine = after_running(spec(None, 1), &[(9, Event::LeaseMissed, &[])]);
    assert!(machine.may_have_started());
}

#[test]
fn what_the_server_killed_by_itself_was_fenced() {
    let killed = Exit {
        signal: 15,
        error_message: crate::run::outcome::NOT_RENEWED.to_owned(),
        ..Exit::default()
    };
    after_running(
        spec(None, 1),
        &[(9, Event::Exited(killed, at(8)), &["Failed:Fenced", "release"])],
    );
}

#[test]
fn the_running_write_of_one_that_holds_a_workspace_goes_out_at_once() {
    let mut machine = after_running(RunSpec { holds_workspace: Some(true), ..spec(None, 1) }, &[]);
    assert_eq!(machine.deadline(), Some(at(2)));
    assert_eq!(words(&machine.handle(Event::Deadline, at(2))), ["running"]);
}
