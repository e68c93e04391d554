//! Whether all that expressions read is there, and which jobs they wait for because of it.

use super::{Invalid, JobId, JobPlan, Plan, Work};
use kruntimes_api::{StepInput, WorkflowSpec};
use kruntimes_expressions::{Expression, Reference, Template};

/// What an expression may read at its place.
#[derive(Clone, Copy)]
struct Place<'a> {
    spec: &'a WorkflowSpec,
    /// The job it belongs to.
    job: Option<&'a JobPlan>,
    /// How many of the job's steps come before it.
    steps: usize,
}

/// Checks every expression; the jobs that one reads are added to the needs of its job.
pub(super) fn check(plan: &mut Plan, spec: &WorkflowSpec, wrong: &mut Vec<Invalid>) {
    let mut needs: Vec<Vec<JobId>> = Vec::new();
    for job in &plan.jobs {
        let mut found = Found { wrong: &mut *wrong, jobs: Vec::new() };
        check_job(job, spec, &mut found);
        let ids = found.jobs.iter().filter_map(|name| plan.by_name.get(name).copied());
        needs.push(ids.collect());
    }
    let place = Place { spec, job: None, steps: 0 };
    let mut found = Found { wrong, jobs: Vec::new() };
    found.templates("spec.env", &plan.env, place, &["inputs", "workflow"]);
    found.templates("spec.outputs", &plan.outputs, place, &["inputs", "workflow", "jobs"]);
    if let Some(group) = &plan.group {
        found.template("spec.concurrency.group", group, place, &["inputs", "workflow"]);
    }
    for (job, needs) in plan.jobs.iter_mut().zip(needs) {
        job.needs = needs;
    }
}

const OF_JOB: [&str; 4] = ["inputs", "workflow", "jobs", "needs"];
const OF_LEG: [&str; 6] = ["inputs", "workflow", "jobs", "needs", "matrix", "strategy"];
const OF_STEP: [&str; 8] =
    ["inputs", "workflow", "jobs", "needs", "matrix", "strategy", "env", "steps"];
const OF_OUTPUT: [&str; 7] = ["inputs", "workflow", "jobs", "needs", "matrix", "strategy", "steps"];

fn check_job(job: &JobPlan, spec: &WorkflowSpec, found: &mut Found<'_>) {
    let path = format!("spec.jobs.{}", job.name);
    let steps = match &job.work {
        Work::Steps { steps, .. } => steps.len(),
        Work::Uses { .. } => 0,
    };
    let before = Place { spec, job: Some(job), steps: 0 };
    let after = Place { spec, job: Some(job), steps };
    if let Some(condition) = &job.condition {
        found.expression(&format!("{path}.if"), condition, before, &OF_JOB);
    }
    if let Some(legs) = &job.legs {
        let path = format!("{path}.strategy.matrix");
        found.references(&path, legs.matrix.references(), before, &OF_JOB);
    }
    found.templates(&format!("{path}.env"), &job.env, before, &OF_LEG);
    found.templates(&format!("{path}.outputs"), &job.outputs, after, &OF_OUTPUT);
    match &job.work {
        Work::Uses { with, .. } => found.templates(&format!("{path}.with"), with, before, &OF_LEG),
        Work::Steps { steps, .. } => {
            for (index, step) in steps.iter().enumerate() {
                let place = Place { spec, job: Some(job), steps: index };
                let path = format!("{path}.steps[{index}]");
                if let Some(condition) = &step.condition {
                    found.expression(&format!("{path}.if"), condition, place, &OF_STEP);
                }
                for (_, expression) in &step.script.variables {
                    found.expression(&format!("{path}.run"), expression, place, &OF_STEP);
                }
                for (index, arg) in step.args.iter().enumerate() {
                    found.template(&format!("{path}.args[{index}]"), arg, place, &OF_STEP);
                }
                found.templates(&format!("{path}.env"), &step.env, place, &OF_STEP);
                for (index, input) in step.inputs.iter().enumerate() {
                    found.input(&format!("{path}.inputs[{index}]"), input, place);
                }
            }
        }
    }
}

/// What was found so far.
struct Found<'a> {
    wrong: &'a mut Vec<Invalid>,
    jobs: Vec<String>,
}

