//! The machine of an attempt, by tables and walks.

use super::*;
use crate::run::event::Collected;
use kruntimes_api::RetryPolicy;

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
}

pub(super) fn spec(timeout: Option<i64>, max_attempts: i32) -> RunSpec {
    let retry_policy = RetryPolicy { max_attempts: Some(max_attempts), ..RetryPolicy::default() };
    RunSpec { timeout_seconds: timeout, retry_policy: Some(retry_policy), ..RunSpec::default() }
}

pub(super) fn exit(code: i32) -> Exit {
    Exit { exit_code: code, ..Exit::default() }
}

/// One word an effect; a write names its reason.
pub(super) fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| match effect {
        Effect::AcquireSlot => "acquire".to_owned(),
        Effect::ReleaseSlot => "release".to_owned(),
        Effect::PrepareWorkspace => "prepare".to_owned(),
        Effect::StopPreparing => "stop".to_owned(),
        Effect::AwaitLease => "await".to_owned(),
        Effect::Execute => "execute".to_owned(),
        Effect::StopExecuting => "abandon".to_owned(),
        Effect::Inspect => "inspect".to_owned(),
        Effect::Cancel => "cancel".to_owned(),
        Effect::Collect => "collect".to_owned(),
        Effect::KeepArtifacts(_) => "keep".to_owned(),
        Effect::StopKeeping => "stop keeping".to_owned(),
        Effect::Forget => "forget".to_owned(),
        Effect::RemoveWorkspace => "remove".to_owned(),
        Effect::WriteRunning(_) => "running".to_owned(),
        Effect::WriteTerminal(outcome, _) => format!("{}:{}", outcome.phase, outcome.reason),
        Effect::WriteRetry(outcome, _) => format!("retry:{}", outcome.reason),
        Effect::HandBack(message) => format!("back:{message}"),
    };
    effects.iter().map(word).collect()
}

/// The event, for an attempt that leaves nothing behind.
pub(super) fn handle(machine: &mut Machine, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = machine.handle(event, now);
    if let Some(at) = effects.iter().position(|effect| *effect == Effect::Collect) {
        effects.remove(at);
        effects.extend(machine.handle(Event::Collected(Collected::default()), now));
    }
    effects
}

/// Plays a story: time in ms, event, expected effects. Returns the machine.
pub(super) fn play(spec: RunSpec, story: &[(i64, Event, &[&str])]) -> Machine {
    let (mut machine, first) = Machine::start(spec, 1, at(0));
    assert_eq!(words(&first), ["acquire"]);
    for (index, (time, event, want)) in story.iter().enumerate() {
        let got = handle(&mut machine, event.clone(), at(*time));
        assert_eq!(words(&got), *want, "step {index}: {event:?}");
    }
    machine
}

fn to_running<'a>() -> Vec<(i64, Event, &'a [&'a str])> {
    vec![
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Prepared, &["await"]),
        (1, Event::LeaseHeld, &["execute"]),
        (2, Event::Executed, &[]),
        (2, Event::Started(at(2)), &[]),
    ]
}

pub(super) fn after_running(
    spec: RunSpec,
    rest: &[(i64, Event, &'static [&'static str])],
) -> Machine {
    let mut story = to_running();
    story.extend_from_slice(rest);
    play(spec, &story)
}

#[test]
fn a_short_run_causes_one_write_and_cleans_up_after_it() {
    let mut machine = after_running(spec(None, 1), &[]);
    assert_eq!(machine.received(), at(0));
    for (time, event, want) in [
        (9, Event::Exited(exit(0), at(8)), &["Succeeded:RunCompleted", "release"] as &[&str]),
        (10, Event::Written, &["forget", "remove"]),
        (11, Event::WorkspaceRemoved, &[]),
        (11, Event::Forgotten, &[]),
    ] {
        assert!(!machine.is_done(), "before {event:?}");
        assert_eq!(words(&handle(&mut machine, event, at(time))), want);
    }
    assert!(machine.is_done());
    let time = |stage: &Option<MicroTime>| stage.as_ref().unwrap().0;
    let stages = &machine.timeline;
    let times = [&stages.received, &stages.prepared, &stages.started, &stages.exited];
    assert_eq!(times.map(time), [at(0), at(1), at(2), at(8)]);
    assert_eq!(time(&stages.finished), at(9));
}

