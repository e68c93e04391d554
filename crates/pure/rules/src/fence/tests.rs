//! The pod's side of its Lease, as scripts.

use super::*;

const FENCE: Duration = Duration::from_secs(30);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn stored(version: &str, holder: LeaseHolder) -> Option<LeaseView> {
    Some(LeaseView { version: version.to_owned(), holder })
}

fn hold(version: &str) -> Step {
    Step::Hold(Some(version.to_owned()))
}

fn wait(millis: u64) -> Step {
    Step::Wait(Some(at(millis)))
}

/// One thing that happens to a pod, with what is to be seen of it.
enum Line {
    Works,
    Idle(u64),
    Suspects,
    Looked(Option<LeaseView>),
    NotLooked(u64),
    /// Answer, sent at, now.
    Answered(Answer, u64, u64),
    Cleared,
    Step(u64, Step),
    Held(u64, bool),
}
use Line::{Answered, Cleared as AllCleared, Held, Idle, Looked, NotLooked, Suspects, Works};

fn accepted(version: &str) -> Answer {
    Answer::Stored(version.to_owned())
}

fn check(mut holder: Holder, script: Vec<Line>) {
    for (index, line) in script.into_iter().enumerate() {
        match line {
            Works => holder.work(),
            Idle(now) => holder.idle(at(now)),
            Suspects => holder.suspect(),
            Looked(view) => holder.looked(view),
            NotLooked(now) => holder.not_looked(at(now)),
            Answered(answer, sent, now) => holder.answered(answer, at(sent), at(now)),
            AllCleared => holder.cleared(),
            Line::Step(now, want) => assert_eq!(holder.step(at(now)), want, "line {index}"),
            Held(now, want) => assert_eq!(holder.is_held(at(now)), want, "line {index}"),
        }
    }
}

fn new() -> Holder {
    Holder::new(Timing::fencing_after(FENCE), at(0))
}

/// Holds version 2 since a renewal sent at 10 ms.
fn holding() -> Holder {
    let mut holder = new();
    holder.work();
    assert_eq!(holder.step(at(0)), Step::Look);
    holder.looked(stored("1", LeaseHolder::Nobody));
    assert_eq!(holder.step(at(10)), hold("1"));
    holder.answered(accepted("2"), at(10), at(20));
    holder
}

#[test]
fn an_idle_pod_asks_for_nothing() {
    check(new(), vec![Line::Step(0, Step::Wait(None)), Held(0, false)]);
}

#[test]
fn a_restarted_pod_without_work_gives_back_what_its_former_life_took_late() {
    let script = || {
        vec![
            Line::Step(0, wait(60_000)),
            Line::Step(59_999, wait(60_000)),
            Line::Step(60_000, Step::Look),
        ]
    };
    let mut taken = script();
    taken.extend([
        Looked(stored("5", LeaseHolder::Me)),
        Line::Step(60_001, Step::Release("5".to_owned())),
    ]);
    check(new().after_another(at(0)), taken);
    let mut absent = script();
    absent.extend([Looked(None), Line::Step(60_001, Step::Wait(None))]);
    check(new().after_another(at(0)), absent);
}

#[test]
fn work_takes_the_lease_and_holds_it_from_when_the_renewal_was_sent() {
    let script = vec![
        Works,
        Line::Step(0, Step::Look),
        Line::Step(1, Step::Wait(None)),
        Looked(None),
        Line::Step(2, Step::Hold(None)),
        Held(3, false),
        Answered(accepted("1"), 2, 900),
        Held(900, true),
        Held(30_001, true),
        Held(30_002, false),
        Line::Step(1000, wait(3002)),
        Line::Step(3002, hold("1")),
        Line::Step(3003, wait(30_002)),
        Answered(accepted("2"), 3002, 3010),
        Held(33_001, true),
        Held(33_002, false),
    ];
    check(new(), script);
}

#[test]
fn without_a_renewal_it_fences_once_and_goes_on_trying() {
    let script = vec![
        Line::Step(3010, hold("2")),
        Answered(Answer::Failed, 3010, 13_010),
        Line::Step(13_010, wait(13_510)),
        Line::Step(13_510, hold("2")),
        Held(30_009, true),
        Held(30_010, false),
        Line::Step(30_010, Step::Fence),
        Line::Step(30_011, Step::Wait(None)),
        Answered(Answer::Failed, 13_510, 30_020),
        Line::Step(30_520, hold("2")),
        Answered(accepted("3"), 30_520, 30_530),
        Held(30_530, true),
        Line::Step(30_531, wait(33_520)),
    ];
    check(holding(), script);
}

