//! How far a Workflow is.

use crate::limits;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a Workflow is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: WorkflowPhase,
    /// The jobs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<String, JobStatus>,
    /// What the Workflow waits for, or why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::MESSAGE_CHARS"))]
    pub message: Option<String>,
    /// Its `spec.outputs`, evaluated when it succeeded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// When its first job could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MicroTime>,
    /// `Valid`: whether it can be understood. `Finished`: true at its end, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The state of a Workflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkflowPhase {
    /// Has not begun.
    #[default]
    Pending,
    /// A job runs, or is about to.
    Running,
    /// Every job succeeded, was skipped, or may fail.
    Succeeded,
    /// A job failed, or the Workflow can't be understood.
    Failed,
    /// Ended by its user.
    Cancelled,
}

impl WorkflowPhase {
    /// All phases.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether it is the last one.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The phase as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Where it stands.
    pub phase: JobPhase,
    /// What it waits for, or why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::MESSAGE_CHARS"))]
    pub message: Option<String>,
    /// Its steps, by name. Those of a job with a matrix stand in `legs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, StepStatus>,
    /// The legs of a job with a matrix, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub legs: BTreeMap<String, LegStatus>,
    /// Its `outputs`, evaluated when it succeeded; of a matrix those of the last leg that has the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Which attempt this is, from 1; of a job without a matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// The Workflow that is this job, where it `uses` one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::OBJECT_NAME_CHARS"))]
    pub workflow_name: Option<String>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MicroTime>,
}

/// How far one leg of a matrix is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LegStatus {
    /// Where it stands.
    pub phase: JobPhase,
    /// Why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::MESSAGE_CHARS"))]
    pub message: Option<String>,
    /// Its steps, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, StepStatus>,
    /// Which attempt this is, from 1; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Where it stands.
    pub phase: JobPhase,
    /// Its Run; absent in a leg, where `krt workflow get` finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::OBJECT_NAME_CHARS"))]
    pub run_name: Option<String>,
    /// The outputs of its Run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::MESSAGE_CHARS"))]
    pub message: Option<String>,
}

/// The state of a job, of a leg of its matrix, or of a step.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum JobPhase {
    /// Has not begun.
    #[default]
    Pending,
    /// A job it needs has not ended, or it waits for an approval.
    Waiting,
    /// On its way.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Was not to run.
    Skipped,
    /// Was ended before its own end.
    Cancelled,
}

impl JobPhase {
    /// Whether it is the last one.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Waiting | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled => true,
        }
    }

    /// The phase as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::Cancelled => "Cancelled",
        }
    }
}