#[test]
fn the_running_write_goes_out_after_50_ms_and_once() {
    let mut machine = after_running(spec(Some(1), 1), &[]);
    assert_eq!(machine.deadline(), Some(at(52)));
    assert_eq!(words(&machine.handle(Event::Deadline, at(51))), [] as [&str; 0]);
    assert_eq!(words(&machine.handle(Event::Deadline, at(52))), ["running"]);
    assert_eq!(machine.deadline(), Some(at(1000)));
}

#[test]
fn a_server_that_does_not_tell_the_start_has_started_when_it_took_the_execute() {
    let story: [(i64, Event, &[&str]); 4] = [
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Prepared, &["await"]),
        (1, Event::LeaseHeld, &["execute"]),
        (2, Event::Executed, &[]),
    ];
    assert_eq!(play(spec(None, 1), &story).deadline(), Some(at(52)));
}

#[test]
fn a_timeout_runs_from_received_and_kills_before_it_is_written() {
    after_running(
        spec(Some(2), 1),
        &[
            (60, Event::Deadline, &["running"]),
            (1999, Event::Deadline, &[]),
            (2000, Event::Deadline, &["cancel"]),
            (2001, Event::CancelAcknowledged, &["Timeout:Timeout", "release"]),
            (2002, Event::Written, &["remove"]),
        ],
    );
}

