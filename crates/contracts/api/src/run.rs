//! Run: one execution.

use crate::{ArtifactRef, ArtifactStore, RunInput, limits, namespaced_kind};
use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Run represents one execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// `kruntimes.io/v1alpha1`.
    #[serde(default)]
    pub api_version: type_tags::ApiVersion,
    /// `Run`.
    #[serde(default)]
    pub kind: type_tags::Kind,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What to execute.
    pub spec: RunSpec,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
}
namespaced_kind!(Run, "Run", "runs");

/// What to execute. Every field but `cancelRequested` and `ttlSecondsAfterFinished` is immutable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// Name of the Runtime to execute on, in the same namespace. A Run whose Runtime does not exist waits for it.
    /// Example: `bash`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub runtime: String,
    /// Where the files of the workspace come from. Each attempt has a fresh workspace. Default: an empty workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Artifacts of earlier Runs, put into the working directory before the command starts. What can't be had ends the attempt as
    /// InputUnavailable, what can't be put there the Run as InputInvalid; the message says what to do. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::INPUTS_ITEMS"))]
    pub inputs: Vec<RunInput>,
    /// The file to execute, as a path relative to the workspace; `inline` is written there. bash or Python reads it: it
    /// needs no executable bit. If there is no such file, `args` is the command. Default: `script`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::ENTRYPOINT_CHARS"))]
    pub entrypoint: Option<String>,
    /// Function to call instead of a file or a command, for Runtimes of Python: `module.function`, the module imported
    /// from the working directory. It gets `{"args": [...]}`; what it returns is printed as JSON, unless it is None, and a dict
    /// of strings becomes `status.outputs`. A file without the ending `.py`, such as `script`, is a module too. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::HANDLER_CHARS"))]
    pub handler: Option<String>,
    /// With a file to execute: its arguments. Without one, in a Runtime of bash: a single argument is a bash script, two or
    /// more are one command with its arguments, passed as they are; but where the first of them holds white space, each is
    /// a line of one bash script. In a Runtime of Python: the arguments of `python3`; a single one with a space, a
    /// parenthesis, `=` or `;` in it that is no file is Python code. A Run needs a file, a handler or `args`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ARGS_ITEMS"), inner(length(max = "limits::ARG_CHARS")))]
    pub args: Vec<String>,
    /// Environment variables of the execution, on top of `HOME`, `LANG`, `PATH` and `TMPDIR`; the last of a name that has a
    /// value wins. Anyone who may read the Run reads them: name secrets in `valueFrom.secretKeyRef`, and in
    /// `spec.allowedSecrets` of the Runtime. Names and values have at most 131,072 characters in all, with what comes from
    /// Secrets and ConfigMaps. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ENV_ITEMS"))]
    pub env: Vec<EnvVar>,
    /// Seconds that one attempt may take, counted from when its pod receives it. After them all its processes get SIGTERM,
    /// 2 s later SIGKILL, and the attempt ends with reason Timeout. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::TIMEOUT_SECONDS"))]
    pub timeout_seconds: Option<i64>,
    /// Whether and when a failed attempt is tried again. Without it work starts at most once. Default: one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// What the Run takes of its pod while it executes. Default: one of `runs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<RunResources>,
    /// Whether the Run may make network connections. full: TCP and UDP, as far as the pods of its Runtime may. none: no sockets
    /// at all but pairs of its own; where the Runtime Server can't refuse them the Run fails. Default: full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// A working directory that it shares with the other Runs of the namespace and Runtime that name the same group: any text.
    /// One of them holds it, see `holdsWorkspace`. The others wait for that one, go to its pod, take no slot of their own and
    /// execute one at a time; each has its own outputs, artifacts and `$TMPDIR`. Where the workspace is lost a Run ends with
    /// reason WorkspaceLost. Default: a directory of its own, empty for each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = "limits::WORKSPACE_GROUP_CHARS"))]
    pub workspace_group: Option<String>,
    /// Whether the Run is the one that holds the workspace of its group: it executes nothing, takes one slot of its pod and is
    /// Running until it is cancelled, which removes the workspace. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_workspace: Option<bool>,
    /// Set it to true to cancel the Run: all its processes get SIGTERM, 2 s later SIGKILL. It can't be taken back.
    /// Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<bool>,
    /// Seconds after its end at which the Run is deleted; 0 keeps it for ever. It can be changed at any time. Default: the
    /// controller's `--default-ttl`, which is 7 days; 24 hours in a local home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// What a Run may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// What its pod may.
    Full,
    /// Nothing.
    None,
}

/// Where the files of a Run come from: `inline` or `repoURL`, not both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Text of a script, written to the file that `entrypoint` names. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::INLINE_CHARS"))]
    pub inline: Option<String>,
    /// Git repository that is fetched into the working directory, such as `https://github.com/owner/name`. Only `https://`
    /// and no user or password. Submodules, LFS files and hooks are left alone. At most 100 MiB with its history, 100,000
    /// files and 30 seconds; only the wanted commit is fetched, without its past.
    /// Default: none.
    #[serde(default, rename = "repoURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::REPO_URL_CHARS"))]
    pub repo_url: Option<String>,
    /// Branch, tag or full commit (40 hexadecimal digits) of `repoURL`. Default: its default branch.
    #[serde(default, rename = "commitSHA", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::COMMIT_SHA_CHARS"))]
    pub commit_sha: Option<String>,
}

