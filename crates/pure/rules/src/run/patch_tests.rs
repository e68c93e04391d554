//! Status patches, field by field.

use super::*;
use crate::run::outputs::Outputs;
use k8s_openapi::api::core::v1::EnvVar;
use kruntimes_api::{ArtifactRef, RetryPolicy, RunSpec};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + seconds * 1_000_000 + 250_000).unwrap()
}

/// A Run with attempt 1 on pod `p` (UID `u`), assigned at 0.
fn assigned(max_attempts: i32) -> Run {
    let mut run = Run {
        spec: RunSpec {
            runtime: "bash".to_owned(),
            env: vec![EnvVar { name: "A".to_owned(), ..EnvVar::default() }],
            retry_policy: Some(RetryPolicy {
                max_attempts: Some(max_attempts),
                ..RetryPolicy::default()
            }),
            ..RunSpec::default()
        },
        ..Run::default()
    };
    run.metadata.resource_version = Some("7".to_owned());
    let timeline = Timeline { seen: Some(MicroTime(at(0))), ..Timeline::default() };
    let assignment = Assignment { pod: "p", pod_uid: "u", attempt: 1, timeline: &timeline };
    let patch = assign(&run, &assignment, at(0));
    apply(&mut run, &patch);
    run
}

/// RFC 7386 on the status, as the API server does it.
fn apply(run: &mut Run, patch: &StatusPatch) {
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else { return *target = patch.clone() };
        if !target.is_object() {
            *target = json!({});
        }
        let target = target.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
    let mut status = serde_json::to_value(&run.status).unwrap();
    merge(&mut status, &patch.body["status"]);
    run.status = Some(serde_json::from_value(status).unwrap());
    assert_eq!(run.phase(), patch.phase);
}

fn conditions(run: &Run) -> Vec<(String, String, String, String, i64)> {
    let list = &run.status.as_ref().unwrap().conditions;
    list.iter()
        .map(|c| {
            let age = c.last_transition_time.0.as_second() - at(0).as_second();
            (c.type_.clone(), c.status.clone(), c.reason.clone(), c.message.clone(), age)
        })
        .collect()
}

fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    age: i64,
) -> (String, String, String, String, i64) {
    (kind.to_owned(), status.to_owned(), reason.to_owned(), message.to_owned(), age)
}

#[test]
fn a_run_that_succeeds_has_the_conditions_times_and_record_of_its_attempt() {
    let mut run = assigned(1);
    assert_eq!(
        conditions(&run),
        [condition("Scheduled", "True", "Assigned", "assigned to pod p", 0)]
    );
    let mut timeline = Timeline { received: Some(MicroTime(at(1))), ..Timeline::default() };
    let patch = running(&run, &timeline, at(2));
    apply(&mut run, &patch);
    assert_eq!(conditions(&run)[1], condition("Running", "True", "Claimed", "", 2));
    timeline.finished = Some(MicroTime(at(3)));
    let patch = finish(&run, &Outcome::succeeded(), &timeline, at(3));
    apply(&mut run, &patch);
    let done = "execution completed";
    assert_eq!(
        conditions(&run)[1..],
        [
            condition("Running", "False", "Completed", "", 3),
            condition("Completed", "True", "RunCompleted", done, 3),
            condition("Finished", "True", "RunCompleted", done, 3),
        ]
    );
    let status = run.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("RunCompleted"));
    assert_eq!(status.message.as_deref(), Some(done));
    assert_eq!(status.exit_code, Some(0));
    assert_eq!(status.start_time.unwrap().0.as_second(), at(1).as_second());
    assert_eq!(status.completion_time.unwrap().0.as_second(), at(3).as_second());
    let stages = status.timeline.unwrap();
    assert_eq!((stages.seen, stages.finished), (Some(MicroTime(at(0))), Some(MicroTime(at(3)))));
    assert_eq!(status.attempts.len(), 1);
    assert_eq!(status.attempts[0].start_time, Some(MicroTime(at(1))));
}

