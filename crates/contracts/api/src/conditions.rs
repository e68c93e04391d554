//! Condition types and their reasons.

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

/// Reason of `Scheduled=True`.
pub const ASSIGNED: &str = "Assigned";
/// Reason of `Running=True`.
pub const CLAIMED: &str = "Claimed";
/// Reason of `Running=True` of a later attempt.
pub const RETRYING: &str = "Retrying";
/// Reason of `Running=False` after success.
pub const RUNNING_COMPLETED: &str = "Completed";
/// Reason of `Completed=True` and `Finished=True` after success.
pub const RUN_COMPLETED: &str = "RunCompleted";
/// Reasons of `Scheduled=False`: the Run waits.
pub const RUNTIME_NOT_FOUND: &str = "RuntimeNotFound";
/// No pod of the Runtime is ready.
pub const NO_READY_PODS: &str = "NoReadyPods";
/// Every ready pod is full.
pub const NO_CAPACITY: &str = "NoCapacity";
/// A pod can't pull its image.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// A retry waits for its backoff.
pub const BACKOFF: &str = "Backoff";

/// Message of a Run that succeeded.
pub const MESSAGE_COMPLETED: &str = "execution completed";
/// Message of a Run that its user cancelled.
pub const MESSAGE_CANCELLED: &str = "cancelled by user";