#[test]
fn an_answer_that_comes_after_its_time_holds_nothing() {
    let script = vec![
        Line::Step(3010, hold("2")),
        Line::Step(30_010, Step::Fence),
        Answered(accepted("3"), 3010, 40_000),
        Held(40_000, false),
        Line::Step(40_000, Step::Fence),
        Line::Step(40_001, hold("3")),
    ];
    check(holding(), script);
}

#[test]
fn an_own_write_whose_answer_was_lost_is_adopted_and_renewed_before_it_counts() {
    let script = vec![
        Line::Step(3010, hold("2")),
        Answered(Answer::Conflict, 3010, 3020),
        Held(3020, false),
        Line::Step(3020, Step::Look),
        Looked(stored("3", LeaseHolder::Me)),
        Held(3030, false),
        Line::Step(3030, hold("3")),
        Answered(accepted("4"), 3030, 3040),
        Held(3040, true),
    ];
    check(holding(), script);
}

#[test]
fn a_broken_lease_is_taken_again_only_once_all_is_cleared() {
    let script = vec![
        Line::Step(3010, hold("2")),
        Answered(Answer::Conflict, 3010, 3020),
        Line::Step(3020, Step::Look),
        Looked(stored("3", LeaseHolder::Broken)),
        Line::Step(3030, Step::Clear),
        Held(3030, false),
        Line::Step(3031, Step::Wait(None)),
        Suspects,
        Line::Step(3032, Step::Wait(None)),
        AllCleared,
        Line::Step(3040, Step::Look),
        Looked(stored("3", LeaseHolder::Broken)),
        Line::Step(3050, hold("3")),
        Answered(accepted("4"), 3050, 3060),
        Held(3060, true),
    ];
    check(holding(), script);
}

#[test]
fn a_lease_that_is_broken_again_is_cleared_again() {
    let script = vec![
        Suspects,
        Line::Step(20, Step::Look),
        Looked(stored("3", LeaseHolder::Broken)),
        Line::Step(30, Step::Clear),
        AllCleared,
        Line::Step(40, hold("3")),
        Answered(Answer::Conflict, 40, 50),
        Line::Step(50, Step::Look),
        Looked(stored("4", LeaseHolder::Broken)),
        Line::Step(60, Step::Clear),
        AllCleared,
        Line::Step(70, hold("4")),
    ];
    check(holding(), script);
}

#[test]
fn a_lease_that_went_away_or_lost_its_holder_counts_as_broken() {
    for (view, version) in [(None, None), (stored("9", LeaseHolder::Nobody), Some("9"))] {
        let script = vec![
            Line::Step(3010, hold("2")),
            Answered(Answer::Conflict, 3010, 3020),
            Line::Step(3020, Step::Look),
            Looked(view),
            Line::Step(3030, Step::Clear),
            AllCleared,
            Line::Step(3040, Step::Hold(version.map(str::to_owned))),
        ];
        check(holding(), script);
    }
}

#[test]
fn an_idle_pod_gives_the_lease_back_and_holds_nothing_from_then_on() {
    let script = vec![
        Idle(1000),
        Line::Step(1000, wait(3010)),
        Line::Step(3010, hold("2")),
        Answered(accepted("3"), 3010, 3020),
        Held(10_999, true),
        Line::Step(10_999, hold("3")),
        Answered(accepted("4"), 10_999, 10_999),
        Line::Step(11_000, Step::Release("4".to_owned())),
        Held(11_000, false),
        Works,
        Line::Step(11_001, Step::Wait(None)),
        Answered(accepted("5"), 11_000, 11_010),
        Held(11_010, false),
        Line::Step(11_010, hold("5")),
    ];
    check(holding(), script);
}

