//! The status of a Run as JSON merge patches, one function per change that a writer may make.
//!
//! Patches of the scheduler and the controller carry the resourceVersion that they decided on. Patches of runtimed
//! carry attempt, assignedPodUID and the time of the assignment instead: the CRD refuses them when the Run was assigned
//! anew. The UID of the pod stays when a Run is handed back, for it is part of that fencing token; only `assignedPod` is
//! cleared.

use super::outcome::Outcome;
use super::retry;
use crate::mutant::{self, Mutant};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kruntimes_api::{
    ArtifactStore, AttemptRecord, Phase, Reason, Run, RunStatus, Timeline, conditions, limits,
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A status change that is ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPatch {
    /// The phase that it writes.
    pub phase: Phase,
    /// The merge patch of the whole object.
    pub body: Value,
}

/// What the scheduler decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment<'a> {
    /// Name of the pod.
    pub pod: &'a str,
    /// UID of the pod.
    pub pod_uid: &'a str,
    /// Number of the attempt, as [`retry::next_attempt`] says.
    pub attempt: i32,
    /// `submitted`, `seen` and `scheduled`.
    pub timeline: &'a Timeline,
}

/// Scheduler: Pending → Scheduled.
#[must_use]
pub fn assign(run: &Run, assignment: &Assignment<'_>, now: Timestamp) -> StatusPatch {
    let mut status = Map::new();
    status.insert("assignedPod".to_owned(), json!(assignment.pod));
    status.insert("assignedPodUID".to_owned(), json!(assignment.pod_uid));
    status.insert("attempt".to_owned(), json!(assignment.attempt));
    for stale in ["reason", "message", "nextAttemptTime", "startTime", "exitCode"] {
        status.insert(stale.to_owned(), Value::Null);
    }
    if !mutant::is(Mutant::OutputsStay) {
        status.insert("outputs".to_owned(), Value::Null);
    }
    // A merge patch merges objects: stages of the former attempt go by null.
    status.insert("timeline".to_owned(), timeline_value(assignment.timeline, true));
    let message = format!("assigned to pod {}", assignment.pod);
    let changes = [(conditions::SCHEDULED, true, conditions::ASSIGNED, message.as_str())];
    insert_conditions(&mut status, run, &changes, now);
    guarded_by_version(run, Phase::Scheduled, status)
}

/// Scheduler: Pending stays Pending and says why. `reason` of the status stays: it decides the next attempt's number.
#[must_use]
pub fn waiting(run: &Run, reason: &str, message: &str, now: Timestamp) -> StatusPatch {
    let message = super::outcome::bounded(message);
    let mut status = Map::new();
    status.insert("message".to_owned(), json!(message));
    insert_conditions(
        &mut status,
        run,
        &[(conditions::SCHEDULED, false, reason, message.as_str())],
        now,
    );
    guarded_by_version(run, Phase::Pending, status)
}

/// Scheduler: the user cancelled a Run that waits.
#[must_use]
pub fn cancel_pending(run: &Run, now: Timestamp) -> StatusPatch {
    let outcome = Outcome::cancelled();
    let status = terminal(run, &outcome, now);
    guarded_by_version(run, outcome.phase, status)
}

/// Scheduler: no pod of the Runtime could ever take the Run.
#[must_use]
pub fn fail_unschedulable(run: &Run, message: &str, now: Timestamp) -> StatusPatch {
    let outcome = Outcome::failed(Reason::Unschedulable, message);
    let status = terminal(run, &outcome, now);
    guarded_by_version(run, outcome.phase, status)
}

/// Controller: the pod of a Scheduled or Running Run is lost. Cancelled if its user asked for it, back to Pending if
/// the attempt never started (`NotStarted`) or attempts are left, Failed otherwise.
#[must_use]
pub fn pod_lost(run: &Run, reason: Reason, message: &str, now: Timestamp) -> StatusPatch {
    let cancelled = run.spec.cancel_requested == Some(true);
    let outcome = if cancelled { Outcome::cancelled() } else { Outcome::failed(reason, message) };
    if outcome.reason == Reason::NotStarted {
        return guarded_by_version(run, Phase::Pending, back_not_started(run, &outcome, now));
    }
    let again = retry::should_retry(&run.spec, attempt_of(run), outcome.reason);
    let mut status =
        if again { back_for_retry(run, &outcome, now) } else { terminal(run, &outcome, now) };
    insert_record(&mut status, run, &outcome, run_start(run), now);
    guarded_by_version(run, if again { Phase::Pending } else { outcome.phase }, status)
}

/// runtimed: Scheduled → Running.
#[must_use]
pub fn running(run: &Run, timeline: &Timeline, now: Timestamp) -> StatusPatch {
    let mut status = Map::new();
    let reason = if attempt_of(run) > 1 { conditions::RETRYING } else { conditions::CLAIMED };
    status.insert("startTime".to_owned(), json!(Time(received(timeline, now))));
    status.insert("timeline".to_owned(), timeline_value(timeline, false));
    insert_conditions(&mut status, run, &[(conditions::RUNNING, true, reason, "")], now);
    guarded_by_token(run, Phase::Running, status)
}

