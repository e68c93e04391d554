//! The status as it is written: only what changed, as a merge patch.

use super::state::{JobState, Leg, Outputs, StepState};
use super::{Execution, LegId};
use crate::plan::{Invalid, JobId, JobPlan, Work};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kruntimes_api::{
    JobPhase, JobStatus, LegStatus, StepStatus, Workflow, WorkflowPhase, WorkflowStatus,
    conditions, workflows,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What was written last, and what has changed since.
#[derive(Debug, Default)]
pub(super) struct Written {
    generation: Option<i64>,
    root: Value,
    jobs: BTreeMap<JobId, Value>,
    legs: BTreeMap<LegId, Value>,
    root_changed: bool,
    changed_jobs: BTreeSet<JobId>,
    changed_legs: BTreeSet<LegId>,
}

impl Written {
    pub(super) fn of(workflow: &Workflow) -> Self {
        Self { generation: workflow.metadata.generation, root_changed: true, ..Self::default() }
    }

    /// The spec is this one now.
    pub(super) fn observe(&mut self, workflow: &Workflow) {
        if self.generation != workflow.metadata.generation {
            self.generation = workflow.metadata.generation;
            self.root_changed = true;
        }
    }

    pub(super) fn touch_root(&mut self) {
        self.root_changed = true;
    }

    pub(super) fn touch_job(&mut self, job: JobId) {
        self.changed_jobs.insert(job);
    }

    pub(super) fn touch(&mut self, leg: LegId) {
        self.changed_legs.insert(leg);
    }
}

impl Execution {
    /// Whether the status is not as it was written last.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let Written { root_changed, changed_jobs, changed_legs, .. } = &self.written;
        *root_changed || !changed_jobs.is_empty() || !changed_legs.is_empty()
    }

    /// A merge patch of what has changed; it counts as written, until [`Self::not_written`].
    pub fn take_patch(&mut self) -> Value {
        let mut status = Map::new();
        if std::mem::take(&mut self.written.root_changed) {
            let root = self.root();
            status = difference(&self.written.root, &root);
            self.written.root = root;
        }
        let mut jobs: BTreeMap<JobId, Map<String, Value>> = BTreeMap::new();
        for id in std::mem::take(&mut self.written.changed_jobs) {
            let job = to_value(&self.job_status_of(id));
            let former = self.written.jobs.insert(id, job.clone()).unwrap_or_default();
            jobs.insert(id, difference(&former, &job));
        }
        for (id, index) in std::mem::take(&mut self.written.changed_legs) {
            // An attempt of a job may have had more legs than are left.
            let Some(leg) = self.jobs[id].legs.get(index) else { continue };
            let now = leg_value(&self.plan.jobs[id], leg);
            let former = self.written.legs.insert((id, index), now.clone()).unwrap_or_default();
            let changed = difference(&former, &now);
            let job = jobs.entry(id).or_default();
            match &leg.name {
                Some(name) => {
                    let legs = job.entry("legs").or_insert_with(|| json!({}));
                    legs[name] = Value::Object(changed);
                }
                None => job.extend(changed),
            }
        }
        if !jobs.is_empty() {
            let named =
                jobs.into_iter().map(|(id, job)| (self.plan.jobs[id].name.clone(), job.into()));
            status.insert("jobs".to_owned(), Value::Object(named.collect()));
        }
        json!({"status": status})
    }

    /// What was taken could not be written: all of it counts as changed.
    pub fn not_written(&mut self) {
        self.written = Written { generation: self.written.generation, ..Written::default() };
        self.written.root_changed = true;
        for id in 0..self.jobs.len() {
            self.written.touch_job(id);
            for index in 0..self.jobs[id].legs.len() {
                self.written.touch((id, index));
            }
        }
    }

    /// `Finished` names no generation: a change after the end, as of the TTL, must not make `kubectl wait` doubt it.
    fn root(&self) -> Value {
        let mut conditions = vec![condition(
            self.written.generation,
            workflows::VALID,
            true,
            workflows::ACCEPTED,
            "",
        )];
        if let Some(at) = self.ended {
            let message = self.message.as_deref().unwrap_or_default();
            conditions.push(condition(None, conditions::FINISHED, true, self.reason, message));
            set_times(&mut conditions, at);
        } else if let Some(at) = self.started {
            set_times(&mut conditions, at);
        }
        to_value(&WorkflowStatus {
            phase: self.phase,
            jobs: BTreeMap::new(),
            message: self.message.clone(),
            outputs: self.outputs.clone(),
            start_time: self.started.map(MicroTime),
            completion_time: self.ended.map(MicroTime),
            conditions,
        })
    }

    /// A job without its legs and steps.
    fn job_status_of(&self, id: JobId) -> JobStatus {
        let state: &JobState = &self.jobs[id];
        JobStatus {
            phase: state.phase,
            message: state.message.clone(),
            outputs: state.outputs.clone(),
            start_time: state.started.map(MicroTime),
            completion_time: state.ended.map(MicroTime),
            ..JobStatus::default()
        }
    }
}

