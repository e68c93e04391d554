//! What expressions read, and how things went.

use super::Execution;
use super::state::{JobState, Leg, StepState, Stop, WholeStop};
use crate::plan::{JobId, JobPlan, Work};
use kruntimes_api::JobPhase;
use kruntimes_expressions::{Context, StatusFunction, descend};
use kruntimes_rules::mutant::{self, Mutant};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The place of an expression.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) of: &'a Execution,
    pub(super) job: Option<JobId>,
    pub(super) leg: Option<&'a Leg>,
    /// The environment so far.
    pub(super) env: Option<&'a Value>,
}

impl Context for View<'_> {
    fn value(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        let (context, rest) = path.split_first()?;
        match *context {
            "inputs" => descend(&self.of.inputs, rest).map(Cow::Borrowed),
            "env" => descend(self.env?, rest).map(Cow::Borrowed),
            "matrix" => descend(&self.leg?.values, rest).map(Cow::Borrowed),
            "workflow" => owned(&self.of.identity_values(), rest),
            "strategy" => owned(&self.strategy()?, rest),
            "steps" => self.steps(rest),
            "jobs" | "needs" => self.jobs(context, rest),
            _ => None,
        }
    }

    /// The patterns themselves, one a line: a plan has the function in scripts alone, which make the hash of them.
    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        match patterns.iter().find(|pattern| pattern.starts_with('!') || pattern.contains('\n')) {
            Some(pattern) => Err(format!(
                "hashFiles: {pattern:?}: patterns that exclude files, and those with line breaks, are not served"
            )),
            None => Ok(patterns.join("\n")),
        }
    }

    fn status(&self, function: StatusFunction) -> Result<bool, String> {
        let Some(job) = self.job else { return Ok(matches!(function, StatusFunction::Always)) };
        Ok(match self.leg {
            Some(leg) => leg_status(&self.of.plan.jobs[job], leg, function),
            None => self.of.job_status(job, function),
        })
    }
}

fn owned<'a>(value: &Value, path: &[&str]) -> Option<Cow<'a, Value>> {
    descend(value, path).cloned().map(Cow::Owned)
}

impl View<'_> {
    fn strategy(&self) -> Option<Value> {
        let job = self.job?;
        let plan = self.of.plan.jobs[job].legs.as_ref();
        let legs = &self.of.jobs[job].legs;
        let index =
            legs.iter().position(|leg| self.leg.is_some_and(|this| this.name == leg.name))?;
        let at_once = plan.map_or(1, |plan| plan.max_parallel.min(legs.len()));
        let fail_fast = plan.is_none_or(|plan| plan.fail_fast);
        Some(json!({
            "job-index": index, "job-total": legs.len(), "max-parallel": at_once, "fail-fast": fail_fast,
        }))
    }

    fn steps(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        let leg = self.leg?;
        let Work::Steps { steps, .. } = &self.of.plan.jobs[self.job?].work else { return None };
        let ended = || steps.iter().zip(&leg.steps).filter(|(_, state)| state.phase.is_terminal());
        let Some((name, rest)) = path.split_first() else {
            let all = ended().map(|(plan, state)| {
                (plan.name.clone(), step_value(state, plan.continue_on_error))
            });
            return Some(Cow::Owned(Value::Object(all.collect())));
        };
        let (plan, state) = ended().find(|(plan, _)| plan.name == *name)?;
        owned(&step_value(state, plan.continue_on_error), rest)
    }

    fn jobs(&self, context: &str, path: &[&str]) -> Option<Cow<'_, Value>> {
        let Some((name, rest)) = path.split_first() else {
            let job = &self.of.plan.jobs[self.job?];
            let all = job.needs.iter().filter(|_| context == "needs").map(|need| {
                (self.of.plan.jobs[*need].name.clone(), self.of.jobs[*need].value.clone())
            });
            return Some(Cow::Owned(Value::Object(all.collect())));
        };
        let id = *self.of.plan.by_name.get(*name)?;
        descend(&self.of.jobs[id].value, rest).map(Cow::Borrowed)
    }
}