/// runtimed: the command has ended, and its artifacts are about to be kept in `store`. Until the Run can't be deleted
/// without them nothing is.
#[must_use]
pub fn keeping(
    run: &Run,
    store: &ArtifactStore,
    timeline: &Timeline,
    now: Timestamp,
) -> StatusPatch {
    let mut patch = running(run, timeline, now);
    patch.body["status"]["artifactStore"] = json!(store);
    patch
}

/// runtimed: the Run ended.
#[must_use]
pub fn finish(run: &Run, outcome: &Outcome, timeline: &Timeline, now: Timestamp) -> StatusPatch {
    let mut status = terminal(run, outcome, now);
    insert_outputs(&mut status, outcome);
    if !outcome.artifacts.is_empty() {
        status.insert("artifactRefs".to_owned(), json!(outcome.artifacts));
    }
    let start = received(timeline, now);
    status.insert("startTime".to_owned(), json!(Time(start)));
    status.insert("timeline".to_owned(), timeline_value(timeline, false));
    insert_record(&mut status, run, outcome, Some(start), now);
    guarded_by_token(run, outcome.phase, status)
}

/// runtimed: the attempt failed and another one is due; the scheduler places it.
#[must_use]
pub fn retry(run: &Run, outcome: &Outcome, timeline: &Timeline, now: Timestamp) -> StatusPatch {
    let mut status = back_for_retry(run, outcome, now);
    insert_outputs(&mut status, outcome);
    status.insert("timeline".to_owned(), timeline_value(timeline, false));
    insert_record(&mut status, run, outcome, Some(received(timeline, now)), now);
    guarded_by_token(run, Phase::Pending, status)
}

/// runtimed: the attempt was never journalled and goes back; it does not count.
#[must_use]
pub fn hand_back(run: &Run, message: &str, now: Timestamp) -> StatusPatch {
    let outcome = Outcome::failed(Reason::NotStarted, message);
    guarded_by_token(run, Phase::Pending, back_not_started(run, &outcome, now))
}

/// Fields of every terminal status.
fn terminal(run: &Run, outcome: &Outcome, now: Timestamp) -> Map<String, Value> {
    let mut status = Map::new();
    status.insert("reason".to_owned(), json!(outcome.reason.as_str()));
    status.insert("message".to_owned(), json!(outcome.message));
    status.insert("exitCode".to_owned(), json!(outcome.exit_code));
    status.insert("completionTime".to_owned(), json!(Time(now)));
    status.insert("nextAttemptTime".to_owned(), Value::Null);
    let success = outcome.phase == Phase::Succeeded;
    let reason = outcome.reason.as_str();
    let message = outcome.message.as_str();
    let stopped = if success { (conditions::RUNNING_COMPLETED, "") } else { (reason, message) };
    let changes = [
        (conditions::RUNNING, false, stopped.0, stopped.1),
        (conditions::COMPLETED, success, reason, message),
        (conditions::FINISHED, true, reason, message),
    ];
    insert_conditions(&mut status, run, &changes, now);
    status
}

fn back_for_retry(run: &Run, outcome: &Outcome, now: Timestamp) -> Map<String, Value> {
    let delay = retry::delay_before(run.spec.retry_policy.as_ref(), attempt_of(run) + 1);
    let due = now.checked_add(delay).unwrap_or(now);
    let waits = format!("attempt {} waits for its backoff", attempt_of(run) + 1);
    let mut status = back(outcome);
    status.insert("nextAttemptTime".to_owned(), json!(seconds_up(due)));
    let changes = [
        (conditions::SCHEDULED, false, conditions::BACKOFF, waits.as_str()),
        (conditions::RUNNING, false, outcome.reason.as_str(), outcome.message.as_str()),
    ];
    insert_conditions(&mut status, run, &changes, now);
    status
}

fn back_not_started(run: &Run, outcome: &Outcome, now: Timestamp) -> Map<String, Value> {
    let mut status = back(outcome);
    let reason = outcome.reason.as_str();
    let message = outcome.message.as_str();
    status.insert("nextAttemptTime".to_owned(), json!(seconds_up(now)));
    let mut changes = vec![(conditions::SCHEDULED, false, reason, message)];
    if last_conditions(run).iter().any(|known| known.type_ == conditions::RUNNING) {
        changes.push((conditions::RUNNING, false, reason, message));
    }
    insert_conditions(&mut status, run, &changes, now);
    status
}

fn back(outcome: &Outcome) -> Map<String, Value> {
    let mut status = Map::new();
    for cleared in ["assignedPod", "startTime", "exitCode"] {
        status.insert(cleared.to_owned(), Value::Null);
    }
    status.insert("reason".to_owned(), json!(outcome.reason.as_str()));
    status.insert("message".to_owned(), json!(outcome.message));
    status
}