/// What a leg adds to `status.jobs.NAME.legs.LEG`, or to its job where there is no matrix.
fn leg_value(plan: &JobPlan, leg: &Leg) -> Value {
    let steps = match &plan.work {
        Work::Steps { steps, .. } => steps.as_slice(),
        Work::Uses { .. } => &[],
    };
    let begun = steps.iter().zip(&leg.steps).filter(|(_, step)| step.phase != JobPhase::Pending);
    let is_leg = leg.name.is_some();
    let steps: BTreeMap<String, StepStatus> =
        begun.map(|(plan, step)| (plan.name.clone(), step_status(step, is_leg))).collect();
    let attempt = Some(leg.attempt).filter(|attempt| *attempt > 1);
    if is_leg {
        let message = leg.message.clone();
        return to_value(&LegStatus { phase: leg.phase, message, steps, attempt });
    }
    let mut value = json!({});
    if !steps.is_empty() {
        value["steps"] = json!(steps);
    }
    if let Some(attempt) = attempt {
        value["attempt"] = json!(attempt);
    }
    let child = leg.steps.first().and_then(|step| step.child.clone());
    if let (Work::Uses { .. }, Some(child)) = (&plan.work, child) {
        value["workflowName"] = json!(child);
    }
    value
}

/// In a leg without what can be found elsewhere: there may be a thousand of them.
fn step_status(step: &StepState, in_leg: bool) -> StepStatus {
    StepStatus {
        phase: step.phase,
        run_name: step.child.clone().filter(|_| !in_leg),
        outputs: step.outputs.clone(),
        message: step.message.clone(),
    }
}

fn to_value(status: &impl serde::Serialize) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

/// What turns `from` into `to`, as a merge patch (RFC 7396).
fn difference(from: &Value, to: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let (from, to) = (from.as_object().unwrap_or(&empty), to.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(former) if former == value => {}
            Some(former) if former.is_object() && value.is_object() => {
                patch.insert(key.clone(), Value::Object(difference(former, value)));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

fn condition(
    generation: Option<i64>,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn set_times(conditions: &mut [Condition], at: Timestamp) {
    for condition in conditions {
        condition.last_transition_time = Time(at);
    }
}

/// The status of a Workflow that can't be understood: it has failed.
#[must_use]
pub fn invalid(workflow: &Workflow, wrong: &[Invalid], now: Timestamp) -> Value {
    let message = sentences(wrong);
    let generation = workflow.metadata.generation;
    let mut all = vec![
        condition(generation, workflows::VALID, false, workflows::INVALID, &message),
        condition(None, conditions::FINISHED, true, workflows::INVALID, &message),
    ];
    set_times(&mut all, now);
    let status = WorkflowStatus {
        phase: WorkflowPhase::Failed,
        message: Some(message),
        completion_time: Some(MicroTime(now)),
        conditions: all,
        ..WorkflowStatus::default()
    };
    json!({"status": status})
}

/// The status of a template: whether it can be understood. None where it says so already.
#[must_use]
pub fn template(workflow: &Workflow, wrong: Option<&[Invalid]>, now: Timestamp) -> Option<Value> {
    let generation = workflow.metadata.generation;
    let known = workflow.status.iter().flat_map(|status| &status.conditions);
    if known.clone().any(|condition| {
        condition.type_ == workflows::VALID && condition.observed_generation == generation
    }) {
        return None;
    }
    let (holds, reason, message) = match wrong {
        Some(wrong) => (false, workflows::INVALID, sentences(wrong)),
        None => (true, workflows::ACCEPTED, String::new()),
    };
    let mut all = vec![condition(generation, workflows::VALID, holds, reason, &message)];
    set_times(&mut all, now);
    Some(json!({"status": {"phase": WorkflowPhase::Pending, "conditions": all}}))
}

/// The first few of what is wrong.
fn sentences(wrong: &[Invalid]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> =
        wrong.iter().take(SHOWN).map(|one| super::children::cut_to(one.to_string(), 700)).collect();
    if wrong.len() > SHOWN {
        lines.push(format!("and {} more", wrong.len() - SHOWN));
    }
    lines.join("; ")
}

/// Outputs as they count against the limit: a control character is six bytes of JSON.
pub(super) fn bytes_of(outputs: &Outputs) -> usize {
    outputs.iter().map(|(key, value)| encoded(key) + encoded(value)).sum()
}

/// Bytes of a text as JSON.
pub(super) fn encoded(text: &str) -> usize {
    serde_json::to_string(text).map_or(0, |text| text.len())
}
