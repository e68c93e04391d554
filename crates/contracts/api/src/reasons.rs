//! Why a Run is where it is: `status.reason` and the reasons of its conditions.

use crate::explain::{Explanation, Place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closed list of reasons of a Run that ended or was handed back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// The Run succeeded.
    RunCompleted,
    /// The attempt ran longer than `spec.timeoutSeconds`.
    Timeout,
    /// The source could not be prepared.
    PrepareSource,
    /// A variable of `spec.env` names a Secret or ConfigMap that the Runtime does not allow. Never tried again.
    EnvNotAllowed,
    /// A variable of `spec.env` has no value: its Secret, ConfigMap or key is missing, or holds what no variable can.
    EnvUnavailable,
    /// An artifact of `spec.inputs` can't be had.
    InputUnavailable,
    /// An artifact of `spec.inputs` can't be put into the workspace. Never tried again.
    InputInvalid,
    /// The workspace that the Run shares is not where the Run is. Never tried again.
    WorkspaceLost,
    /// The Runtime Server refused to execute.
    RuntimeExecute,
    /// The command failed.
    RuntimeError,
    /// The Runtime Server no longer knows the execution.
    ExecutionLost,
    /// The user cancelled the Run.
    Cancelled,
    /// The pod is gone.
    PodGone,
    /// The pod is being deleted.
    PodTerminating,
    /// The pod does not answer.
    PodUnhealthy,
    /// The pod was cut off from the API server, and killed the attempt so that another one may start.
    Fenced,
    /// The attempt was handed back before it could start; it does not count.
    NotStarted,
    /// No pod of the Runtime could ever take the Run.
    Unschedulable,
    /// The Run used more memory than it may.
    MemoryLimit,
    /// The Run had more processes than it may.
    ProcessLimit,
    /// The Run used more disk than it may.
    DiskLimit,
    /// The outputs file is not as it must be.
    OutputsInvalid,
    /// The outputs are above their limits.
    OutputsTooLarge,
    /// An artifact is not as it must be.
    ArtifactInvalid,
    /// The artifact store could not keep the artifacts.
    ArtifactStoreFailed,
}