#[test]
fn a_release_without_an_answer_is_looked_at() {
    let script = vec![
        Idle(1000),
        Line::Step(11_000, Step::Release("2".to_owned())),
        Answered(Answer::Failed, 11_000, 21_000),
        Line::Step(21_500, Step::Look),
        Looked(stored("3", LeaseHolder::Nobody)),
        // It may yet be stored until the API server has given it up.
        Line::Step(21_510, wait(71_000)),
        Line::Step(70_999, wait(71_000)),
        Line::Step(71_000, Step::Look),
        Looked(stored("3", LeaseHolder::Nobody)),
        Line::Step(71_010, Step::Wait(None)),
    ];
    check(holding(), script);
}

#[test]
fn a_lease_that_may_have_been_taken_is_looked_at_and_given_back_although_the_work_is_over() {
    let script = vec![
        Works,
        Line::Step(0, Step::Look),
        Looked(None),
        Line::Step(10, Step::Hold(None)),
        Idle(2000),
        Answered(Answer::Failed, 10, 5010),
        Line::Step(5510, Step::Look),
        Looked(stored("3", LeaseHolder::Me)),
        Held(5520, false),
        Line::Step(5520, wait(12_000)),
        Line::Step(12_000, Step::Release("3".to_owned())),
    ];
    check(new(), script);
}

#[test]
fn a_pod_that_slept_finds_the_break_without_having_work() {
    let script = vec![
        Suspects,
        Line::Step(5, Step::Look),
        NotLooked(15),
        Line::Step(16, wait(515)),
        Line::Step(515, Step::Look),
        Looked(stored("7", LeaseHolder::Broken)),
        Line::Step(520, Step::Clear),
        AllCleared,
        Line::Step(530, hold("7")),
        Answered(accepted("8"), 530, 540),
        Line::Step(540, wait(3530)),
        Line::Step(10_000, Step::Release("8".to_owned())),
    ];
    check(new(), script);
}

#[test]
fn a_restarted_runtimed_fences_what_lives_on_unless_it_gets_the_lease_in_time() {
    let fences = vec![
        Line::Step(0, Step::Look),
        NotLooked(10_000),
        Line::Step(29_999, Step::Look),
        Line::Step(30_000, Step::Fence),
    ];
    check(Holder::resume(Timing::fencing_after(FENCE), at(0)), fences);
    let holds = vec![
        Works,
        Line::Step(0, Step::Look),
        Looked(stored("4", LeaseHolder::Me)),
        Held(1, false),
        Line::Step(1, hold("4")),
        Answered(accepted("5"), 1, 2),
        Held(30_000, true),
    ];
    check(Holder::resume(Timing::fencing_after(FENCE), at(0)), holds);
    for view in [stored("4", LeaseHolder::Nobody), None] {
        let broken = vec![Line::Step(0, Step::Look), Looked(view), Line::Step(1, Step::Clear)];
        check(Holder::resume(Timing::fencing_after(FENCE), at(0)), broken);
    }
}

/// What lives on may have started: until the first list says how it stands, its claim must stay.
#[test]
fn a_restarted_runtimed_gives_nothing_back_before_it_knows_its_runs() {
    let keeps = vec![
        Line::Step(0, Step::Look),
        Looked(stored("4", LeaseHolder::Me)),
        Line::Step(1, hold("4")),
        Answered(accepted("5"), 1, 2),
        Line::Step(12_000, hold("5")),
        Answered(accepted("6"), 12_000, 12_001),
        Idle(12_001),
        Line::Step(12_002, wait(15_000)),
        Line::Step(22_001, Step::Release("6".to_owned())),
    ];
    check(Holder::resume(Timing::fencing_after(FENCE), at(0)), keeps);
}

#[test]
fn an_idle_pod_creates_no_lease_and_misses_one_that_it_had() {
    let nothing = vec![
        Suspects,
        Line::Step(0, Step::Look),
        Looked(None),
        Line::Step(1, Step::Wait(None)),
        Suspects,
        Line::Step(2, Step::Look),
        Looked(stored("1", LeaseHolder::Nobody)),
        Line::Step(3, Step::Wait(None)),
        Suspects,
        Line::Step(4, Step::Look),
        Looked(None),
        Line::Step(5, Step::Clear),
    ];
    check(new(), nothing);
}

#[test]
fn three_renewals_fit_before_a_fence() {
    let every = |seconds| Timing::fencing_after(Duration::from_secs(seconds)).renew_every;
    assert_eq!([every(30), every(9), every(6)].map(|time| time.as_secs()), [3, 3, 2]);
}