fn step_value(state: &StepState, continue_on_error: bool) -> Value {
    let is_forgiven = state.phase == JobPhase::Failed && continue_on_error;
    let conclusion = if is_forgiven { JobPhase::Succeeded } else { state.phase };
    json!({
        "outputs": state.outputs,
        "outcome": word(state.phase),
        "conclusion": word(conclusion),
    })
}

/// The words of GitHub's contexts.
fn word(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Succeeded => "success",
        JobPhase::Failed => "failure",
        JobPhase::Cancelled => "cancelled",
        JobPhase::Skipped => "skipped",
        JobPhase::Pending | JobPhase::Waiting | JobPhase::Running => "",
    }
}

fn leg_status(plan: &JobPlan, leg: &Leg, function: StatusFunction) -> bool {
    let failed = leg.step_failed(plan);
    let cancelled = leg.stop == Some(Stop::Cancelled);
    match function {
        StatusFunction::Always => true,
        StatusFunction::Success => !failed && leg.stop.is_none(),
        StatusFunction::Failure => failed || matches!(leg.stop, Some(Stop::TimedOut | Stop::Lost)),
        StatusFunction::Cancelled => cancelled,
    }
}

impl Leg {
    /// The first step whose failure counts.
    pub(super) fn failed_step(&self, plan: &JobPlan) -> Option<usize> {
        let forgives = |index: usize| match &plan.work {
            Work::Steps { steps, .. } => steps[index].continue_on_error,
            Work::Uses { .. } => false,
        };
        self.steps
            .iter()
            .enumerate()
            .find(|(index, step)| step.phase == JobPhase::Failed && !forgives(*index))
            .map(|(index, _)| index)
    }

    fn step_failed(&self, plan: &JobPlan) -> bool {
        self.failed_step(plan).is_some()
    }
}

impl Execution {
    fn identity_values(&self) -> Value {
        let id = &self.identity;
        json!({"name": id.name, "namespace": id.namespace, "uid": id.uid})
    }

    /// How the jobs before one went.
    pub(super) fn job_status(&self, id: JobId, function: StatusFunction) -> bool {
        let before = || self.plan.jobs[id].ancestors.iter().map(|other| self.counted(*other));
        let cancelled = matches!(self.stop, Some(WholeStop::Cancelled(_)));
        let goes_on = mutant::is(Mutant::CancelledGoesOn);
        match function {
            StatusFunction::Always => true,
            StatusFunction::Success => {
                // Written out it is what holds without it: what ends the others ends this one too.
                let stopped = cancelled || (self.stop.is_some() && !self.plan.jobs[id].finally);
                (!stopped || goes_on) && before().all(|phase| phase == JobPhase::Succeeded)
            }
            StatusFunction::Failure => before().any(|phase| phase == JobPhase::Failed),
            StatusFunction::Cancelled => cancelled,
        }
    }

    /// How a job counts for others.
    pub(super) fn counted(&self, id: JobId) -> JobPhase {
        let phase = self.jobs[id].phase;
        let is_forgiven = phase == JobPhase::Failed && self.plan.jobs[id].continue_on_error;
        if is_forgiven { JobPhase::Succeeded } else { phase }
    }

    /// A job that has ended, as others read it: made once, for a thousand legs may read it.
    pub(super) fn make_value(&mut self, id: JobId) {
        let (plan, state) = (&self.plan.jobs[id], &self.jobs[id]);
        let result = word(self.counted(id));
        self.jobs[id].value = json!({"result": result, "outputs": outputs(plan, state)});
    }
}

/// The outputs of a job: its own, and those of its steps, where the last one that has a key wins.
fn outputs(plan: &JobPlan, state: &JobState) -> Map<String, Value> {
    let mut all = Map::new();
    if let Work::Steps { steps, .. } = &plan.work {
        for leg in &state.legs {
            for (plan, step) in steps.iter().zip(&leg.steps) {
                for (key, value) in &step.outputs {
                    all.insert(key.clone(), json!(value));
                    all.insert(format!("{}.{key}", plan.name), json!(value));
                }
            }
        }
    }
    all.extend(state.outputs.iter().map(|(key, value)| (key.clone(), json!(value))));
    all
}
