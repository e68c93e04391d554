//! What the board decides, and what it reads of a Run for it.

use super::{PodRef, Waiting};
use crate::mutant::{self, Mutant};
use crate::run::retry;
use jiff::Timestamp;
use kruntimes_api::{Reason, Run, RunStatus};
use std::sync::Arc;
use std::time::Duration;

/// What the scheduler must write.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Bind the Run to the pod. Answer with [`Board::assigned`] or [`Board::not_assigned`].
    Assign {
        /// The Run as last seen.
        run: Arc<Run>,
        /// The pod.
        pod: PodRef,
        /// Number of the attempt.
        attempt: i32,
        /// When the scheduler saw the Run pending.
        seen: Timestamp,
    },
    /// End a pending Run that its user cancelled.
    Cancel {
        /// The Run as last seen.
        run: Arc<Run>,
    },
    /// End a pending Run that no pod could ever take.
    Refuse {
        /// The Run as last seen.
        run: Arc<Run>,
        /// Why: field, value and limit.
        message: String,
    },
    /// Say why the Run waits.
    Wait {
        /// The Run as last seen.
        run: Arc<Run>,
        /// Why.
        waiting: Waiting,
    },
}

fn status(run: &Run) -> Option<&RunStatus> {
    run.status.as_ref()
}

pub(super) fn attempt_of(run: &Run) -> i32 {
    status(run).and_then(|status| status.attempt).unwrap_or(0)
}

fn is_not_started(run: &Run) -> bool {
    status(run).and_then(|status| status.reason.as_deref()) == Some(Reason::NotStarted.as_str())
}

pub(super) fn is_cancelled(run: &Run) -> bool {
    run.spec.cancel_requested.unwrap_or(false)
}

pub(super) fn next_attempt(run: &Run) -> i32 {
    retry::next_attempt(status(run))
}

/// Whether a pending Run is an older state than its placement as attempt `placed`.
pub(super) fn is_before(run: &Run, placed: i32) -> bool {
    attempt_of(run) < placed
}

pub(super) fn backoff(run: &Run) -> Option<Duration> {
    let next = next_attempt(run);
    (next > 1 && !is_not_started(run) && !mutant::is(Mutant::BackoffIgnored))
        .then(|| retry::delay_before(run.spec.retry_policy.as_ref(), next))
}

pub(super) fn pod_of(run: &Run) -> Option<PodRef> {
    let status = status(run)?;
    Some(PodRef { name: status.assigned_pod.clone()?, uid: status.assigned_pod_uid.clone()? })
}