fn guarded_by_version(run: &Run, phase: Phase, mut status: Map<String, Value>) -> StatusPatch {
    status.insert("phase".to_owned(), json!(phase));
    let version = run.metadata.resource_version.as_deref().unwrap_or_default();
    let body = json!({ "metadata": { "resourceVersion": version }, "status": status });
    StatusPatch { phase, body }
}

fn guarded_by_token(run: &Run, phase: Phase, mut status: Map<String, Value>) -> StatusPatch {
    status.insert("phase".to_owned(), json!(phase));
    let known = run.status.as_ref();
    let pod_uid = known.and_then(|status| status.assigned_pod_uid.as_deref());
    status.insert("attempt".to_owned(), json!(attempt_of(run)));
    status.insert("assignedPodUID".to_owned(), json!(pod_uid.unwrap_or_default()));
    // What never started is assigned under the same number, perhaps to the same pod.
    let timeline = known.and_then(|status| status.timeline.as_ref());
    if let Some(scheduled) = timeline.and_then(|timeline| timeline.scheduled.as_ref()) {
        let stages = status.entry("timeline").or_insert_with(|| json!({}));
        stages["scheduled"] = json!(scheduled);
    }
    StatusPatch { phase, body: json!({ "status": status }) }
}

type Change<'a> = (&'a str, bool, &'a str, &'a str);

/// Writes the whole list: what is known, with `changes` (type, status, reason, message) on top. A condition whose
/// status stays keeps its lastTransitionTime.
fn insert_conditions(
    status: &mut Map<String, Value>,
    run: &Run,
    changes: &[Change<'_>],
    now: Timestamp,
) {
    let mut list = last_conditions(run).to_vec();
    for &(kind, value, reason, message) in changes {
        let value = if value { "True" } else { "False" };
        let mut condition = Condition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(now),
            observed_generation: run.metadata.generation,
        };
        match list.iter_mut().find(|known| known.type_ == kind) {
            Some(known) => {
                if known.status == condition.status {
                    condition.last_transition_time = known.last_transition_time.clone();
                }
                *known = condition;
            }
            None => list.push(condition),
        }
    }
    status.insert("conditions".to_owned(), json!(list));
}

/// The assignment took away what an earlier attempt gave out: a merge patch would keep it.
fn insert_outputs(status: &mut Map<String, Value>, outcome: &Outcome) {
    if !outcome.outputs.is_empty() {
        status.insert("outputs".to_owned(), json!(outcome.outputs));
    }
}

/// Appends the attempt's record and keeps the last [`limits::ATTEMPT_RECORDS`].
fn insert_record(
    status: &mut Map<String, Value>,
    run: &Run,
    outcome: &Outcome,
    start: Option<Timestamp>,
    now: Timestamp,
) {
    let known = run.status.as_ref();
    let mut records = known.map(|known| known.attempts.clone()).unwrap_or_default();
    records.retain(|record| record.number != attempt_of(run));
    records.push(AttemptRecord {
        number: attempt_of(run),
        pod: known.and_then(|known| known.assigned_pod.clone()),
        reason: Some(outcome.reason.as_str().to_owned()),
        exit_code: outcome.exit_code,
        start_time: start.map(MicroTime),
        end_time: Some(MicroTime(now)),
    });
    let surplus = records.len().saturating_sub(limits::ATTEMPT_RECORDS);
    status.insert("attempts".to_owned(), json!(records.split_off(surplus)));
}

fn timeline_value(timeline: &Timeline, nulls: bool) -> Value {
    let stages = [
        ("submitted", &timeline.submitted),
        ("seen", &timeline.seen),
        ("scheduled", &timeline.scheduled),
        ("received", &timeline.received),
        ("prepared", &timeline.prepared),
        ("started", &timeline.started),
        ("exited", &timeline.exited),
        ("finished", &timeline.finished),
    ];
    let known = stages.into_iter().filter(|(_, time)| nulls || time.is_some());
    Value::Object(known.map(|(name, time)| (name.to_owned(), json!(time))).collect())
}

fn last_conditions(run: &Run) -> &[Condition] {
    run.status.as_ref().map_or(&[], |status: &RunStatus| status.conditions.as_slice())
}

fn attempt_of(run: &Run) -> i32 {
    run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0)
}

fn run_start(run: &Run) -> Option<Timestamp> {
    let status = run.status.as_ref()?;
    let received = status.timeline.as_ref().and_then(|timeline| timeline.received.as_ref());
    received.map(|time| time.0).or_else(|| status.start_time.as_ref().map(|time| time.0))
}

fn received(timeline: &Timeline, now: Timestamp) -> Timestamp {
    timeline.received.as_ref().map_or(now, |time| time.0)
}

/// Rounded up to whole seconds, so that a person who waits until then has waited long enough.
fn seconds_up(time: Timestamp) -> Time {
    if time.subsec_nanosecond() == 0 {
        return Time(time);
    }
    Time(time.checked_add(Duration::from_secs(1)).unwrap_or(time))
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
