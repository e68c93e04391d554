//! A Workflow as it is understood before it runs: every expression parsed, every name resolved, no cycle.
//!
//! All that is wrong is found at once, each with the path of its field; nothing here depends on how the run goes.

mod environment;
mod graph;
mod job;
mod references;

pub use job::JobPlan;
pub(crate) use job::no_functions_of_conditions;
pub(crate) use job::{StepPlan, Work};

use kruntimes_api::{WorkflowSpec, limits};
use kruntimes_expressions::Template;
use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where, as `spec.jobs.build.steps[2].run`.
    pub path: String,
    /// What, and what to do.
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.problem)
    }
}

impl Invalid {
    /// At a path.
    pub fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }
}

/// The place of a job in [`Plan::jobs`].
pub(crate) type JobId = usize;

/// A Workflow as it is understood.
#[derive(Debug)]
pub struct Plan {
    /// The jobs, in the order of their names.
    pub jobs: Vec<JobPlan>,
    /// Where each job is.
    pub by_name: BTreeMap<String, JobId>,
    /// The environment of all steps.
    pub env: Vec<(String, Template)>,
    /// What the Workflow gives to the job that uses it.
    pub outputs: Vec<(String, Template)>,
    /// The name of its group.
    pub group: Option<Template>,
}

impl Plan {
    /// Understands a spec.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn of(spec: &WorkflowSpec) -> Result<Self, Vec<Invalid>> {
        let mut wrong = Vec::new();
        check_size(spec, &mut wrong);
        let by_name: BTreeMap<String, JobId> =
            spec.jobs.keys().enumerate().map(|(id, name)| (name.clone(), id)).collect();
        let jobs = spec.jobs.iter().map(|(name, job)| {
            let finally = spec.finally.contains(name);
            job::read(name, job, spec, finally, &mut wrong)
        });
        let mut plan = Self {
            jobs: jobs.collect(),
            by_name,
            env: job::templates("spec.env", &spec.env, &mut wrong),
            outputs: job::templates("spec.outputs", &spec.outputs, &mut wrong),
            group: spec.concurrency.as_ref().and_then(|concurrency| {
                job::template("spec.concurrency.group", &concurrency.group, &mut wrong)
            }),
        };
        environment::check(&plan, &mut wrong);
        references::check(&mut plan, spec, &mut wrong);
        graph::connect(&mut plan, spec, &mut wrong);
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    /// The jobs that are other Workflows.
    pub(crate) fn uses(&self) -> impl Iterator<Item = &JobPlan> {
        self.jobs.iter().filter(|job| matches!(job.work, Work::Uses { .. }))
    }
}

/// The status comes on top of the spec, and etcd takes 1.5 MiB.
fn check_size(spec: &WorkflowSpec, wrong: &mut Vec<Invalid>) {
    let bytes = serde_json::to_vec(spec).map_or(0, |text| text.len());
    let most = limits::WORKFLOW_SPEC_BYTES;
    if bytes > most {
        let problem = format!(
            "it has {bytes} bytes as JSON, and may have {most}: put long scripts into a Git repository or an image"
        );
        wrong.push(Invalid::new("spec", problem));
    }
}