#[test]
fn a_failure_stands_in_completed_false_and_finished_true() {
    let mut run = assigned(1);
    let outcome = Outcome { exit_code: Some(3), ..Outcome::failed(Reason::RuntimeError, "no") };
    let patch = finish(&run, &outcome, &Timeline::default(), at(1));
    apply(&mut run, &patch);
    assert_eq!(
        conditions(&run)[1..],
        [
            condition("Running", "False", "RuntimeError", "no", 1),
            condition("Completed", "False", "RuntimeError", "no", 1),
            condition("Finished", "True", "RuntimeError", "no", 1),
        ]
    );
    assert_eq!(run.status.unwrap().exit_code, Some(3));
}

#[test]
fn outputs_are_those_of_the_newest_attempt_alone() {
    let outputs = |name: &str| Outputs::from([(name.to_owned(), "1".to_owned())]);
    let shown = |run: &Run| run.status.as_ref().unwrap().outputs.clone();
    let mut run = assigned(2);
    let failed =
        Outcome { outputs: outputs("a"), ..Outcome::failed(Reason::RuntimeError, "exit status 1") };
    let patch = retry(&run, &failed, &Timeline::default(), at(1));
    apply(&mut run, &patch);
    assert_eq!(shown(&run), outputs("a"));
    let timeline = Timeline::default();
    let assignment = Assignment { pod: "p", pod_uid: "u", attempt: 2, timeline: &timeline };
    let patch = assign(&run, &assignment, at(2));
    apply(&mut run, &patch);
    assert_eq!(shown(&run), Outputs::new());
    let last = Outcome { outputs: outputs("b"), ..Outcome::succeeded() };
    let patch = finish(&run, &last, &timeline, at(3));
    apply(&mut run, &patch);
    assert_eq!(shown(&run), outputs("b"));
}