#[test]
fn a_timeout_with_attempts_left_waits_for_the_kill_however_long_it_takes() {
    let machine = after_running(
        spec(Some(2), 2),
        &[(2000, Event::Deadline, &["cancel"]), (60_000, Event::Deadline, &[])],
    );
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_final_status_is_written_after_5_s_though_the_kill_is_not_confirmed() {
    after_running(
        spec(None, 1),
        &[
            (100, Event::CancelRequested, &["cancel"]),
            (5100, Event::Deadline, &["Cancelled:Cancelled"]),
            (5101, Event::Written, &[]),
            (9000, Event::CancelAcknowledged, &["release", "remove"]),
        ],
    );
}

#[test]
fn cancel_waits_for_the_answer_of_execute() {
    play(
        spec(None, 1),
        &[
            (0, Event::SlotGranted, &["prepare"]),
            (1, Event::Prepared, &["await"]),
            (1, Event::LeaseHeld, &["execute"]),
            (2, Event::CancelRequested, &["abandon"]),
            (3, Event::Executed, &["cancel"]),
            (4, Event::Exited(exit(0), at(4)), &["Cancelled:Cancelled", "release"]),
            (5, Event::Written, &[]),
            (6, Event::CancelAcknowledged, &["remove"]),
        ],
    );
    play(
        spec(None, 1),
        &[
            (0, Event::SlotGranted, &["prepare"]),
            (1, Event::Prepared, &["await"]),
            (1, Event::LeaseHeld, &["execute"]),
            (2, Event::CancelRequested, &["abandon"]),
            (5002, Event::Deadline, &["Cancelled:Cancelled"]),
            (5003, Event::Written, &[]),
            (9000, Event::ExecuteFailed("late".to_owned()), &["cancel"]),
            (9001, Event::CancelAcknowledged, &["release", "remove"]),
        ],
    );
}

#[test]
fn an_execute_that_nobody_wants_any_more_is_not_sent() {
    play(
        spec(Some(2), 1),
        &[
            (0, Event::SlotGranted, &["prepare"]),
            (1, Event::Prepared, &["await"]),
            (1, Event::LeaseHeld, &["execute"]),
            (1001, Event::Deadline, &["running"]),
            (2000, Event::Deadline, &["abandon"]),
            (2010, Event::LeaseMissed, &["Timeout:Timeout", "release"]),
            (2011, Event::Written, &["remove"]),
        ],
    );
}

#[test]
fn before_the_execute_an_end_needs_no_kill() {
    let prepare: (i64, Event, &[&str]) = (0, Event::SlotGranted, &["prepare"]);
    let failed = |reason| Event::PrepareFailed(reason, "no space".to_owned());
    let message = || failed(Reason::PrepareSource);
    play(spec(None, 1), &[(1, Event::CancelRequested, &["Cancelled:Cancelled", "release"])]);
    play(spec(None, 1), &[(1, Event::Deleted, &["release", "remove"])]);
    play(spec(None, 1), &[(1, Event::Shutdown, &["back:the pod ends", "release"])]);
    play(spec(None, 1), &[(1, Event::Drain, &["back:the pod ends", "release"])]);
    play(spec(None, 1), &[(5000, Event::Deadline, &["back:no slot became free", "release"])]);
    play(spec(Some(1), 1), &[(1000, Event::Deadline, &["back:no slot became free", "release"])]);
    play(spec(None, 1), &[prepare.clone(), (1, message(), &["Failed:PrepareSource", "release"])]);
    play(spec(None, 2), &[prepare.clone(), (1, message(), &["retry:PrepareSource", "release"])]);
    let missing = failed(Reason::EnvUnavailable);
    play(spec(None, 2), &[prepare.clone(), (1, missing, &["retry:EnvUnavailable", "release"])]);
    let refused = failed(Reason::EnvNotAllowed);
    play(spec(None, 2), &[prepare.clone(), (1, refused, &["Failed:EnvNotAllowed", "release"])]);
    play(
        spec(Some(1), 1),
        &[prepare.clone(), (1000, Event::Deadline, &["stop", "Timeout:Timeout", "release"])],
    );
    for (event, effects) in [
        (Event::CancelRequested, &["stop", "Cancelled:Cancelled", "release"] as &[&str]),
        (Event::Deleted, &["stop", "release", "remove"]),
        (Event::Shutdown, &["stop", "back:the pod ends", "release"]),
        (Event::Drain, &["stop", "back:the pod ends", "release"]),
    ] {
        play(spec(None, 1), &[prepare.clone(), (1, event, effects), (2, Event::Prepared, &[])]);
    }
}

#[test]
fn a_deleted_run_is_killed_forgotten_and_gets_no_status() {
    let machine = after_running(
        spec(None, 1),
        &[
            (10, Event::Deleted, &["cancel"]),
            (11, Event::CancelAcknowledged, &["release", "remove"]),
            (12, Event::WorkspaceRemoved, &[]),
        ],
    );
    assert!(machine.is_done());
}

#[test]
fn a_refused_execute_is_killed_first_unless_its_own_end_is_known() {
    let story: [(i64, Event, &[&str]); 4] = [
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Prepared, &["await"]),
        (1, Event::LeaseHeld, &["execute"]),
        (2, Event::ExecuteFailed("refused".to_owned()), &["cancel"]),
    ];
    let mut killed = story.to_vec();
    killed.push((3, Event::CancelAcknowledged, &["Failed:RuntimeExecute", "release"]));
    play(spec(None, 1), &killed);
    let mut ran = story.to_vec();
    ran.push((3, Event::Exited(exit(0), at(3)), &["Succeeded:RunCompleted", "release"]));
    play(spec(None, 1), &ran);
}

#[test]
fn a_lost_execution_is_failed_or_tried_again() {
    after_running(spec(None, 1), &[(9, Event::Lost, &["Failed:ExecutionLost", "release"])]);
    after_running(spec(None, 2), &[(9, Event::Lost, &["retry:ExecutionLost", "release"])]);
}

#[test]
fn a_shutdown_kills_what_runs_and_says_so() {
    after_running(
        spec(None, 1),
        &[
            (9, Event::Shutdown, &["cancel"]),
            (10, Event::CancelAcknowledged, &["Failed:PodTerminating", "release"]),
        ],
    );
}

#[test]
fn a_drain_lets_what_runs_come_to_its_end() {
    after_running(
        spec(None, 1),
        &[
            (9, Event::Drain, &[]),
            (10, Event::Exited(exit(0), at(10)), &["Succeeded:RunCompleted", "release"]),
        ],
    );
}