/// What a Run takes of its pod while it executes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunResources {
    /// Integers by resource, as in `spec.capacity.resources` of the Runtime; `runs` is 1 unless given. A Run waits until a
    /// pod has all of it free. One that asks for more than any pod could ever have fails with reason Unschedulable.
    /// Example: `{runs: 1, gpu: 1}`. Default: `{runs: 1}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the Run may use at most: above it all its processes are killed, and the attempt ends with reason MemoryLimit,
    /// ProcessLimit or DiskLimit. Example: `{memory: 512Mi, processes: 100, disk: 1Gi}`. Default: `spec.runLimits` of the
    /// Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RunLimits>,
}

/// What one Run may use at most. It is looked at some times a second, so that more may be used for a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunLimits {
    /// Bytes of memory of all its processes, with their part of what they share. Files that are mapped do not count.
    /// Example: `512Mi`. Default: what the pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Processes at once. Threads do not count. Default: 512 where Runs are kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::RUN_PROCESSES"))]
    pub processes: Option<i64>,
    /// Bytes on disk in its workspace and `$TMPDIR`, with deleted files that it holds open. Example: `1Gi`. Default: what the
    /// volume has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Quantity>,
}

/// Whether and when a failed attempt is tried again. Each attempt has a fresh workspace and its own timeout, on any pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Attempts in all, the first one included. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::MAX_ATTEMPTS"))]
    pub max_attempts: Option<i32>,
    /// Wait before the second attempt, doubled before each further one, up to a minute: above `0s`, up to `24h`.
    /// Examples: `500ms`, `1m30s`. Default: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub backoff: Option<String>,
    /// Reasons of a failed attempt after which it is tried again, of Timeout, PrepareSource, EnvUnavailable, InputUnavailable,
    /// RuntimeExecute, RuntimeError, MemoryLimit, ProcessLimit, DiskLimit, ExecutionLost, PodGone, PodTerminating, PodUnhealthy,
    /// Fenced and ArtifactStoreFailed. Default: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 128)))]
    pub retryable_reasons: Vec<String>,
}

/// The state of a Run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// Waits for a pod.
    #[default]
    Pending,
    /// A pod is chosen.
    Scheduled,
    /// Executes.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Ended by its timeout.
    Timeout,
    /// Ended by its user.
    Cancelled,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Scheduled,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Timeout,
        Self::Cancelled,
    ];

    /// Whether the phase is the last one of a Run.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Scheduled | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Timeout | Self::Cancelled => true,
        }
    }

    /// The phase as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Scheduled => "Scheduled",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Timeout => "Timeout",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where a Run stands. Written by kruntimes alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Pending: waits for a pod. Scheduled: a pod is chosen. Running: executes. Succeeded, Failed, Timeout, Cancelled:
    /// ended, which never changes. A Run that ends within 50 ms may never show Running.
    #[serde(default)]
    pub phase: Phase,
    /// Pod that executes the Run; absent while it is Pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_pod: Option<String>,
    /// UID of the pod of the newest attempt.
    #[serde(default, rename = "assignedPodUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub assigned_pod_uid: Option<String>,
    /// Why the Run is in its phase, for people: what it waits for, or how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::MESSAGE_CHARS"))]
    pub message: Option<String>,
    /// Why the newest attempt ended, for programs: RunCompleted, RuntimeError, Timeout, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// Exit code of the command, 0 to 255, 128 + n for signal n; absent if nothing ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub exit_code: Option<i32>,
    /// Number of the newest attempt, from 1; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempt: Option<i32>,
    /// When the next attempt may start: a retry waits its backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// When the pod of the newest attempt received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the Run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When the newest attempt reached each stage, to the microsecond. `submitted` is of the client's clock, `seen` and
    /// `scheduled` of the scheduler's, the others of the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// The last 10 attempts that ended, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub attempts: Vec<AttemptRecord>,
    /// What the newest attempt that ended has given out, by name: lines `NAME=VALUE` that it wrote to the file
    /// `$KRUNTIME_OUTPUTS`, or what the handler of a Runtime of Python returned. A name has letters, digits, `_`, `-` and
    /// `.`, at most 128; a value at most 8,192 bytes; all together 65,536 bytes. An attempt that failed keeps its own too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// What the Run has left in `$KRUNTIME_ARTIFACTS_DIR`, kept by the artifact store of its Runtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ARTIFACTS_ITEMS"))]
    pub artifact_refs: Vec<ArtifactRef>,
    /// The artifact store as it was when the artifacts were kept: they are read and removed there, whatever becomes of the
    /// Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_store: Option<ArtifactStore>,
    /// Scheduled: a pod is chosen, or why not. Running: the attempt executes. Completed: true after success, false with the
    /// reason otherwise. Finished: true after any end, so that `kubectl wait --for=condition=Finished` always returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The microsecond time of each stage of the current attempt. `submitted` is the client's clock, `seen` and
/// `scheduled` the scheduler's, the others runtimed's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The client sent the Run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted: Option<MicroTime>,
    /// The scheduler saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<MicroTime>,
    /// The scheduler chose a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<MicroTime>,
    /// runtimed saw the assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<MicroTime>,
    /// The workspace is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<MicroTime>,
    /// The command started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<MicroTime>,
    /// The command and all its processes ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited: Option<MicroTime>,
    /// The result was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<MicroTime>,
}

/// One attempt that ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: i32,
    /// The pod it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When its pod received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<MicroTime>,
}

impl Run {
    /// The phase; a Run without a status is Pending.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map_or(Phase::Pending, |status| status.phase)
    }
}
