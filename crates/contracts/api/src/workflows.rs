//! Conditions of Workflows and their reasons.

use crate::explain::reasons;

/// Whether a Workflow can be understood.
pub const VALID: &str = "Valid";

reasons! {
    WORKFLOWS in Workflow:

    /// The Workflow can be understood.
    ACCEPTED = "WorkflowAccepted";
    "Every expression and every name of the Workflow has a meaning.";
    "Nothing.";

    /// The Workflow can't be understood.
    INVALID = "WorkflowValidationFailed";
    "An expression or a name of the Workflow has no meaning, its jobs need each other in a circle, or a value of an \
     input is not of its type. Nothing of it has run.";
    "Mend the fields that the message names, and create the Workflow again.";

    /// All jobs have ended well.
    JOBS_COMPLETED = "JobsCompleted";
    "Every job of the Workflow has succeeded, was skipped, or may fail.";
    "Nothing.";

    /// A job has failed.
    JOB_FAILED = "JobFailed";
    "One or more jobs of the Workflow have failed.";
    "`krt workflow get NAME` shows which step; `krt workflow logs NAME` what it said. `krt workflow rerun NAME --failed` \
     keeps what has succeeded.";

    /// Its user has cancelled it.
    CANCELLED = "WorkflowCancelled";
    "The Workflow was cancelled by its user, or by a newer Workflow of its concurrency group.";
    "Nothing; `krt workflow rerun NAME` runs it again.";

    /// It took too long.
    TIMED_OUT = "WorkflowTimeout";
    "The Workflow took longer than its `spec.timeoutSeconds`.";
    "Raise `spec.timeoutSeconds`, or look with `krt workflow get NAME` where the time went.";
}
