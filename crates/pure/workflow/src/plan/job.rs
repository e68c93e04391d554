//! One job as it is understood.

use super::{Invalid, JobId};
use crate::script;
use kruntimes_api::{
    Job, JobRetryPolicy, RetryPolicy, Step, StepInput, Strategy, WorkflowSpec, Workspace, limits,
};
use kruntimes_expressions::{Expression, Matrix, Script, Template};
use std::collections::BTreeMap;
use std::time::Duration;

/// One job.
#[derive(Debug)]
pub struct JobPlan {
    /// Its name.
    pub name: String,
    /// The jobs that must end before it: named ones, and those whose outputs it reads.
    pub needs: Vec<JobId>,
    /// The jobs that need it.
    pub needed_by: Vec<JobId>,
    /// The jobs it needs, those that they need, and so on.
    pub ancestors: Vec<JobId>,
    /// Whether it runs after all others.
    pub finally: bool,
    /// Its `if`.
    pub condition: Option<Expression>,
    /// What it does.
    pub work: Work,
    /// Its outputs.
    pub outputs: Vec<(String, Template)>,
    /// Its environment, on top of the Workflow's.
    pub env: Vec<(String, Template)>,
    /// Its legs.
    pub legs: Option<LegsPlan>,
    /// Whether the others go on when it fails.
    pub continue_on_error: bool,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// When it starts again with its first step.
    pub retries: RetryPolicy,
    /// The directories of its steps.
    pub workspace: Workspace,
    /// Whether somebody must agree to its start.
    pub needs_approval: bool,
}

/// What a job does.
#[derive(Debug)]
pub enum Work {
    /// Runs, one after the other.
    Steps {
        /// The Runtime.
        runs_on: String,
        /// The steps.
        steps: Vec<StepPlan>,
    },
    /// Another Workflow.
    Uses {
        /// Its name.
        workflow: String,
        /// What it is told.
        with: Vec<(String, Template)>,
    },
}

/// One step.
#[derive(Debug)]
pub struct StepPlan {
    /// Its name.
    pub name: String,
    /// Its `if`.
    pub condition: Option<Expression>,
    /// What it executes.
    pub script: Script,
    /// Artifacts of earlier steps.
    pub inputs: Vec<StepInput>,
    /// The script's arguments.
    pub args: Vec<Template>,
    /// Its environment, on top of the job's.
    pub env: Vec<(String, Template)>,
    /// Whether the job goes on when it fails.
    pub continue_on_error: bool,
    /// `timeoutSeconds` of its Run.
    pub timeout_seconds: Option<i64>,
    /// `retryPolicy` of its Run.
    pub retry_policy: Option<RetryPolicy>,
}

/// How a job becomes legs.
#[derive(Debug)]
pub struct LegsPlan {
    /// The combinations.
    pub matrix: Matrix,
    /// Whether the first leg that fails ends the others.
    pub fail_fast: bool,
    /// Legs at once.
    pub max_parallel: usize,
}

/// Reads a job; needs are resolved later.
pub(super) fn read(
    name: &str,
    job: &Job,
    spec: &WorkflowSpec,
    finally: bool,
    wrong: &mut Vec<Invalid>,
) -> JobPlan {
    let path = format!("spec.jobs.{name}");
    let work = match &job.uses {
        Some(workflow) => Work::Uses {
            workflow: workflow.clone(),
            with: templates(&format!("{path}.with"), &job.with, wrong),
        },
        None => Work::Steps {
            runs_on: job.runs_on.clone().unwrap_or_default(),
            steps: read_steps(&path, job, wrong),
        },
    };
    JobPlan {
        name: name.to_owned(),
        needs: Vec::new(),
        needed_by: Vec::new(),
        ancestors: Vec::new(),
        finally,
        condition: condition(&format!("{path}.if"), job.condition.as_deref(), wrong),
        work,
        outputs: templates(&format!("{path}.outputs"), &job.outputs, wrong),
        env: templates(&format!("{path}.env"), &job.env, wrong),
        legs: job.strategy.as_ref().and_then(|strategy| read_strategy(&path, strategy, wrong)),
        continue_on_error: job.continue_on_error == Some(true),
        timeout: job
            .timeout_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        retries: retries(job.retry_policy.as_ref().or(spec.retry_policy.as_ref())),
        workspace: job.workspace.unwrap_or_default(),
        needs_approval: job.approval.is_some(),
    }
}