#[test]
fn the_store_is_named_before_the_end_and_what_it_has_with_it() {
    let store: ArtifactStore = serde_json::from_value(
        json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc"}}),
    )
    .unwrap();
    let mut run = assigned(1);
    let timeline = Timeline { received: Some(MicroTime(at(1))), ..Timeline::default() };
    let patch = keeping(&run, &store, &timeline, at(2));
    apply(&mut run, &patch);
    let status = run.status.clone().unwrap();
    assert_eq!((status.phase, status.artifact_store), (Phase::Running, Some(store.clone())));
    assert_eq!(patch.body["status"]["assignedPodUID"], "u");
    let artifact: ArtifactRef = serde_json::from_value(json!({
        "name": "a", "driver": "filesystem", "type": "file", "sizeBytes": 1,
        "location": {"filesystem": {"path": "p"}}, "createdAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap();
    let outcome = Outcome { artifacts: vec![artifact.clone()], ..Outcome::succeeded() };
    let patch = finish(&run, &outcome, &timeline, at(3));
    apply(&mut run, &patch);
    let status = run.status.unwrap();
    assert_eq!((status.artifact_refs, status.artifact_store), (vec![artifact], Some(store)));
}

#[test]
fn runtimed_writes_carry_the_token_and_the_others_the_version() {
    let mut run = assigned(1);
    let times = run.status.as_mut().unwrap().timeline.as_mut().unwrap();
    times.scheduled = Some(MicroTime(at(0)));
    let timeline = Timeline::default();
    let outcome = Outcome::succeeded();
    for patch in [
        running(&run, &timeline, at(1)),
        finish(&run, &outcome, &timeline, at(1)),
        retry(&run, &Outcome::failed(Reason::Timeout, ""), &timeline, at(1)),
        hand_back(&run, "full", at(1)),
    ] {
        assert_eq!(patch.body["status"]["attempt"], 1);
        assert_eq!(patch.body["status"]["assignedPodUID"], "u");
        let scheduled = &patch.body["status"]["timeline"]["scheduled"];
        assert_eq!(*scheduled, serde_json::json!(MicroTime(at(0))));
        assert_eq!(patch.body.get("metadata"), None);
    }
    let assignment = Assignment { pod: "p", pod_uid: "u", attempt: 1, timeline: &timeline };
    for patch in [
        assign(&run, &assignment, at(1)),
        waiting(&run, "NoCapacity", "full", at(1)),
        cancel_pending(&run, at(1)),
        fail_unschedulable(&run, "too big", at(1)),
        pod_lost(&run, Reason::PodGone, "gone", at(1)),
    ] {
        assert_eq!(patch.body["metadata"]["resourceVersion"], "7");
    }
}

#[test]
fn a_retry_goes_back_without_a_pod_and_the_next_assignment_forgets_the_former_stages() {
    let mut run = assigned(3);
    let timeline = Timeline { received: Some(MicroTime(at(1))), ..Timeline::default() };
    let outcome = Outcome { exit_code: Some(3), ..Outcome::failed(Reason::RuntimeError, "no") };
    let patch = retry(&run, &outcome, &timeline, at(2));
    apply(&mut run, &patch);
    let status = run.status.clone().unwrap();
    assert_eq!((status.assigned_pod, status.start_time, status.exit_code), (None, None, None));
    // The delay of 1 s from 2.25 s, rounded up.
    assert_eq!(status.next_attempt_time.unwrap().0.as_second(), at(4).as_second());
    assert_eq!(
        conditions(&run),
        [
            condition("Scheduled", "False", "Backoff", "attempt 2 waits for its backoff", 2),
            condition("Running", "False", "RuntimeError", "no", 2),
        ]
    );
    let next = retry::next_attempt(run.status.as_ref());
    assert_eq!(next, 2);
    let fresh = Timeline { seen: Some(MicroTime(at(9))), ..Timeline::default() };
    let assignment = Assignment { pod: "q", pod_uid: "v", attempt: next, timeline: &fresh };
    let patch = assign(&run, &assignment, at(9));
    apply(&mut run, &patch);
    let status = run.status.clone().unwrap();
    assert_eq!(status.timeline, Some(fresh));
    assert_eq!((status.reason, status.message, status.next_attempt_time), (None, None, None));
    let record = &status.attempts[0];
    assert_eq!((record.number, record.exit_code, record.pod.as_deref()), (1, Some(3), Some("p")));
}

#[test]
fn a_hand_back_does_not_count_and_leaves_no_record() {
    let mut run = assigned(1);
    let patch = hand_back(&run, "no free slot", at(5));
    apply(&mut run, &patch);
    assert_eq!(
        conditions(&run),
        [condition("Scheduled", "False", "NotStarted", "no free slot", 5)]
    );
    assert_eq!(retry::next_attempt(run.status.as_ref()), 1);
    // A waiting message in between keeps the reason, and with it the number.
    let patch = waiting(&run, "NoCapacity", "full", at(6));
    apply(&mut run, &patch);
    assert_eq!(retry::next_attempt(run.status.as_ref()), 1);
    assert_eq!(conditions(&run), [condition("Scheduled", "False", "NoCapacity", "full", 5)]);
    assert!(run.status.unwrap().attempts.is_empty());
}

#[test]
fn a_lost_pod_cancels_retries_fails_or_gives_back() {
    let phase_after = |run: &Run, reason| {
        let mut run = run.clone();
        let patch = pod_lost(&run, reason, "gone", at(9));
        apply(&mut run, &patch);
        let finished = conditions(&run).iter().any(|c| c.0 == "Finished" && c.1 == "True");
        assert_eq!(finished, run.phase().is_terminal());
        run.phase()
    };
    assert_eq!(phase_after(&assigned(1), Reason::PodGone), Phase::Failed);
    assert_eq!(phase_after(&assigned(2), Reason::PodGone), Phase::Pending);
    assert_eq!(phase_after(&assigned(1), Reason::NotStarted), Phase::Pending);
    let mut cancelled = assigned(2);
    cancelled.spec.cancel_requested = Some(true);
    assert_eq!(phase_after(&cancelled, Reason::PodGone), Phase::Cancelled);
    assert_eq!(phase_after(&cancelled, Reason::NotStarted), Phase::Cancelled);
}

#[test]
fn the_last_ten_attempts_are_kept() {
    let mut run = assigned(100);
    for attempt in 1..=12 {
        run.status.as_mut().unwrap().attempt = Some(attempt);
        let failed = Outcome::failed(Reason::RuntimeError, "no");
        let patch = retry(&run, &failed, &Timeline::default(), at(1));
        apply(&mut run, &patch);
    }
    let numbers: Vec<_> = run.status.unwrap().attempts.iter().map(|r| r.number).collect();
    assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
}

#[test]
fn conditions_of_others_stay() {
    let mut run = assigned(1);
    let foreign = Condition {
        type_: "example.com/Audited".to_owned(),
        status: "True".to_owned(),
        reason: "Yes".to_owned(),
        message: String::new(),
        last_transition_time: Time(at(0)),
        observed_generation: None,
    };
    run.status.as_mut().unwrap().conditions.push(foreign.clone());
    let patch = finish(&run, &Outcome::succeeded(), &Timeline::default(), at(1));
    apply(&mut run, &patch);
    let status = run.status.unwrap();
    let kept = status.conditions.iter().find(|c| c.type_ == foreign.type_).unwrap();
    assert_eq!(kept.reason, "Yes");
}

#[test]
fn a_first_attempt_is_claimed_and_a_later_one_retries() {
    let timeline = Timeline { received: Some(MicroTime(at(1))), ..Timeline::default() };
    for (attempt, reason) in [(1, "Claimed"), (2, "Retrying")] {
        let mut run = assigned(2);
        run.status.as_mut().unwrap().attempt = Some(attempt);
        let patch = running(&run, &timeline, at(2));
        apply(&mut run, &patch);
        let list = conditions(&run);
        let (_, _, found, ..) = list.iter().find(|(kind, ..)| kind == "Running").unwrap();
        assert_eq!(found, reason);
    }
}

#[test]
fn the_record_of_a_lost_attempt_begins_when_its_pod_received_it() {
    let timeline = Timeline { received: Some(MicroTime(at(1))), ..Timeline::default() };
    let mut run = assigned(1);
    let patch = running(&run, &timeline, at(2));
    apply(&mut run, &patch);
    let patch = pod_lost(&run, Reason::PodGone, "gone", at(9));
    apply(&mut run, &patch);
    let record = &run.status.as_ref().unwrap().attempts[0];
    assert_eq!(
        (&record.start_time, &record.end_time),
        (&Some(MicroTime(at(1))), &Some(MicroTime(at(9))))
    );
    let mut unseen = assigned(1);
    let patch = pod_lost(&unseen, Reason::PodGone, "gone", at(9));
    apply(&mut unseen, &patch);
    assert_eq!(unseen.status.unwrap().attempts[0].start_time, None);
}

#[test]
fn a_condition_names_the_generation_that_it_was_written_for() {
    let observed = |run: &Run, kind: &str| {
        let list = &run.status.as_ref().unwrap().conditions;
        list.iter().find(|known| known.type_ == kind).and_then(|known| known.observed_generation)
    };
    let mut run = assigned(1);
    run.metadata.generation = Some(3);
    let patch = running(&run, &Timeline::default(), at(1));
    apply(&mut run, &patch);
    // What this write does not touch still speaks of what it was written for.
    assert_eq!((observed(&run, "Running"), observed(&run, "Scheduled")), (Some(3), None));
    run.metadata.generation = Some(4);
    let patch = pod_lost(&run, Reason::PodGone, "gone", at(2));
    apply(&mut run, &patch);
    for kind in ["Running", "Completed", "Finished"] {
        assert_eq!(observed(&run, kind), Some(4), "{kind}");
    }
}
