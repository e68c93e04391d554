//! Workflow: jobs of steps, each step a Run.

mod job;
mod status;

pub use job::{Approval, Job, JobRetryPolicy, Step, StepInput, Strategy, Workspace};
pub use status::{JobPhase, JobStatus, LegStatus, StepStatus, WorkflowPhase, WorkflowStatus};

use crate::{limits, namespaced_kind};
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Workflow orchestrates child Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// `kruntimes.io/v1alpha1`.
    #[serde(default)]
    pub api_version: type_tags::ApiVersion,
    /// `Workflow`.
    #[serde(default)]
    pub kind: type_tags::Kind,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What to do.
    pub spec: WorkflowSpec,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<WorkflowStatus>,
}
namespaced_kind!(Workflow, "Workflow", "workflows");

/// What to do. Only `cancelRequested`, `suspend`, `approvals` and `ttlSecondsAfterFinished` can be changed, except in a template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSpec {
    /// Whether this Workflow only waits to be used by the jobs of others, in their `uses`. A template never runs, and can be
    /// changed: who uses it takes it as it is at that moment. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<bool>,
    /// The jobs, by name: letters, digits, `-`, `_` and `.`. They run beside each other, except where one needs another.
    pub jobs: BTreeMap<String, Job>,
    /// What the Workflow can be told, by name; expressions read it as `inputs.NAME`. Default: nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
    /// Values of the inputs, by name. Every input that is required and has no default needs one. Default: the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
    /// Environment variables of all steps. Those of a job and of a step come on top. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the Workflow gives to the job that uses it: expressions over `jobs.NAME.outputs.KEY`, by name. Default: nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Names of jobs that run after all others have ended, whatever came of those, and also after a cancellation.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::JOBS"))]
    pub finally: Vec<String>,
    /// Whether the first job that fails ends the others: what runs is cancelled, what has not started is skipped, but for
    /// jobs in `finally` and jobs whose `if` asks for it. Default: true.
    #[serde(default, rename = "fail-fast", skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// How many Runs of the Workflow may be on their way at once. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::LEGS"))]
    pub parallelism: Option<i32>,
    /// Workflows of one group of a namespace run one after the other. Default: no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Seconds that the Workflow may take from its start. After them what runs is cancelled and it fails; jobs in `finally`
    /// still run. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::TIMEOUT_SECONDS"))]
    pub timeout_seconds: Option<i64>,
    /// What holds for jobs that have no `retryPolicy` of their own. Default: one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<JobRetryPolicy>,
    /// While it is true nothing new starts; what runs goes on. It can be changed at any time. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Names of jobs with `approval: required` that may start. Names can be added at any time, and never taken away.
    /// `krt workflow approve` adds one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::JOBS"))]
    pub approvals: Vec<String>,
    /// Set it to true to cancel the Workflow: what runs is cancelled, what has not started is skipped, but for jobs in
    /// `finally` and what asks for it with `if: always()` or `if: cancelled()`. It can't be taken back. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<bool>,
    /// Seconds after its end at which the Workflow is deleted, with its Runs; 0 keeps it for ever. It can be changed at any
    /// time. Default: the controller's `--default-ttl`, which is 7 days; 24 hours in a local home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Jobs that are taken from an earlier Workflow of this namespace as they ended there, instead of running again.
    /// `krt workflow rerun` sets it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
}

/// One thing that a Workflow can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// What it is for, for people. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::DESCRIPTION_CHARS"))]
    pub description: Option<String>,
    /// What its values are. Default: string.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<InputType>,
    /// Whether a value must be given where there is no default. Default: false; without either it is empty, 0 or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Its value where none is given. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::OUTPUT_VALUE_BYTES"))]
    pub default: Option<String>,
    /// The values that a choice may have. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::INPUTS"), inner(length(max = "limits::OUTPUT_NAME_BYTES")))]
    pub options: Vec<String>,
}

/// What the values of an input are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Any text.
    #[default]
    String,
    /// A number, as JSON writes it.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of `options`.
    Choice,
}

/// Workflows of one group run one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Concurrency {
    /// Name of the group; expressions may read `inputs` and `workflow`. One Workflow of a group runs, one waits: a newer one
    /// takes the place of the one that waits, which is cancelled.
    #[schemars(length(min = 1, max = "limits::OUTPUT_VALUE_BYTES"))]
    pub group: String,
    /// Whether a newer Workflow cancels the one that runs too. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_in_progress: Option<bool>,
}

/// Jobs that are taken from an earlier Workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reuse {
    /// Name of the earlier Workflow, in the same namespace.
    #[schemars(
        length(min = 1, max = "limits::OBJECT_NAME_CHARS"),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub workflow: String,
    /// Its UID: a Workflow of that name that was made later is not meant.
    #[schemars(length(min = 1, max = "limits::OBJECT_NAME_CHARS"))]
    pub uid: String,
    /// Names of jobs that succeeded there.
    #[schemars(length(min = 1, max = "limits::JOBS"))]
    pub jobs: Vec<String>,
}

impl Workflow {
    /// The phase; a Workflow without a status is Pending.
    #[must_use]
    pub fn phase(&self) -> WorkflowPhase {
        self.status.as_ref().map_or(WorkflowPhase::Pending, |status| status.phase)
    }

    /// Whether it only waits to be used by others.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.spec.template == Some(true)
    }
}