fn read_strategy(path: &str, strategy: &Strategy, wrong: &mut Vec<Invalid>) -> Option<LegsPlan> {
    let most = strategy.max_parallel.and_then(|most| usize::try_from(most).ok());
    match Matrix::parse(&strategy.matrix, limits::LEGS as usize) {
        Ok(matrix) => {
            let path = format!("{path}.strategy.matrix");
            for expression in matrix.expressions() {
                no_functions_of_conditions(&path, expression, wrong);
            }
            Some(LegsPlan {
                matrix,
                fail_fast: strategy.fail_fast != Some(false),
                max_parallel: most.unwrap_or(usize::MAX),
            })
        }
        Err(error) => {
            wrong.push(Invalid::new(format!("{path}.strategy.{}", error.path), error.problem));
            None
        }
    }
}

fn retries(policy: Option<&JobRetryPolicy>) -> RetryPolicy {
    let policy = policy.cloned().unwrap_or_default();
    RetryPolicy {
        max_attempts: policy.max_attempts,
        backoff: policy.backoff,
        retryable_reasons: Vec::new(),
    }
}

fn read_steps(path: &str, job: &Job, wrong: &mut Vec<Invalid>) -> Vec<StepPlan> {
    let runs_on = job.runs_on.as_deref().unwrap_or_default();
    let workspace = job.workspace.unwrap_or_default();
    let read = |(index, step): (usize, &Step)| {
        let path = format!("{path}.steps[{index}]");
        StepPlan {
            name: step.name.clone(),
            condition: condition(&format!("{path}.if"), step.condition.as_deref(), wrong),
            script: script::of(&format!("{path}.run"), (runs_on, workspace), step, wrong),
            inputs: step.inputs.clone(),
            args: read_args(&path, &step.args, wrong),
            env: templates(&format!("{path}.env"), &step.env, wrong),
            continue_on_error: step.continue_on_error == Some(true),
            timeout_seconds: step.timeout_seconds,
            retry_policy: step.retry_policy.clone(),
        }
    };
    job.steps.iter().enumerate().map(read).collect()
}

fn read_args(path: &str, args: &[String], wrong: &mut Vec<Invalid>) -> Vec<Template> {
    let read =
        |(index, text): (usize, &String)| template(&format!("{path}.args[{index}]"), text, wrong);
    args.iter().enumerate().filter_map(read).collect()
}

/// A map of texts with expressions, none of which asks how things went.
pub(super) fn templates(
    path: &str,
    texts: &BTreeMap<String, String>,
    wrong: &mut Vec<Invalid>,
) -> Vec<(String, Template)> {
    let read = |(name, text): (&String, &String)| {
        Some((name.clone(), template(&format!("{path}.{name}"), text, wrong)?))
    };
    texts.iter().filter_map(read).collect()
}

pub(super) fn template(path: &str, text: &str, wrong: &mut Vec<Invalid>) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => {
            for expression in template.expressions() {
                no_functions_of_conditions(path, expression, wrong);
            }
            Some(template)
        }
        Err(error) => {
            wrong.push(Invalid::new(path, error));
            None
        }
    }
}

fn condition(path: &str, text: Option<&str>, wrong: &mut Vec<Invalid>) -> Option<Expression> {
    match Expression::parse(text?) {
        Ok(expression) => {
            no_files(path, &expression, wrong);
            Some(expression)
        }
        Err(error) => {
            wrong.push(Invalid::new(path, error));
            None
        }
    }
}

/// Refuses what only conditions can ask, and what nobody can answer before a step runs.
pub(crate) fn no_functions_of_conditions(
    path: &str,
    expression: &Expression,
    wrong: &mut Vec<Invalid>,
) {
    if expression.uses_status() {
        let problem = "always(), success(), failure() and cancelled() are for if";
        wrong.push(Invalid::new(path, problem));
    }
    no_files(path, expression, wrong);
}

fn no_files(path: &str, expression: &Expression, wrong: &mut Vec<Invalid>) {
    if expression.uses_files() {
        let problem = "hashFiles is for run of a job with workspace: shared, alone between its braces: elsewhere there are no files yet. \
                       Let a step write its answer into $KRUNTIME_OUTPUTS and read that output";
        wrong.push(Invalid::new(path, problem));
    }
}
