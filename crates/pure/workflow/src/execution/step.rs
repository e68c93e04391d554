//! What comes of a step that is next: whether it runs, and its Run with every expression evaluated.

use super::context::View;
use super::state::{AFTER, Leg, Stop};
use super::{Creation, Execution, LegId, NewChild};
use crate::child::{self, Use};
use crate::plan::{JobPlan, StepPlan, Work};
use kruntimes_api::{JobPhase, RunInput, StepInput};
use kruntimes_expressions::{Budget, Context, StatusFunction, Template};
use kruntimes_rules::mutant::{self, Mutant};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What comes of a step that is next.
pub(super) enum Next {
    Create,
    Skip,
    Fail(String),
}

impl Execution {
    pub(super) fn next_of(&self, id: LegId) -> Next {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        match &plan.work {
            Work::Uses { .. } if leg.stop.is_none() => Next::Create,
            Work::Uses { .. } => Next::Skip,
            Work::Steps { .. } if leg.stop == Some(Stop::Lost) => Next::Skip,
            Work::Steps { steps, .. } => match self.is_wanted(id, &steps[leg.at]) {
                Ok(true) => Next::Create,
                Ok(false) => Next::Skip,
                Err(problem) => Next::Fail(problem),
            },
        }
    }

    fn is_wanted(&self, id: LegId, step: &StepPlan) -> Result<bool, String> {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        let view = View { of: self, job: Some(job), leg: Some(leg), env: None };
        let asks = step.condition.as_ref().is_some_and(|condition| condition.uses_status());
        if !asks && !view.status(StatusFunction::Success)? {
            return Ok(false);
        }
        let Some(condition) = &step.condition else { return Ok(true) };
        let mut budget = Budget::new();
        let env = self.environment(plan, &view, &mut budget)?;
        let view = View { env: Some(&env), ..view };
        condition.is_true_within(&view, &mut budget).map_err(|error| format!("if: {error}"))
    }

    /// The object of a child; none where no step waits for it any more.
    ///
    /// # Errors
    /// Why there can be none: an expression of its step, or what it takes from others.
    pub fn object(&self, creation: &Creation) -> Result<Option<NewChild>, String> {
        let Some(active) = self.active.get(&creation.name) else {
            return Ok(self.holding(creation));
        };
        let (job, index) = active.leg;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        // What may exist is created all the same: then it can be cancelled, and its end waited for.
        let may_exist = creation.may_exist && !mutant::is(Mutant::UnansweredIsAbsent);
        if active.is_stopped_by(leg).is_some() && !may_exist {
            return Ok(None);
        }
        let mut metadata = active.child.metadata(&self.identity, creation.name.clone());
        if let Some(after) = creation.after {
            let mark = (AFTER.to_owned(), after.as_str().to_owned());
            metadata.annotations = Some(BTreeMap::from([mark]));
        }
        let view = View { of: self, job: Some(job), leg: Some(leg), env: None };
        // All texts of a child share it: they cost no more than one.
        let mut budget = Budget::new();
        Ok(Some(match &plan.work {
            Work::Uses { workflow, with } => NewChild::Workflow(Box::new(Use {
                metadata,
                template: workflow.clone(),
                with: texts("with", with, &view, &mut budget)?,
                among: self.plan.uses().count() * self.jobs[job].legs.len(),
            })),
            Work::Steps { runs_on, steps } => {
                let step = &steps[leg.at];
                let env = self.environment(plan, &view, &mut budget)?;
                let inputs = self.inputs(plan, leg, step)?;
                let work = work(runs_on, step, env, view, &mut budget)?;
                let workspace_group = self.workspace_group(plan, leg);
                let work = child::Work { inputs, workspace_group, ..work };
                NewChild::Run(Box::new(child::run(metadata, work)))
            }
        }))
    }

    /// The artifacts that a step takes, by the Runs that have left them.
    fn inputs(&self, plan: &JobPlan, leg: &Leg, step: &StepPlan) -> Result<Vec<RunInput>, String> {
        let input = |input: &StepInput| {
            let other = input.job.as_ref().filter(|name| **name != plan.name);
            let (plan, leg) = match other.and_then(|name| self.plan.by_name.get(name)) {
                Some(id) => (&self.plan.jobs[*id], self.jobs[*id].legs.first()),
                None => (plan, Some(leg)),
            };
            let child = leg.and_then(|leg| self.left_by(plan, leg, &input.step));
            let from_run = child.ok_or_else(|| {
                format!(
                    "inputs: the step {} of {} did not succeed, and has left nothing",
                    input.step, plan.name
                )
            })?;
            let (name, path) = (input.name.clone(), input.path.clone());
            Ok(RunInput { name, path, from_run: Some(from_run), reference: None })
        };
        step.inputs.iter().map(input).collect()
    }

    /// The Run of a step that has succeeded.
    fn left_by(&self, plan: &JobPlan, leg: &Leg, step: &str) -> Option<String> {
        let Work::Steps { steps, .. } = &plan.work else { return None };
        let index = steps.iter().position(|other| other.name == step)?;
        let state = leg.steps.get(index).filter(|state| state.phase == JobPhase::Succeeded)?;
        state.child.clone().or_else(|| {
            // The status of a leg names no Runs.
            let [name, _] = leg.child(plan, Some(step)).names(&self.identity);
            Some(name)
        })
    }

    /// The environment that a step's own expressions read: the Workflow's and the job's.
    fn environment(
        &self,
        plan: &JobPlan,
        view: &View<'_>,
        budget: &mut Budget,
    ) -> Result<Value, String> {
        let mut env = Map::new();
        for (path, all) in [("spec.env", &self.plan.env), ("env of the job", &plan.env)] {
            for (name, text) in texts(path, all, view, budget)? {
                env.insert(name, json!(text));
            }
        }
        Ok(Value::Object(env))
    }
}

/// What a step's Run executes. Its script and arguments see its own environment too.
fn work(
    runs_on: &str,
    step: &StepPlan,
    mut env: Value,
    view: View<'_>,
    budget: &mut Budget,
) -> Result<child::Work, String> {
    let own = texts("env", &step.env, &View { env: Some(&env), ..view }, budget)?;
    for (name, text) in own {
        env[name] = json!(text);
    }
    let view = View { env: Some(&env), ..view };
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in env.as_object().into_iter().flatten() {
        variables.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    for (name, expression) in &step.script.variables {
        let value = expression.evaluate_text_within(&view, budget);
        variables.insert(name.clone(), value.map_err(|error| format!("run: {error}"))?);
    }
    let mut args = Vec::new();
    for arg in &step.args {
        let arg = arg.evaluate_text_within(&view, budget);
        args.push(arg.map_err(|error| format!("args: {error}"))?);
    }
    Ok(child::Work {
        runtime: runs_on.to_owned(),
        inputs: Vec::new(),
        workspace_group: None,
        script: step.script.text.clone(),
        args,
        env: variables,
        timeout_seconds: step.timeout_seconds,
        retry_policy: step.retry_policy.clone(),
    })
}

/// Evaluates texts that share a budget; an error names which.
pub(super) fn texts(
    path: &str,
    all: &[(String, Template)],
    view: &View<'_>,
    budget: &mut Budget,
) -> Result<BTreeMap<String, String>, String> {
    let mut done = BTreeMap::new();
    for (name, template) in all {
        let text = template.evaluate_text_within(view, budget);
        done.insert(name.clone(), text.map_err(|error| format!("{path}.{name}: {error}"))?);
    }
    Ok(done)
}