impl Reason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 25] = [
        Self::RunCompleted,
        Self::Timeout,
        Self::PrepareSource,
        Self::EnvNotAllowed,
        Self::EnvUnavailable,
        Self::InputUnavailable,
        Self::InputInvalid,
        Self::WorkspaceLost,
        Self::RuntimeExecute,
        Self::RuntimeError,
        Self::ExecutionLost,
        Self::Cancelled,
        Self::PodGone,
        Self::PodTerminating,
        Self::PodUnhealthy,
        Self::Fenced,
        Self::NotStarted,
        Self::Unschedulable,
        Self::MemoryLimit,
        Self::ProcessLimit,
        Self::DiskLimit,
        Self::OutputsInvalid,
        Self::OutputsTooLarge,
        Self::ArtifactInvalid,
        Self::ArtifactStoreFailed,
    ];

    /// The reason as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunCompleted => "RunCompleted",
            Self::Timeout => "Timeout",
            Self::PrepareSource => "PrepareSource",
            Self::EnvNotAllowed => "EnvNotAllowed",
            Self::EnvUnavailable => "EnvUnavailable",
            Self::InputUnavailable => "InputUnavailable",
            Self::InputInvalid => "InputInvalid",
            Self::WorkspaceLost => "WorkspaceLost",
            Self::RuntimeExecute => "RuntimeExecute",
            Self::RuntimeError => "RuntimeError",
            Self::ExecutionLost => "ExecutionLost",
            Self::Cancelled => "Cancelled",
            Self::PodGone => "PodGone",
            Self::PodTerminating => "PodTerminating",
            Self::PodUnhealthy => "PodUnhealthy",
            Self::Fenced => "Fenced",
            Self::NotStarted => "NotStarted",
            Self::Unschedulable => "Unschedulable",
            Self::MemoryLimit => "MemoryLimit",
            Self::ProcessLimit => "ProcessLimit",
            Self::DiskLimit => "DiskLimit",
            Self::OutputsInvalid => "OutputsInvalid",
            Self::OutputsTooLarge => "OutputsTooLarge",
            Self::ArtifactInvalid => "ArtifactInvalid",
            Self::ArtifactStoreFailed => "ArtifactStoreFailed",
        }
    }

    /// What happened and what to do.
    #[must_use]
    pub const fn explain(self) -> Explanation {
        let (happened, remedy) = self.texts();
        Explanation { reason: self.as_str(), place: Place::RunEnds, happened, remedy }
    }

    #[expect(clippy::too_many_lines, reason = "a table: one entry a reason")]
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::RunCompleted => (
                "The command has exited with 0, and all that it left behind was taken.",
                "Nothing. `krt logs NAME` shows what it printed.",
            ),
            Self::Timeout => (
                "The attempt ran longer than `spec.timeoutSeconds`; all its processes were killed.",
                "Make the work shorter or the timeout longer (`krt run --timeout 10m`). `krt logs NAME` shows how far \
                 it came.",
            ),
            Self::PrepareSource => (
                "The workspace could not be prepared, so that nothing was executed; the message names the part of \
                 the spec and what is wrong with it.",
                "Mend that part of the Run and create it anew: a Run's spec can't be changed.",
            ),
            Self::EnvNotAllowed => (
                "A variable in `spec.env` takes its value from a Secret or ConfigMap that the Runtime does not allow its \
                 Runs, so that nothing was executed; the message names both. It is never tried again.",
                "Add the name to `spec.allowedSecrets` or `spec.allowedConfigMaps` of the Runtime, wait until its pods \
                 are replaced (`kubectl rollout status deployment/runtime-NAME`), and create the Run anew.",
            ),
            Self::EnvUnavailable => (
                "A variable in `spec.env` has no value, so that nothing was executed: its Secret, ConfigMap or key does \
                 not exist, is too long, or is no text. The message names it, never its content.",
                "Create or mend what the message names and create the Run anew, or set `optional: true` to go without \
                 the variable. `spec.retryPolicy` reads it again for each attempt.",
            ),
            Self::InputUnavailable => (
                "An artifact in `spec.inputs` can't be had, so that nothing was executed: its Run does not exist, has not \
                 ended or has no such artifact, its store is not that of the Runtime, or the store does not give it out \
                 whole. The message says which.",
                "`krt artifact list RUN` shows what a Run has left. Wait for the end of the earlier Run before you create \
                 the next one, or let `spec.retryPolicy` look again.",
            ),
            Self::InputInvalid => (
                "An artifact in `spec.inputs` can't be put into the workspace, so that nothing was executed: something is \
                 at its path already, a link leads there, or it holds what no artifact holds. The message says which. It is \
                 never tried again.",
                "Name another `path` for it, or make the artifact anew, and create the Run again.",
            ),
            Self::WorkspaceLost => (
                "The Run works in the workspace of `spec.workspaceGroup`, and the Run that holds it has ended on this pod \
                 meanwhile: nothing was executed, for an empty directory must not stand in for that one. It is never tried again.",
                "`kubectl get run HOLDER` says why that one has ended. Begin the whole of it again: the `retryPolicy` of a Workflow's \
                 job does that by itself.",
            ),
            Self::RuntimeExecute => (
                "The Runtime Server of the pod refused to execute the Run, or did not answer in time.",
                "If the message names a part of the spec, mend it. Else look at the pod (`kubectl logs POD -c \
                 runtime`); `spec.retryPolicy` tries again by itself.",
            ),
            Self::RuntimeError => (
                "The command has failed: it exited with another code than 0 (`status.exitCode`), or a signal has \
                 ended it (128 + its number).",
                "`krt logs NAME` shows what it printed. `spec.retryPolicy` tries again where failing is normal.",
            ),
            Self::ExecutionLost => (
                "The Runtime Server no longer knows the execution: it was restarted while the Run ran.",
                "Create the Run again if its work may be done twice, or let `spec.retryPolicy` do so. If it repeats, \
                 see why the container `runtime` restarts (`kubectl describe pod POD`).",
            ),
            Self::Cancelled => (
                "A user has cancelled the Run (`krt cancel`, Ctrl-C in `krt run`, or `spec.cancelRequested`); all \
                 its processes were killed.",
                "Nothing. Create it again to have it done after all.",
            ),
            Self::PodGone => (
                "The pod that had the Run was deleted, replaced or has ended; the message names it.",
                "Create the Run again if its work may be done twice, or let `spec.retryPolicy` move it to another pod.",
            ),
            Self::PodTerminating => (
                "The pod was told to end before the Run was done.",
                "Create the Run again if its work may be done twice, or let `spec.retryPolicy` move it to another pod.",
            ),
            Self::PodUnhealthy => (
                "The pod has not answered for so long that the Run was taken from it.",
                "See what became of the pod and its machine (`kubectl describe pod POD`); `spec.retryPolicy` moves \
                 the Run to another pod.",
            ),
            Self::Fenced => (
                "The pod could not reach the API server for `--fence-after-seconds`, or its Lease was broken meanwhile; it \
                 killed the attempt so that no second one can run beside it.",
                "Create the Run again if its work may be done twice, or let `spec.retryPolicy` do so. If it repeats, see \
                 what cuts the pod off (`kubectl logs POD -c runtimed`).",
            ),
            Self::NotStarted => (
                "The pod gave the Run back before it had started anything; the attempt does not count.",
                "Nothing: the Run waits for another slot by itself.",
            ),
            Self::Unschedulable => (
                "No pod of the Runtime could ever hold the Run: it asks for more than a whole pod offers; the \
                 message names the resource and the limit.",
                "Ask for less in `spec.resources.requests`, or raise `spec.capacity.resources` of the Runtime.",
            ),
            Self::MemoryLimit => (
                "The processes of the Run used more memory than it may, and were killed; the message says how much, and \
                 the limit.",
                "Use less, or raise `spec.resources.limits.memory` of the Run or `spec.runLimits.memory` of its Runtime.",
            ),
            Self::ProcessLimit => (
                "The Run had more processes at once than it may, and they were killed; the message says how many, and \
                 the limit.",
                "Start fewer at once, or raise `spec.resources.limits.processes` of the Run or \
                 `spec.runLimits.processes` of its Runtime.",
            ),
            Self::DiskLimit => (
                "The Run used more disk in its workspace and `$TMPDIR` than it may, and was killed; the message says how \
                 much, and the limit.",
                "Write less there, or raise `spec.resources.limits.disk` of the Run or `spec.runLimits.disk` of its \
                 Runtime.",
            ),
            Self::OutputsInvalid => (
                "The file at `$KRUNTIME_OUTPUTS` is not what it must be: a regular file with lines NAME=VALUE; the \
                 message names the line.",
                "Mend what the command writes there.",
            ),
            Self::OutputsTooLarge => (
                "The file at `$KRUNTIME_OUTPUTS` holds more than its limits allow; the message names the limit.",
                "Write less there, and large results as files into `$KRUNTIME_ARTIFACTS_DIR`.",
            ),
            Self::ArtifactInvalid => (
                "An entry of `$KRUNTIME_ARTIFACTS_DIR` can't be kept: its name, kind or size is not allowed; the \
                 message names it.",
                "Mend what the command leaves there.",
            ),
            Self::ArtifactStoreFailed => (
                "The command has succeeded, but the artifact store of the Runtime did not keep what it left in \
                 `$KRUNTIME_ARTIFACTS_DIR`; the message says why. Nothing of it is kept.",
                "Mend the store (its disk may be full) and create the Run again; `spec.retryPolicy` does so by itself.",
            ),
        }
    }

    /// The reason with this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_reads_back_as_it_is_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
