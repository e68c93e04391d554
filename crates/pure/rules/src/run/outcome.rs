//! How an attempt ended: phase, reason, message and exit code from what a Runtime Server reports.
//!
//! Everything a server says is untrusted: exit codes are clamped, messages are cut.

use super::event::Collected;
use super::outputs::Outputs;
use super::retry::format_duration;
use kruntimes_api::{ArtifactRef, Phase, Reason, conditions, limits};
use std::time::Duration;

/// What a Runtime Server says of an execution that it killed because `Renew` stayed away.
pub const NOT_RENEWED: &str = "killed: not renewed in time";

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A terminal phase.
    pub phase: Phase,
    /// Why.
    pub reason: Reason,
    /// Why, for people: at most [`limits::MESSAGE_BYTES`].
    pub message: String,
    /// 0 to 255; absent if nothing ran.
    pub exit_code: Option<i32>,
    /// What the attempt gave out.
    pub outputs: Outputs,
    /// What is kept of its files.
    pub artifacts: Vec<ArtifactRef>,
}

/// What a Runtime Server reports about an execution that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// As reported.
    pub exit_code: i32,
    /// Number of the signal that ended it, 0 when it exited.
    pub signal: i32,
    /// Empty on success.
    pub error_message: String,
    /// The end of its stderr.
    pub stderr_tail: String,
}

impl Outcome {
    /// Ended with exit code 0.
    #[must_use]
    pub fn succeeded() -> Self {
        Self {
            phase: Phase::Succeeded,
            reason: Reason::RunCompleted,
            message: conditions::MESSAGE_COMPLETED.to_owned(),
            exit_code: Some(0),
            outputs: Outputs::new(),
            artifacts: Vec::new(),
        }
    }

    /// Failed with a reason of the system or of the command.
    #[must_use]
    pub fn failed(reason: Reason, message: &str) -> Self {
        let (phase, message) = (phase_of(reason), bounded(message));
        let (outputs, artifacts) = (Outputs::new(), Vec::new());
        Self { phase, reason, message, exit_code: None, outputs, artifacts }
    }

    /// The end with what the attempt left behind. What can't be kept fails a success; another failure it only adds to.
    #[must_use]
    pub fn with(mut self, collected: Collected) -> Self {
        let Collected { outputs, refused, artifacts: _ } = collected;
        if let Some((reason, why)) = refused {
            self = if self.phase == Phase::Succeeded {
                self.spoiled(reason, &why)
            } else {
                let message = bounded(&format!("{}; {reason}: {why}", self.message));
                Self { message, ..self }
            };
        }
        Self { outputs, ..self }
    }

    /// A success whose artifacts are kept, or are not.
    #[must_use]
    pub fn keeping(self, kept: Result<Vec<ArtifactRef>, (Reason, String)>) -> Self {
        match kept {
            Ok(artifacts) => Self { artifacts, ..self },
            Err((reason, why)) => self.spoiled(reason, &why),
        }
    }

    /// The command has succeeded, the attempt has not.
    fn spoiled(self, reason: Reason, why: &str) -> Self {
        Self { exit_code: self.exit_code, outputs: self.outputs, ..Self::failed(reason, why) }
    }

    /// Ran longer than its timeout.
    #[must_use]
    pub fn timeout(timeout: Duration) -> Self {
        Self::failed(Reason::Timeout, &format!("timeout after {}", format_duration(timeout)))
    }

    /// Cancelled by its user.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::failed(Reason::Cancelled, conditions::MESSAGE_CANCELLED)
    }

    /// Killed because the pod could not renew its Lease.
    #[must_use]
    pub fn fenced() -> Self {
        Self::failed(
            Reason::Fenced,
            "the pod could not renew its Lease in time: the attempt was killed",
        )
    }

    /// The end that a Runtime Server reports. `timeout` is the Run's, for the message of a server that timed out first.
    #[must_use]
    pub fn from_exit(exit: &Exit, timeout: Option<Duration>) -> Self {
        let ran_well = exit.exit_code == 0 && exit.signal == 0 && exit.error_message.is_empty();
        if ran_well {
            return Self::succeeded();
        }
        if exit.error_message == "timeout" && exit.exit_code <= 0 {
            let mut outcome = timeout
                .map_or_else(|| Self::failed(Reason::Timeout, &exit.error_message), Self::timeout);
            outcome.exit_code = visible_exit_code(exit);
            return outcome;
        }
        if exit.error_message == NOT_RENEWED {
            return Self { exit_code: visible_exit_code(exit), ..Self::fenced() };
        }
        let mut outcome = Self::failed(failure_reason(&exit.error_message), &failure_message(exit));
        outcome.exit_code = visible_exit_code(exit);
        outcome
    }
}

