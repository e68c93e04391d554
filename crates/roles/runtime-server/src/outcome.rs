//! How an execution ended, in the words and numbers of the wire.
//!
//! A command ended by signal n has exit code 128 + n, as a shell reports it; -1 stands for a timeout or a lost process.

use kruntimes_confine::{End, Stage};
use std::io;

/// Exit code of a command that was not found, as shells report it.
pub(crate) const NOT_FOUND: i32 = 127;
/// Exit code of a command that cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;
/// Exit code when no process told one.
const NONE: i32 = -1;

/// The end of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) exit_code: i32,
    pub(crate) signal: i32,
    /// Empty exactly when it succeeded.
    pub(crate) message: String,
}

/// Why the server ended an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Timeout,
    Cancelled,
    NotRenewed,
    ShuttingDown,
}

impl Outcome {
    pub(crate) fn failed(exit_code: i32, message: impl Into<String>) -> Self {
        Self { exit_code, signal: 0, message: message.into() }
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.message.is_empty()
    }
}

/// What the supervisor's word and the server's own deed amount to; `None` is a lost supervisor. `name` is the command's
/// as the user wrote it.
pub(crate) fn outcome(
    end: Option<End>,
    why: Option<Why>,
    name: &str,
    working_dir: &str,
) -> Outcome {
    let own = match end {
        Some(End::Exited(0)) => Outcome { exit_code: 0, signal: 0, message: String::new() },
        Some(End::Exited(code)) => Outcome::failed(code, format!("exit status {code}")),
        Some(End::Signaled(signal)) => Outcome {
            exit_code: 128 + signal,
            signal,
            message: format!("signal: {}", signal_name(signal)),
        },
        Some(End::NotStarted { stage, errno }) => not_started(stage, errno, name, working_dir),
        None => Outcome::failed(NONE, "execution lost: its supervisor was killed"),
    };
    match why {
        None => own,
        Some(Why::Timeout) => Outcome { exit_code: NONE, message: "timeout".to_owned(), ..own },
        Some(Why::Cancelled) => Outcome { message: "cancelled".to_owned(), ..own },
        Some(Why::NotRenewed) => {
            Outcome { message: "killed: not renewed in time".to_owned(), ..own }
        }
        Some(Why::ShuttingDown) => {
            Outcome { message: "killed: the runtime server shuts down".to_owned(), ..own }
        }
    }
}

fn not_started(stage: Stage, errno: i32, name: &str, working_dir: &str) -> Outcome {
    let error = io::Error::from_raw_os_error(errno);
    let reason = describe(&error);
    match (stage, error.kind()) {
        (Stage::Execute, io::ErrorKind::NotFound) => {
            Outcome::failed(NOT_FOUND, format!("exec: {name:?}: not found"))
        }
        (Stage::Execute, _) => Outcome::failed(NOT_EXECUTABLE, format!("exec: {name:?}: {reason}")),
        (Stage::WorkingDirectory, _) => {
            Outcome::failed(0, format!("chdir {working_dir}: {reason}"))
        }
        (Stage::Supervisor, _) => {
            Outcome::failed(0, format!("no process could be started: {reason}"))
        }
    }
}

/// The system's text without the number that Rust appends.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(end: Option<End>, why: Option<Why>, exit_code: i32, signal: i32, message: &str) {
        let expected = Outcome { exit_code, signal, message: message.to_owned() };
        assert_eq!(outcome(end, why, "x", "/w"), expected, "{end:?} {why:?}");
    }

    #[test]
    fn every_end_has_its_code_and_words() {
        let not_started = |stage, errno| Some(End::NotStarted { stage, errno });
        check(Some(End::Exited(0)), None, 0, 0, "");
        check(Some(End::Exited(7)), None, 7, 0, "exit status 7");
        check(Some(End::Signaled(9)), None, 137, 9, "signal: killed");
        check(Some(End::Signaled(11)), None, 139, 11, "signal: segmentation fault");
        check(Some(End::Signaled(40)), None, 168, 40, "signal: signal 40");
        check(Some(End::Signaled(15)), Some(Why::Timeout), -1, 15, "timeout");
        check(Some(End::Exited(0)), Some(Why::Timeout), -1, 0, "timeout");
        check(None, Some(Why::Timeout), -1, 0, "timeout");
        check(Some(End::Signaled(15)), Some(Why::Cancelled), 143, 15, "cancelled");
        check(None, None, -1, 0, "execution lost: its supervisor was killed");
        check(not_started(Stage::Execute, 2), None, 127, 0, "exec: \"x\": not found");
        check(not_started(Stage::Execute, 13), None, 126, 0, "exec: \"x\": permission denied");
        check(not_started(Stage::Execute, 7), None, 126, 0, "exec: \"x\": argument list too long");
        check(
            not_started(Stage::WorkingDirectory, 2),
            None,
            0,
            0,
            "chdir /w: no such file or directory",
        );
    }
}
