//! What people are told of a Run by Events, beside its status: retries, and ends that are no success.
//!
//! Invariant: nothing of a Run that succeeds at its first attempt, that its user cancelled, or that never started.

use super::phase::Writer;
use crate::artifact::others;
use k8s_openapi::api::core::v1::ObjectReference;
use kruntimes_api::{Phase, Reason, Run, RunStatus, events, limits};
use serde_json::json;

/// Whether something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is.
    Normal,
    /// A person may want to look.
    Warning,
}

impl Severity {
    /// The `type` of an Event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Of which Run.
    pub about: ObjectReference,
    /// Whether something is wrong.
    pub severity: Severity,
    /// For programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What is said of a change that was written: the Run before it and after it.
#[must_use]
pub fn of_change(writer: Writer, before: &Run, after: &Run) -> Option<Note> {
    let status = after.status.as_ref()?;
    let attempt = before.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
    let (severity, reason) = match (writer, status.phase) {
        (Writer::Controller, Phase::Pending) => (Severity::Warning, events::STALE_RUN_RETRYING),
        (Writer::Controller, Phase::Failed) => (Severity::Warning, events::STALE_RUN_FAILED),
        (Writer::Runtimed, Phase::Pending) if is_not_started(status) => return None,
        (Writer::Runtimed, Phase::Pending) => (Severity::Warning, events::RUN_FAILED_RETRYING),
        (Writer::Runtimed, Phase::Running) if attempt > 1 => {
            (Severity::Normal, events::RUN_RETRYING)
        }
        (Writer::Runtimed, Phase::Succeeded) if attempt > 1 => {
            (Severity::Normal, events::RUN_SUCCEEDED)
        }
        (Writer::Runtimed | Writer::Scheduler, Phase::Failed | Phase::Timeout) => {
            (Severity::Warning, events::RUN_RETRIES_EXHAUSTED)
        }
        (
            Writer::Controller | Writer::Runtimed | Writer::Scheduler,
            Phase::Pending
            | Phase::Scheduled
            | Phase::Running
            | Phase::Succeeded
            | Phase::Timeout
            | Phase::Cancelled,
        ) => return None,
    };
    Some(Note { about: reference(after), severity, reason, message: message(attempt, status) })
}

/// What is said of a deleted Run whose artifacts can't be removed: how to let it go without, and why it does not go.
#[must_use]
pub fn of_cleanup(run: &Run, why: &str) -> Note {
    let (namespace, name) = (run.metadata.namespace.as_deref(), run.metadata.name.as_deref());
    // An empty list is the same as none.
    let finalizers = json!(others(run));
    let patch = json!({"metadata": {"finalizers": finalizers}});
    let mut message = format!(
        "the Run is deleted when its artifacts are, which is tried again; if they can't be had any more, give them up with `kubectl patch run {} \
         -n {} --type=merge -p '{patch}'`. Why they stay: {why}",
        name.unwrap_or_default(),
        namespace.unwrap_or_default(),
    );
    message.truncate(message.floor_char_boundary(limits::MESSAGE_BYTES));
    let reason = events::ARTIFACT_CLEANUP_FAILED;
    Note { about: reference(run), severity: Severity::Warning, reason, message }
}

fn is_not_started(status: &RunStatus) -> bool {
    status.reason.as_deref() == Some(Reason::NotStarted.as_str())
}

fn message(attempt: i32, status: &RunStatus) -> String {
    let parts = [
        (attempt > 0).then(|| format!("attempt {attempt}")),
        status.reason.clone(),
        status.message.clone().filter(|message| !message.is_empty()),
    ];
    let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    text.truncate(text.floor_char_boundary(limits::MESSAGE_BYTES));
    text
}

fn reference(run: &Run) -> ObjectReference {
    ObjectReference {
        api_version: Some(kruntimes_api::API_VERSION.to_owned()),
        kind: Some("Run".to_owned()),
        namespace: run.metadata.namespace.clone(),
        name: run.metadata.name.clone(),
        uid: run.metadata.uid.clone(),
        resource_version: run.metadata.resource_version.clone(),
        field_path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::Writer::{Controller, Runtimed, Scheduler};
    use super::*;
    use kruntimes_api::labels::ARTIFACT_FINALIZER;
    use serde_json::{Value, json};

    fn run(status: &Value) -> Run {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"},
            "spec": {"runtime": "bash"}, "status": status,
        }))
        .unwrap()
    }

    fn said(writer: Writer, attempt: i32, phase: &str, reason: &str) -> Option<String> {
        let before = run(&json!({"phase": "Running", "attempt": attempt}));
        let after = run(&json!({
            "phase": phase, "attempt": attempt, "reason": reason, "message": "why",
        }));
        let note = of_change(writer, &before, &after)?;
        Some(format!("{} {}: {}", note.severity.as_str(), note.reason, note.message))
    }

    /// Writer, attempt, phase and reason that were written; what is said, if anything.
    const TABLE: [(Writer, i32, &str, &str, &str); 16] = [
        (Runtimed, 1, "Running", "", ""),
        (Runtimed, 2, "Running", "", "Normal RunRetrying: attempt 2: : why"),
        (Runtimed, 1, "Succeeded", "RunCompleted", ""),
        (
            Runtimed,
            2,
            "Succeeded",
            "RunCompleted",
            "Normal RunSucceeded: attempt 2: RunCompleted: why",
        ),
        (
            Runtimed,
            1,
            "Pending",
            "RuntimeError",
            "Warning RunFailedRetrying: attempt 1: RuntimeError: why",
        ),
        (Runtimed, 1, "Pending", "NotStarted", ""),
        (
            Runtimed,
            3,
            "Failed",
            "RuntimeError",
            "Warning RunRetriesExhausted: attempt 3: RuntimeError: why",
        ),
        (Runtimed, 1, "Timeout", "Timeout", "Warning RunRetriesExhausted: attempt 1: Timeout: why"),
        (Runtimed, 1, "Cancelled", "Cancelled", ""),
        (Controller, 1, "Pending", "PodGone", "Warning StaleRunRetrying: attempt 1: PodGone: why"),
        (
            Controller,
            2,
            "Failed",
            "PodUnhealthy",
            "Warning StaleRunFailed: attempt 2: PodUnhealthy: why",
        ),
        (Controller, 1, "Cancelled", "Cancelled", ""),
        (
            Scheduler,
            0,
            "Failed",
            "Unschedulable",
            "Warning RunRetriesExhausted: Unschedulable: why",
        ),
        (Scheduler, 0, "Cancelled", "Cancelled", ""),
        (Scheduler, 0, "Pending", "", ""),
        (Scheduler, 1, "Scheduled", "", ""),
    ];

    #[test]
    fn people_are_told_of_retries_and_of_ends_that_are_no_success() {
        for (writer, attempt, phase, reason, want) in TABLE {
            let told = said(writer, attempt, phase, reason).unwrap_or_default();
            assert_eq!(told, want, "{writer:?} {attempt} {phase} {reason}");
        }
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        let before = run(&json!({"phase": "Running", "attempt": 1}));
        let after = run(&json!({
            "phase": "Failed", "reason": "RuntimeError", "message": "é".repeat(2000),
        }));
        let note = of_change(Runtimed, &before, &after).unwrap();
        assert!((1023..=1024).contains(&note.message.len()), "{}", note.message.len());
        assert!(note.message.ends_with('é'));
        assert_eq!(note.about.uid.as_deref(), Some("u"));
    }

    #[test]
    fn a_run_whose_artifacts_stay_says_how_it_goes_without_them() {
        let mut run = run(&json!({"phase": "Succeeded"}));
        run.metadata.finalizers = Some(vec![ARTIFACT_FINALIZER.to_owned()]);
        let said = |run: &Run, why: &str| {
            let note = of_cleanup(run, why);
            (note.severity, note.reason, note.message)
        };
        let (severity, reason, message) = said(&run, "the bucket b does not answer");
        assert_eq!((severity, reason), (Severity::Warning, "ArtifactCleanupFailed"));
        let command =
            "`kubectl patch run a -n n --type=merge -p '{\"metadata\":{\"finalizers\":[]}}'`";
        assert!(message.contains(command), "{message}");
        assert!(message.ends_with("Why they stay: the bucket b does not answer"), "{message}");
        // What somebody else waits for stays.
        run.metadata.finalizers = Some(vec![ARTIFACT_FINALIZER.to_owned(), "x/y".to_owned()]);
        let message = said(&run, &"ü".repeat(limits::MESSAGE_BYTES)).2;
        assert!(message.contains("{\"finalizers\":[\"x/y\"]}"), "{message}");
        assert!((limits::MESSAGE_BYTES - 1..=limits::MESSAGE_BYTES).contains(&message.len()));
    }
}
