//! The jobs of a Workflow and their steps.

use crate::{RetryPolicy, limits};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Steps that run one after the other, or another Workflow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Name of the Runtime that executes the steps, in the same namespace. A job with steps needs it. Example: `bash`.
    #[serde(default, rename = "runs-on", skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub runs_on: Option<String>,
    /// Names of jobs that must have succeeded before this one starts. A job whose outputs a step's `run` or `args` reads as
    /// `jobs.NAME.outputs.KEY` is one of them without being named. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::JOBS"), inner(length(max = 63)))]
    pub needs: Vec<String>,
    /// An expression, with or without `${{ }}`: the job is skipped where it is false. Without `always()`, `failure()` or
    /// `cancelled()` in it, it also is where a job that it needs did not succeed. Default: `success()`.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::EXPRESSION_CHARS"))]
    pub condition: Option<String>,
    /// What to do, one after the other: a step that fails ends the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::STEPS"))]
    pub steps: Vec<Step>,
    /// What the job gives to those that need it: texts with expressions over `steps.NAME.outputs.KEY`, by name.
    /// Default: nothing; but the outputs of its steps can be read as `jobs.NAME.outputs.KEY` too, where the last step that
    /// has the key wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Environment variables of all its steps, on top of the Workflow's. Values may hold expressions. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Runs the job once for each combination of values. Default: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Whether the others go on as if the job had succeeded when it fails. Default: false.
    #[serde(default, rename = "continue-on-error", skip_serializing_if = "Option::is_none")]
    pub continue_on_error: Option<bool>,
    /// Seconds that one attempt of the job may take. After them its Run is cancelled and the attempt fails.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::TIMEOUT_SECONDS"))]
    pub timeout_seconds: Option<i64>,
    /// Whether the job starts again with its first step when a step has failed. Default: that of the Workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<JobRetryPolicy>,
    /// shared: the steps work in one directory, one after the other, each as a Run of its own; it is held by one more Run of the
    /// job, which takes a slot until the job ends. Where that one's pod is lost the job fails, and starts again with its first
    /// step in an empty directory if its `retryPolicy` allows. separate: each step has a directory of its own.
    /// Default: separate; shared in files in GitHub's syntax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// required: the job waits, when all it needs is done, until its name stands in `spec.approvals`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Name of a Workflow of this namespace with `spec.template: true` that is the job, instead of steps. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub uses: Option<String>,
    /// Values of the inputs of the Workflow in `uses`, by name; they may hold expressions. Default: its defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
}

/// The directories of a job's steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Workspace {
    /// One for all.
    Shared,
    /// One each.
    #[default]
    Separate,
}

/// Whether somebody must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Before the job starts.
    Required,
}

/// One Run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name, by which others refer to it: letters, digits, `-`, `_` and `.`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub name: String,
    /// A script. What `${{ }}` stands for in it reaches it as environment variables, so that no value can become a command;
    /// where a shell does not expand variables (between single quotes, in other languages) use `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::INLINE_CHARS"))]
    pub run: Option<String>,
    /// Arguments of the script; they may hold expressions. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ARGS_ITEMS"), inner(length(max = "limits::ARG_CHARS")))]
    pub args: Vec<String>,
    /// Environment variables, on top of the job's; values may hold expressions. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Artifacts of earlier steps, of this job or of others, put into the working directory before the script starts. A step
    /// leaves them in `$KRUNTIME_ARTIFACTS_DIR`; the Runtimes of both need the same artifact store. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::INPUTS_ITEMS"))]
    pub inputs: Vec<StepInput>,
    /// Refused: steps of others are not served. Use `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::REPO_URL_CHARS"))]
    pub uses: Option<String>,
    /// Refused: it belongs to `uses`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
    /// An expression, with or without `${{ }}`: the step is skipped where it is false. Without `always()`, `failure()` or
    /// `cancelled()` in it, it also is where a step before it failed. Default: `success()`.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::EXPRESSION_CHARS"))]
    pub condition: Option<String>,
    /// Whether the job goes on as if the step had succeeded when it fails. Default: false.
    #[serde(default, rename = "continue-on-error", skip_serializing_if = "Option::is_none")]
    pub continue_on_error: Option<bool>,
    /// Seconds that one attempt of its Run may take. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::TIMEOUT_SECONDS"))]
    pub timeout_seconds: Option<i64>,
    /// The `retryPolicy` of its Run. Default: one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
}

/// An artifact of an earlier step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepInput {
    /// Name of the artifact.
    #[schemars(length(min = 1, max = "limits::ARTIFACT_NAME_BYTES"))]
    pub name: String,
    /// Job whose step has left it: one without a matrix, which this one then needs. Default: this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub job: Option<String>,
    /// Step that has left it.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
    /// Where it is put, relative to the working directory. Default: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = "limits::INPUT_PATH_CHARS"))]
    pub path: Option<String>,
}

/// When a job starts again with its first step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRetryPolicy {
    /// Attempts in all, the first one included. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::MAX_ATTEMPTS"))]
    pub max_attempts: Option<i32>,
    /// Wait before the second attempt, doubled before each further one, up to a minute: above `0s`, up to `24h`.
    /// Default: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub backoff: Option<String>,
}

/// One leg of the job for each combination of values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Strategy {
    /// Lists of values by name, with `include` and `exclude`: lists of combinations that are added and left out. Each list,
    /// and the whole, may be an expression such as `${{ fromJSON(needs.plan.outputs.list) }}`. Expressions read a leg's values
    /// as `matrix.NAME`. A Workflow has at most 1,024 legs.
    #[schemars(schema_with = "anything")]
    pub matrix: Value,
    /// Whether the first leg that fails ends the other legs. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// How many legs may run at once. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::LEGS"))]
    pub max_parallel: Option<i32>,
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}
