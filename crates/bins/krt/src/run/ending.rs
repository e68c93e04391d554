//! How a Run ended: the exit code of krt and the line that says why.

use crate::duration;
use crate::failure::SYSTEM;
use kruntimes_api::{Phase, RunStatus};
use std::time::Duration;

/// Exit code of a Run that its timeout ended.
pub(crate) const TIMEOUT: u8 = 124;
/// Exit code of a Run that was cancelled.
pub(crate) const CANCELLED: u8 = 130;

/// The exit code for a terminal status.
pub(crate) fn exit_code(status: &RunStatus) -> u8 {
    let own = status.exit_code.and_then(|code| u8::try_from(code).ok());
    match status.phase {
        Phase::Succeeded => own.unwrap_or(0),
        Phase::Timeout => TIMEOUT,
        Phase::Cancelled => CANCELLED,
        Phase::Failed | Phase::Pending | Phase::Scheduled | Phase::Running => {
            own.filter(|code| *code != 0).unwrap_or(SYSTEM)
        }
    }
}

/// The line for a Run that did not succeed.
pub(crate) fn line(name: &str, status: &RunStatus) -> Option<String> {
    if status.phase == Phase::Succeeded {
        return None;
    }
    let mut line = format!("{name} {}", status.phase);
    if let Some(reason) = &status.reason {
        line = format!("{line} ({reason})");
    }
    if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
        let first = message.lines().next().unwrap_or_default();
        line = format!("{line}: {first}");
    }
    // The message of a timeout holds the time.
    if let Some(took) = took(status).filter(|_| status.phase != Phase::Timeout) {
        line = format!("{line} after {}", duration::show(took));
    }
    Some(line)
}

/// How long the last attempt executed, where it did.
fn took(status: &RunStatus) -> Option<Duration> {
    let timeline = status.timeline.as_ref()?;
    let started = timeline.started.as_ref()?.0;
    let exited = timeline.exited.as_ref().or(timeline.finished.as_ref())?.0;
    Duration::try_from(exited.duration_since(started)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(value: serde_json::Value) -> RunStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn exit_codes() {
        for (value, code) in [
            (json!({"phase": "Succeeded", "exitCode": 0}), 0),
            (json!({"phase": "Failed", "exitCode": 7}), 7),
            (json!({"phase": "Failed", "exitCode": 137}), 137),
            (json!({"phase": "Failed", "exitCode": 0, "reason": "OutputsInvalid"}), 125),
            (json!({"phase": "Failed", "reason": "PrepareSource"}), 125),
            (json!({"phase": "Timeout", "exitCode": 143}), 124),
            (json!({"phase": "Cancelled"}), 130),
        ] {
            assert_eq!(exit_code(&status(value.clone())), code, "{value}");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        let failed = status(json!({
            "phase": "Failed", "reason": "RuntimeError", "message": "exit status 3", "exitCode": 3,
            "timeline": {"started": "2026-01-01T00:00:00.000000Z", "exited": "2026-01-01T00:00:00.012000Z"},
        }));
        assert_eq!(
            line("run-7f3k2", &failed).unwrap(),
            "run-7f3k2 Failed (RuntimeError): exit status 3 after 12 ms"
        );
        let cancelled = status(
            json!({"phase": "Cancelled", "reason": "Cancelled", "message": "cancelled by user"}),
        );
        assert_eq!(line("a", &cancelled).unwrap(), "a Cancelled (Cancelled): cancelled by user");
        assert_eq!(line("a", &status(json!({"phase": "Succeeded"}))), None);
    }
}