#[test]
fn an_attempt_found_in_the_journal_is_never_executed_again() {
    let known = Timeline { started: Some(MicroTime(at(2))), ..Timeline::default() };
    let (mut machine, first) = Machine::reattach(spec(None, 1), 1, at(0), Some(&known));
    assert_eq!(words(&first), ["acquire", "inspect"]);
    assert_eq!(words(&machine.handle(Event::SlotGranted, at(5))), [] as [&str; 0]);
    let mut other = machine.clone();
    let lost = handle(&mut machine, Event::Lost, at(6));
    assert_eq!(words(&lost), ["Failed:ExecutionLost", "release"]);
    other.handle(Event::Exited(exit(0), at(6)), at(6));
    assert_eq!(other.timeline.started, Some(MicroTime(at(2))));
}

#[test]
fn times_of_the_server_are_held_between_the_stages_that_are_known() {
    let mut machine = play(
        spec(None, 1),
        &[
            (0, Event::SlotGranted, &["prepare"]),
            (10, Event::Prepared, &["await"]),
            (10, Event::LeaseHeld, &["execute"]),
        ],
    );
    machine.handle(Event::Started(at(-5000)), at(12));
    machine.handle(Event::Exited(exit(0), at(999_999)), at(20));
    let stage = |stage: &Option<MicroTime>| stage.as_ref().unwrap().0;
    assert_eq!(stage(&machine.timeline.started), at(10));
    assert_eq!(stage(&machine.timeline.exited), at(20));
}

#[test]
fn what_comes_twice_or_backwards_changes_nothing() {
    let mut machine = after_running(spec(None, 1), &[]);
    for event in [Event::Executed, Event::Started(at(9)), Event::SlotGranted, Event::Prepared] {
        assert_eq!(machine.handle(event, at(9)), []);
    }
    machine.handle(Event::Exited(exit(0), at(9)), at(9));
    for event in [Event::Exited(exit(1), at(9)), Event::Lost, Event::CancelRequested] {
        assert_eq!(machine.handle(event, at(10)), []);
    }
}

#[test]
fn what_the_server_does_not_know_before_it_answered_is_not_lost() {
    let story: [(i64, Event, &[&str]); 6] = [
        (0, Event::SlotGranted, &["prepare"]),
        (1, Event::Prepared, &["await"]),
        (1, Event::LeaseHeld, &["execute"]),
        (2, Event::Lost, &[]),
        (3, Event::Executed, &[]),
        (4, Event::Lost, &["Failed:ExecutionLost", "release"]),
    ];
    play(spec(None, 1), &story);
}

#[test]
fn a_long_preparation_is_claimed_after_a_second() {
    let story: [(i64, Event, &[&str]); 5] = [
        (0, Event::SlotGranted, &["prepare"]),
        (999, Event::Deadline, &[]),
        (1000, Event::Deadline, &["running"]),
        (1001, Event::Prepared, &["await"]),
        (3000, Event::Deadline, &[]),
    ];
    let machine = play(spec(None, 1), &story);
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_server_that_cannot_be_understood_ends_its_run() {
    let why = "Status can't be read".to_owned();
    after_running(
        spec(None, 1),
        &[
            (9, Event::Unreadable(why.clone()), &["cancel"]),
            (10, Event::Unreadable(why), &[]),
            (20, Event::CancelAcknowledged, &["Failed:RuntimeError", "release"]),
        ],
    );
}

#[test]
fn the_first_reason_to_stop_stays_but_a_run_that_is_gone_gets_no_status() {
    let cancelled: (i64, Event, &'static [&'static str]) = (9, Event::CancelRequested, &["cancel"]);
    after_running(
        spec(None, 1),
        &[
            cancelled.clone(),
            (10, Event::Shutdown, &[]),
            (11, Event::Fenced, &[]),
            (20, Event::CancelAcknowledged, &["Cancelled:Cancelled", "release"]),
        ],
    );
    after_running(
        spec(None, 1),
        &[
            cancelled,
            (10, Event::Deleted, &[]),
            (20, Event::CancelAcknowledged, &["release", "remove"]),
        ],
    );
}