impl Found<'_> {
    fn templates(
        &mut self,
        path: &str,
        all: &[(String, Template)],
        place: Place<'_>,
        may: &[&str],
    ) {
        for (name, template) in all {
            self.template(&format!("{path}.{name}"), template, place, may);
        }
    }

    fn template(&mut self, path: &str, template: &Template, place: Place<'_>, may: &[&str]) {
        for expression in template.expressions() {
            self.expression(path, expression, place, may);
        }
    }

    fn expression(&mut self, path: &str, expression: &Expression, place: Place<'_>, may: &[&str]) {
        self.references(path, expression.references(), place, may);
    }

    fn references(&mut self, path: &str, all: Vec<Reference>, place: Place<'_>, may: &[&str]) {
        for reference in all {
            if let Err(problem) = self.reference(&reference, place, may) {
                let (line, column) = (reference.position.line, reference.position.column);
                self.wrong
                    .push(Invalid::new(path, format!("line {line}, column {column}: {problem}")));
            }
        }
    }

    fn reference(
        &mut self,
        reference: &Reference,
        place: Place<'_>,
        may: &[&str],
    ) -> Result<(), String> {
        let names: Vec<&str> = reference.path.iter().map(String::as_str).collect();
        let Some((context, rest)) = names.split_first() else { return Ok(()) };
        if !may.contains(context) {
            return Err(format!("{context} can't be read here; what can be is {}", may.join(", ")));
        }
        match (*context, rest) {
            ("inputs", [name, ..]) if !place.spec.inputs.contains_key(*name) => {
                Err(format!("spec.inputs has no {name}"))
            }
            ("jobs" | "needs", [name, ..]) => self.job(context, name, place),
            ("jobs" | "needs", []) => {
                Err(format!("{context} is read with the name of a job: {context}.NAME"))
            }
            ("matrix", _) if place.job.is_none_or(|job| job.legs.is_none()) => {
                Err("the job has no strategy.matrix".to_owned())
            }
            ("steps", [name, ..]) => step(name, place),
            _ => Ok(()),
        }
    }

    fn input(&mut self, path: &str, input: &StepInput, place: Place<'_>) {
        let of_other =
            input.job.as_deref().filter(|name| place.job.is_some_and(|job| job.name != *name));
        let found = match of_other {
            None => step(&input.step, place),
            Some(name) => {
                self.job("jobs", name, place).and_then(|()| of_job(&input.step, name, place.spec))
            }
        };
        if let Err(problem) = found {
            self.wrong.push(Invalid::new(path, problem));
        }
    }

    fn job(&mut self, context: &str, name: &str, place: Place<'_>) -> Result<(), String> {
        if !place.spec.jobs.contains_key(name) {
            return Err(format!("there is no job {name}"));
        }
        let Some(job) = place.job else { return Ok(()) };
        if job.name == name {
            return Err("a job can't read what it gives to others: use steps".to_owned());
        }
        if context == "needs" && !place.spec.jobs[&job.name].needs.iter().any(|need| need == name) {
            return Err(format!(
                "the job does not need {name}: name it in needs, or read jobs.{name}"
            ));
        }
        self.jobs.push(name.to_owned());
        Ok(())
    }
}

/// Whether another job has the step, once.
fn of_job(step: &str, job: &str, spec: &WorkflowSpec) -> Result<(), String> {
    let other = &spec.jobs[job];
    if other.strategy.is_some() {
        return Err(format!(
            "the job {job} has a matrix: which of its legs is meant can't be said"
        ));
    }
    match other.steps.iter().any(|other| other.name == step) {
        true => Ok(()),
        false => Err(format!("the job {job} has no step {step}")),
    }
}

fn step(name: &str, place: Place<'_>) -> Result<(), String> {
    let steps = match place.job.map(|job| &job.work) {
        Some(Work::Steps { steps, .. }) => steps.as_slice(),
        Some(Work::Uses { .. }) | None => &[],
    };
    match steps.iter().position(|step| step.name == name) {
        Some(index) if index < place.steps => Ok(()),
        Some(_) => Err(format!("the step {name} does not come before this one")),
        None => Err(format!(
            "the job has no step {name}; outputs of other jobs are jobs.NAME.outputs.KEY"
        )),
    }
}