/// The terminal phase that goes with a reason.
#[must_use]
pub const fn phase_of(reason: Reason) -> Phase {
    match reason {
        Reason::RunCompleted => Phase::Succeeded,
        Reason::Timeout => Phase::Timeout,
        Reason::Cancelled => Phase::Cancelled,
        Reason::PrepareSource
        | Reason::EnvNotAllowed
        | Reason::EnvUnavailable
        | Reason::InputUnavailable
        | Reason::InputInvalid
        | Reason::WorkspaceLost
        | Reason::RuntimeExecute
        | Reason::RuntimeError
        | Reason::ExecutionLost
        | Reason::PodGone
        | Reason::PodTerminating
        | Reason::PodUnhealthy
        | Reason::Fenced
        | Reason::NotStarted
        | Reason::Unschedulable
        | Reason::MemoryLimit
        | Reason::ProcessLimit
        | Reason::DiskLimit
        | Reason::OutputsInvalid
        | Reason::OutputsTooLarge
        | Reason::ArtifactInvalid
        | Reason::ArtifactStoreFailed => Phase::Failed,
    }
}

/// 0 to 255; 128 + n for signal n; absent when nothing ran or the server names none.
fn visible_exit_code(exit: &Exit) -> Option<i32> {
    if exit.signal > 0 {
        return Some(128_i32.saturating_add(exit.signal).min(255));
    }
    (1..=255).contains(&exit.exit_code).then_some(exit.exit_code)
}

/// How the messages of our Runtime Servers begin for a Run that was killed for what it used.
pub const EXCESSES: [(&str, Reason); 3] = [
    ("memory limit: ", Reason::MemoryLimit),
    ("process limit: ", Reason::ProcessLimit),
    ("disk limit: ", Reason::DiskLimit),
];

fn failure_reason(message: &str) -> Reason {
    if let Some((_, reason)) = EXCESSES.iter().find(|(start, _)| message.starts_with(start)) {
        return *reason;
    }
    let of_source = ["mkdir:", "git clone:", "git checkout:", "write inline:"];
    if message == "no args or script provided" || of_source.iter().any(|p| message.starts_with(p)) {
        Reason::PrepareSource
    } else {
        Reason::RuntimeError
    }
}

fn failure_message(exit: &Exit) -> String {
    if !exit.error_message.is_empty() {
        return exit.error_message.clone();
    }
    let tail = exit.stderr_tail.trim();
    if !tail.is_empty() {
        let prefix = "runtime stderr: ";
        let room = limits::MESSAGE_BYTES - prefix.len() - "... ".len();
        let start = tail.len().saturating_sub(room);
        let start = (start..=tail.len()).find(|&at| tail.is_char_boundary(at)).unwrap_or(0);
        let cut = if start == 0 { "" } else { "... " };
        return format!("{prefix}{cut}{}", &tail[start..]);
    }
    match (exit.signal, exit.exit_code) {
        (1.., _) => format!("signal {}", exit.signal),
        (_, 1..=255) => format!("exit status {}", exit.exit_code),
        _ => "runtime execution failed".to_owned(),
    }
}

