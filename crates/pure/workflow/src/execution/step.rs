//! What comes of a step that is next: whether it runs, and its Run with every expression evaluated.

use super::context::View;
use super::state::{AFTER, Leg};
use super::{Execution, LegId, NewChild};
use crate::child::{self, Child};
use crate::plan::{JobPlan, StepPlan, Work};
use kruntimes_api::{JobPhase, RunInput, StepInput};
use kruntimes_expressions::{Context, ExpressionError, StatusFunction, Template};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What comes of a step that is next.
pub(super) enum Next {
    Create(Box<NewChild>),
    Skip,
    Fail(String),
}

impl Execution {
    pub(super) fn next_of(&self, id: LegId, child: &Child) -> Next {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        let view = View { of: self, job: Some(job), leg: Some(leg), env: None };
        let [name, _] = child.names(&self.identity);
        let mut metadata = child.metadata(&self.identity, name);
        if let Some(after) = self.after(leg, plan.finally) {
            let mark = (AFTER.to_owned(), after.as_str().to_owned());
            metadata.annotations = Some(BTreeMap::from([mark]));
        }
        match &plan.work {
            Work::Uses { workflow, with } if leg.stop.is_none() => match texts("with", with, &view)
            {
                Ok(with) => Next::Create(Box::new(NewChild::Workflow {
                    metadata: Box::new(metadata),
                    template: workflow.clone(),
                    with,
                })),
                Err(problem) => Next::Fail(problem),
            },
            Work::Uses { .. } => Next::Skip,
            Work::Steps { runs_on, steps } => {
                let step = &steps[leg.at];
                let work = self.environment(plan, &view).and_then(|env| {
                    let view = View { env: Some(&env), ..view };
                    if !is_wanted(step, &view)? {
                        return Ok(None);
                    }
                    let inputs = self.inputs(plan, leg, step)?;
                    let work = work(runs_on, step, &env, &view)?;
                    Ok(Some(child::Work { inputs, ..work }))
                });
                match work {
                    Ok(Some(work)) => {
                        Next::Create(Box::new(NewChild::Run(Box::new(child::run(metadata, work)))))
                    }
                    Ok(None) => Next::Skip,
                    Err(problem) => Next::Fail(problem),
                }
            }
        }
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
    fn environment(&self, plan: &JobPlan, view: &View<'_>) -> Result<Value, String> {
        let mut env = Map::new();
        for (path, all) in [("spec.env", &self.plan.env), ("env of the job", &plan.env)] {
            for (name, text) in texts(path, all, view)? {
                env.insert(name, json!(text));
            }
        }
        Ok(Value::Object(env))
    }
}

fn is_wanted(step: &StepPlan, view: &View<'_>) -> Result<bool, String> {
    let asks = step.condition.as_ref().is_some_and(|condition| condition.uses_status());
    if !asks && !view.status(StatusFunction::Success)? {
        return Ok(false);
    }
    let condition = step.condition.as_ref().map(|condition| condition.is_true(view));
    condition.unwrap_or(Ok(true)).map_err(|error| format!("if: {error}"))
}

fn work(
    runs_on: &str,
    step: &StepPlan,
    env: &Value,
    view: &View<'_>,
) -> Result<child::Work, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in env.as_object().into_iter().flatten() {
        variables.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    variables.extend(texts("env", &step.env, view)?);
    for (name, expression) in &step.script.variables {
        let value = expression.evaluate_text(view).map_err(|error| format!("run: {error}"))?;
        variables.insert(name.clone(), value);
    }
    let args: Result<Vec<String>, ExpressionError> =
        step.args.iter().map(|arg| arg.evaluate_text(view)).collect();
    Ok(child::Work {
        runtime: runs_on.to_owned(),
        inputs: Vec::new(),
        script: step.script.text.clone(),
        args: args.map_err(|error| format!("args: {error}"))?,
        env: variables,
        timeout_seconds: step.timeout_seconds,
        retry_policy: step.retry_policy.clone(),
    })
}

/// Evaluates texts; an error names which.
pub(super) fn texts(
    path: &str,
    all: &[(String, Template)],
    view: &View<'_>,
) -> Result<BTreeMap<String, String>, String> {
    let text = |(name, template): &(String, Template)| {
        let text =
            template.evaluate_text(view).map_err(|error| format!("{path}.{name}: {error}"))?;
        Ok((name.clone(), text))
    };
    all.iter().map(text).collect()
}
