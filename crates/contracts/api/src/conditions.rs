//! Condition types and their reasons.

use crate::Reason;
use crate::explain::reasons;

/// A pod was chosen.
pub const SCHEDULED: &str = "Scheduled";
/// The attempt executes.
pub const RUNNING: &str = "Running";
/// True when the Run succeeded, false with the reason otherwise.
pub const COMPLETED: &str = "Completed";
/// True on every terminal phase, with the reason.
pub const FINISHED: &str = "Finished";
/// Pod condition that runtimed keeps.
pub const RUNTIMED_READY: &str = "kruntimes.io/RuntimedReady";

/// How its message begins when the Runtime Server itself says why it takes no Runs.
pub const SERVER_SAYS: &str = "the Runtime Server is not healthy: ";

/// Reason of `Completed=True` and `Finished=True` after success.
pub const RUN_COMPLETED: &str = Reason::RunCompleted.as_str();

reasons! {
    WAITS in RunWaits:

    /// No Runtime has the name that the Run asks for.
    RUNTIME_NOT_FOUND = "RuntimeNotFound";
    "The namespace of the Run has no Runtime with the name in `spec.runtime`.";
    "Create the Runtime and the Run starts by itself, or cancel the Run and name one of `krt runtime list`. A Run \
     never uses a Runtime of another namespace.";

    /// No pod of the Runtime is ready.
    NO_READY_PODS = "NoReadyPods";
    "The Runtime exists, but none of its pods is ready: they start, fail to start, or their Runtime Server does not \
     answer.";
    "Wait if they were just created; else `kubectl describe pods -l runtime=NAME` says what keeps them. The Run \
     starts by itself as soon as one is ready.";

    /// Every ready pod is full.
    NO_CAPACITY = "NoCapacity";
    "Every ready pod of the Runtime is full: what its Runs ask for leaves no room for this one.";
    "Nothing, if waiting is fine: the Run starts when another one ends. To shorten the queue raise `spec.replicas` or \
     `spec.capacity.resources` of the Runtime.";

    /// No Run holds the workspace of the group, or another one works in it.
    WORKSPACE_NOT_FREE = "WorkspaceNotFree";
    "The Run shares a workspace (`spec.workspaceGroup`), and no Run with `holdsWorkspace: true` holds it and is Running, or another \
     Run of the group works in it.";
    "Nothing, if the holder is on its way (`kubectl get runs`) or the other Run ends. Else create a Run of the same Runtime and group with \
     `holdsWorkspace: true`; the Run starts by itself as soon as that one is Running.";

    /// A pod can't pull its image.
    IMAGE_PULL_FAILED = "ImagePullFailed";
    "No pod of the Runtime is ready, and at least one can't get the image of a container.";
    "Mend the image in the Runtime's `spec.template` (or `spec.daemonImage`) or the access to its registry; \
     `kubectl describe pods -l runtime=NAME` holds the exact error. The local home starts no images: see \
     ImageNotServedLocally.";

    /// A retry waits for its backoff.
    BACKOFF = "Backoff";
    "An attempt has failed and the next one waits for `spec.retryPolicy.backoff`, doubled for each further attempt, \
     at most one minute.";
    "Nothing: `status.nextAttemptTime` says when it starts, `status.attempts` how the last ones ended. `krt cancel` \
     ends the waiting.";
}

reasons! {
    MOVES in RunMoves:

    /// Reason of `Scheduled=True`.
    ASSIGNED = "Assigned";
    "The scheduler gave the Run a slot on the pod in `status.assignedPod`.";
    "Nothing: the pod takes it next.";

    /// Reason of `Running=True`.
    CLAIMED = "Claimed";
    "The pod executes the first attempt.";
    "Nothing. `krt logs -f NAME` shows its output as it comes.";

    /// Reason of `Running=True` of a later attempt.
    RETRYING = "Retrying";
    "The pod executes an attempt after one that failed or was lost.";
    "Nothing. `status.attempts` says how the earlier ones ended.";

    /// Reason of `Running=False` after success, and of a container that exited with 0.
    RUNNING_COMPLETED = "Completed";
    "The Run no longer runs because it has succeeded; of a container: its process has exited with 0.";
    "Nothing for a Run. A container of a Runtime is started again; if that repeats, its server must not exit.";

    /// Event: an attempt failed, and another one follows.
    RUN_FAILED_RETRYING = "RunFailedRetrying";
    "An Event: an attempt has failed, and another one follows.";
    "Nothing: the Run waits for its backoff. `status.attempts` says how each attempt ended.";

    /// Event: an attempt that is not the first has begun.
    RUN_RETRYING = "RunRetrying";
    "An Event: an attempt that is not the first has begun.";
    "Nothing. `krt logs -f NAME` shows its output as it comes.";

    /// Event: the Run succeeded, and not at its first attempt.
    RUN_SUCCEEDED = "RunSucceeded";
    "An Event: the Run has succeeded, and not at its first attempt.";
    "Nothing. `status.attempts` says why the earlier attempts did not.";

    /// Event: the Run ended without success and without being cancelled.
    RUN_RETRIES_EXHAUSTED = "RunRetriesExhausted";
    "An Event: the Run has ended without success, and no attempt is left.";
    "Read `status.reason` and look that one up here; `spec.retryPolicy` allows more attempts.";

    /// Event: the pod was lost, and the Run goes on elsewhere.
    STALE_RUN_RETRYING = "StaleRunRetrying";
    "An Event: the Run's pod was lost, and the Run goes on elsewhere.";
    "Nothing for the Run. See what became of the pod and its machine.";

    /// Event: the pod was lost, and the Run failed with it.
    STALE_RUN_FAILED = "StaleRunFailed";
    "An Event: the Run's pod was lost, and the Run has failed with it.";
    "`spec.retryPolicy` would move the Run to another pod. See what became of the pod and its machine.";

    /// Event: a deleted Run stays, for its artifacts can't be removed.
    ARTIFACT_CLEANUP_FAILED = "ArtifactCleanupFailed";
    "An Event: a deleted Run stays, for its artifacts can't be removed from their store; it is tried again, each minute at last.";
    "Mend the store as the message says: the Run goes by itself. If the store is gone for good, give the artifacts up with the command in the message, which takes the Run's finalizer away.";
}

/// Message of a Run that succeeded.
pub const MESSAGE_COMPLETED: &str = "execution completed";
/// Message of a Run that its user cancelled.
pub const MESSAGE_CANCELLED: &str = "cancelled by user";
