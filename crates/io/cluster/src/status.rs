//! The only writer of Run status: merge patches on the status subresource.
//!
//! What is written is built in `rules::run::patch`; here each change is checked against the table of
//! `rules::run::phase` and sent. A refused write says whether somebody else owns the Run now.

use jiff::Timestamp;
use kruntimes_api::{ArtifactStore, Phase, Reason, Run, Timeline};
use kruntimes_rules::run::outcome::Outcome;
use kruntimes_rules::run::patch::{self, Assignment, StatusPatch};
use kruntimes_rules::run::phase::{Writer, legal};
use kube::api::{Api, Patch, PatchParams};
use thiserror::Error;

/// Why a status was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The change is not one that this writer may make.
    #[error("a change from {from} to {to} is not {writer:?}'s to make")]
    Illegal {
        /// The phase that was last known.
        from: Phase,
        /// The phase that was to be written.
        to: Phase,
        /// Who wanted to.
        writer: Writer,
    },
    /// Somebody else changed the Run, or owns it now.
    #[error("the Run was changed by somebody else")]
    Stale(#[source] kube::Error),
    /// The Run does not exist any more.
    #[error("the Run is gone")]
    Gone(#[source] kube::Error),
    /// The API server could not be asked, or refused for another reason; to be tried again.
    #[error("the status could not be written")]
    Failed(#[source] kube::Error),
}

/// Sends one patch for `writer`. The answer is the Run as the API server has it now.
///
/// # Errors
/// See [`WriteError`].
pub async fn send(
    runs: &Api<Run>,
    run: &Run,
    writer: Writer,
    patch: &StatusPatch,
) -> Result<Run, WriteError> {
    let from = run.phase();
    if !legal(from, patch.phase, writer) {
        return Err(WriteError::Illegal { from, to: patch.phase, writer });
    }
    let name = run.metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(manager(writer)), ..PatchParams::default() };
    let sent = runs.patch_status(name, &parameters, &Patch::Merge(&patch.body)).await;
    sent.map_err(|error| classify(error, writer))
}

fn manager(writer: Writer) -> String {
    match writer {
        Writer::Scheduler => "kruntimes-scheduler",
        Writer::Runtimed => "kruntimes-runtimed",
        Writer::Controller => "kruntimes-controller",
    }
    .to_owned()
}

/// A runtimed's patch stands on no version: the API server answers 409 to it when too many others wrote meanwhile, which
/// says nothing of whose the Run is.
fn classify(error: kube::Error, writer: Writer) -> WriteError {
    let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
    match (code, writer) {
        (422, _) | (409, Writer::Scheduler | Writer::Controller) => WriteError::Stale(error),
        (404, _) => WriteError::Gone(error),
        _ => WriteError::Failed(error),
    }
}

/// Scheduler: Pending → Scheduled.
///
/// # Errors
/// See [`WriteError`].
pub async fn assign(
    runs: &Api<Run>,
    run: &Run,
    assignment: &Assignment<'_>,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Scheduler, &patch::assign(run, assignment, now)).await
}

/// Scheduler: the Run stays Pending and says why (`Scheduled=False/<reason>`).
///
/// # Errors
/// See [`WriteError`].
pub async fn waiting(
    runs: &Api<Run>,
    run: &Run,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Scheduler, &patch::waiting(run, reason, message, now)).await
}

/// Scheduler: Pending → Cancelled.
///
/// # Errors
/// See [`WriteError`].
pub async fn cancel_pending(runs: &Api<Run>, run: &Run, now: Timestamp) -> Result<Run, WriteError> {
    send(runs, run, Writer::Scheduler, &patch::cancel_pending(run, now)).await
}

/// Scheduler: Pending → Failed, no pod could ever take the Run.
///
/// # Errors
/// See [`WriteError`].
pub async fn fail_unschedulable(
    runs: &Api<Run>,
    run: &Run,
    message: &str,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Scheduler, &patch::fail_unschedulable(run, message, now)).await
}

/// Controller: the pod is lost. Cancelled, back to Pending or Failed, as the Run's spec and attempt say.
///
/// # Errors
/// See [`WriteError`].
pub async fn pod_lost(
    runs: &Api<Run>,
    run: &Run,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Controller, &patch::pod_lost(run, reason, message, now)).await
}

/// runtimed: Scheduled → Running.
///
/// # Errors
/// See [`WriteError`].
pub async fn running(
    runs: &Api<Run>,
    run: &Run,
    timeline: &Timeline,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Runtimed, &patch::running(run, timeline, now)).await
}

/// runtimed: Running, with the store that artifacts are about to be kept in.
///
/// # Errors
/// See [`WriteError`].
pub async fn keeping(
    runs: &Api<Run>,
    run: &Run,
    store: &ArtifactStore,
    timeline: &Timeline,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Runtimed, &patch::keeping(run, store, timeline, now)).await
}

/// runtimed: to the terminal phase of `outcome`.
///
/// # Errors
/// See [`WriteError`].
pub async fn finish(
    runs: &Api<Run>,
    run: &Run,
    outcome: &Outcome,
    timeline: &Timeline,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Runtimed, &patch::finish(run, outcome, timeline, now)).await
}

/// runtimed: back to Pending for the next attempt.
///
/// # Errors
/// See [`WriteError`].
pub async fn retry(
    runs: &Api<Run>,
    run: &Run,
    outcome: &Outcome,
    timeline: &Timeline,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Runtimed, &patch::retry(run, outcome, timeline, now)).await
}

/// runtimed: back to Pending, never started.
///
/// # Errors
/// See [`WriteError`].
pub async fn hand_back(
    runs: &Api<Run>,
    run: &Run,
    message: &str,
    now: Timestamp,
) -> Result<Run, WriteError> {
    send(runs, run, Writer::Runtimed, &patch::hand_back(run, message, now)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_conflict_tells_a_runtimed_nothing_of_whose_the_run_is() {
        let name = |code: u16, writer: Writer| {
            let status = Status { code, ..Status::default() };
            match classify(kube::Error::Api(Box::new(status)), writer) {
                WriteError::Stale(_) => "stale",
                WriteError::Gone(_) => "gone",
                WriteError::Failed(_) => "failed",
                WriteError::Illegal { .. } => "illegal",
            }
        };
        for (code, runtimed, others) in [
            (409, "failed", "stale"),
            (422, "stale", "stale"),
            (404, "gone", "gone"),
            (401, "failed", "failed"),
            (403, "failed", "failed"),
            (429, "failed", "failed"),
            (500, "failed", "failed"),
        ] {
            assert_eq!(name(code, Writer::Runtimed), runtimed, "{code}");
            assert_eq!(name(code, Writer::Scheduler), others, "{code}");
            assert_eq!(name(code, Writer::Controller), others, "{code}");
        }
    }
}
