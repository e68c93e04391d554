//! Reasons of the Events about a Run.

/// An attempt failed, and another one follows.
pub const RUN_FAILED_RETRYING: &str = "RunFailedRetrying";
/// An attempt that is not the first has begun.
pub const RUN_RETRYING: &str = "RunRetrying";
/// The Run succeeded, and not at its first attempt.
pub const RUN_SUCCEEDED: &str = "RunSucceeded";
/// The Run ended without success and without being cancelled.
pub const RUN_RETRIES_EXHAUSTED: &str = "RunRetriesExhausted";
/// The pod was lost, and the Run goes on elsewhere.
pub const STALE_RUN_RETRYING: &str = "StaleRunRetrying";
/// The pod was lost, and the Run failed with it.
pub const STALE_RUN_FAILED: &str = "StaleRunFailed";
