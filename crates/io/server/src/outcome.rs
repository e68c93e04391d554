//! How an execution ended, in the words and numbers of the wire.
//!
//! A command ended by signal n has exit code 128 + n, as a shell reports it; -1 stands for a timeout or a lost process.

use std::io;

/// Exit code when no process told one.
const NONE: i32 = -1;

/// The end of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) exit_code: i32,
    pub(crate) signal: i32,
    /// Empty exactly when it succeeded.
    pub(crate) message: String,
}

/// Why the server ended an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its time was over.
    Timeout,
    /// Somebody called Cancel, or executes under the same id.
    Cancelled,
    /// runtimed's renewals stay away: another pod may execute the Run by then.
    NotRenewed,
    /// The server ends.
    ShuttingDown,
}

impl Outcome {
    /// A command that exited; with 0 it succeeded.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        match code {
            0 => Self { exit_code: 0, signal: 0, message: String::new() },
            code => Self::failed(code, format!("exit status {code}")),
        }
    }

    /// A command that a signal ended.
    #[must_use]
    pub fn signaled(signal: i32) -> Self {
        let message = format!("signal: {}", signal_name(signal));
        Self { exit_code: 128 + signal, signal, message }
    }

    /// What was killed for a reason in your words, which are not empty.
    #[must_use]
    pub fn killed(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::signaled(9) }
    }

    /// A failure in your words; the code is 0 where no command exited.
    #[must_use]
    pub fn failed(exit_code: i32, message: impl Into<String>) -> Self {
        let message = Some(message.into()).filter(|message| !message.is_empty());
        let message = message.unwrap_or_else(|| "failed".to_owned());
        Self { exit_code, signal: 0, message }
    }

    /// The end that the server asked for.
    #[must_use]
    pub fn ended(why: Why) -> Self {
        Self { exit_code: NONE, signal: 0, message: String::new() }.because(why)
    }

    /// What is lost had neither exit code nor signal.
    #[must_use]
    pub fn lost(how: &str) -> Self {
        Self::failed(NONE, format!("execution lost: {how}"))
    }

    /// The same end, told with the server's own deed.
    pub(crate) fn because(self, why: Why) -> Self {
        let message = match why {
            Why::Timeout => return Self { exit_code: NONE, message: "timeout".to_owned(), ..self },
            Why::Cancelled => "cancelled",
            Why::NotRenewed => "killed: not renewed in time",
            Why::ShuttingDown => "killed: the runtime server shuts down",
        };
        Self { message: message.to_owned(), ..self }
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.message.is_empty()
    }
}

/// The system's text without the number that Rust appends.
#[must_use]
pub fn describe(error: &io::Error) -> String {
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

    fn check(outcome: &Outcome, exit_code: i32, signal: i32, message: &str) {
        let expected = Outcome { exit_code, signal, message: message.to_owned() };
        assert_eq!(outcome, &expected);
        assert_eq!(outcome.succeeded(), message.is_empty());
    }

    #[test]
    fn every_end_has_its_code_and_words() {
        check(&Outcome::exited(0), 0, 0, "");
        check(&Outcome::exited(7), 7, 0, "exit status 7");
        check(&Outcome::signaled(9), 137, 9, "signal: killed");
        check(&Outcome::signaled(11), 139, 11, "signal: segmentation fault");
        check(&Outcome::signaled(40), 168, 40, "signal: signal 40");
        check(&Outcome::failed(3, ""), 3, 0, "failed");
        check(&Outcome::lost("gone"), -1, 0, "execution lost: gone");
        check(&Outcome::ended(Why::NotRenewed), -1, 0, "killed: not renewed in time");
    }

    #[test]
    fn the_servers_own_deed_stands_above_the_commands_end() {
        check(&Outcome::signaled(15).because(Why::Timeout), -1, 15, "timeout");
        check(&Outcome::exited(0).because(Why::Timeout), -1, 0, "timeout");
        check(&Outcome::signaled(15).because(Why::Cancelled), 143, 15, "cancelled");
    }
}