/// At most [`limits::MESSAGE_BYTES`] bytes: the head, with `...` where it was cut.
#[must_use]
pub fn bounded(message: &str) -> String {
    if message.len() <= limits::MESSAGE_BYTES {
        return message.to_owned();
    }
    let room = limits::MESSAGE_BYTES - "...".len();
    let end = (0..=room).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(exit_code: i32, signal: i32, error: &str, stderr: &str) -> Exit {
        Exit { exit_code, signal, error_message: error.to_owned(), stderr_tail: stderr.to_owned() }
    }

    #[test]
    fn reports_become_phase_reason_message_and_exit_code() {
        use Reason::{PrepareSource, RunCompleted, RuntimeError, Timeout};
        let cases = [
            (exit(0, 0, "", "noise"), RunCompleted, "execution completed", Some(0)),
            (exit(3, 0, "exit status 3", "x"), RuntimeError, "exit status 3", Some(3)),
            (exit(3, 0, "", ""), RuntimeError, "exit status 3", Some(3)),
            (exit(3, 0, "", " oh no \n"), RuntimeError, "runtime stderr: oh no", Some(3)),
            (exit(-1, 9, "signal: killed", ""), RuntimeError, "signal: killed", Some(137)),
            (exit(-1, 0, "signal: killed", ""), RuntimeError, "signal: killed", None),
            (exit(0, 0, "no such file", ""), RuntimeError, "no such file", None),
            (exit(-1, 0, "", ""), RuntimeError, "runtime execution failed", None),
            (exit(0, 15, "", ""), RuntimeError, "signal 15", Some(143)),
            (exit(i32::MIN, i32::MAX, "", ""), RuntimeError, "signal 2147483647", Some(255)),
            (exit(4096, 0, "odd", ""), RuntimeError, "odd", None),
            (exit(-1, 0, "timeout", ""), Timeout, "timeout after 2s", None),
            (exit(0, 0, "timeout", ""), Timeout, "timeout after 2s", None),
            (
                exit(137, 9, "memory limit: 2 MiB", ""),
                Reason::MemoryLimit,
                "memory limit: 2 MiB",
                Some(137),
            ),
            (
                exit(137, 9, "process limit: 9", ""),
                Reason::ProcessLimit,
                "process limit: 9",
                Some(137),
            ),
            (
                exit(137, 9, "disk limit: 2 MiB", ""),
                Reason::DiskLimit,
                "disk limit: 2 MiB",
                Some(137),
            ),
            (exit(7, 0, "timeout", ""), RuntimeError, "timeout", Some(7)),
            (exit(0, 0, "mkdir: no", ""), PrepareSource, "mkdir: no", None),
            (
                exit(0, 0, "no args or script provided", ""),
                PrepareSource,
                "no args or script provided",
                None,
            ),
        ];
        for (exit, reason, message, exit_code) in cases {
            let outcome = Outcome::from_exit(&exit, Some(Duration::from_secs(2)));
            let want = Outcome { exit_code, ..Outcome::failed(reason, message) };
            assert_eq!(outcome, want, "{exit:?}");
        }
        let fenced = Outcome::from_exit(&exit(-1, 15, NOT_RENEWED, ""), None);
        assert_eq!(fenced, Outcome { exit_code: Some(143), ..Outcome::fenced() });
    }

    #[test]
    fn what_cannot_be_kept_fails_a_success_and_adds_to_a_failure() {
        let outputs = Outputs::from([("a".to_owned(), "1".to_owned())]);
        let kept = Collected { outputs: outputs.clone(), ..Collected::default() };
        let refused = Collected {
            refused: Some((Reason::OutputsInvalid, "line 2".to_owned())),
            ..Collected::default()
        };
        let failed = Outcome {
            exit_code: Some(3),
            ..Outcome::failed(Reason::RuntimeError, "exit status 3")
        };
        for outcome in [Outcome::succeeded(), failed.clone(), Outcome::cancelled()] {
            let want = Outcome { outputs: outputs.clone(), ..outcome.clone() };
            assert_eq!(outcome.with(kept.clone()), want);
        }
        let want =
            Outcome { exit_code: Some(0), ..Outcome::failed(Reason::OutputsInvalid, "line 2") };
        assert_eq!(Outcome::succeeded().with(refused.clone()), want);
        let message = "exit status 3; OutputsInvalid: line 2".to_owned();
        assert_eq!(failed.clone().with(refused), Outcome { message, ..failed });
    }

    #[test]
    fn a_message_is_cut_at_a_character_and_says_so() {
        let long = "é".repeat(600);
        let cut = bounded(&long);
        assert!(cut.len() <= limits::MESSAGE_BYTES && cut.ends_with("é..."), "{}", cut.len());
        assert_eq!(bounded("short"), "short");
        let ascii = "x".repeat(2 * limits::MESSAGE_BYTES);
        for whole in [bounded(&ascii), failure_message(&exit(1, 0, "", &ascii))] {
            assert_eq!(whole.len(), limits::MESSAGE_BYTES, "all the room is used");
        }
        let tail = failure_message(&exit(1, 0, "", &format!("{long}end")));
        assert!(tail.len() <= limits::MESSAGE_BYTES && tail.ends_with("end"), "{}", tail.len());
        assert!(tail.starts_with("runtime stderr: ... é"), "{tail}");
    }
}
