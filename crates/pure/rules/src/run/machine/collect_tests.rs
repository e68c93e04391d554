//! Between the end of the processes and the final write.

use super::collect::COLLECT_WITHIN;
use super::tests::{after_running, at, exit, spec, words};
use super::*;
use crate::run::event::Collected;
use crate::run::outputs::Outputs;

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
        let collected = Collected { outputs: outputs(), refused: None };
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
    let collected = Collected { outputs: outputs(), refused: None };
    let effects = machine.handle(Event::Collected(collected), at(12));
    assert_eq!(words(&effects), ["Cancelled:Cancelled", "release"]);
    assert_eq!(outcome(&effects).outputs, outputs());
}
