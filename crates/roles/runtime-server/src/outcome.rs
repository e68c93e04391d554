//! What the supervisor says of a command's end, in the words and numbers of the wire.

use kruntimes_confine::{Allowance, End, Excess, Stage};
use kruntimes_runtime_server::{Outcome, describe};
use std::io;

/// Exit code of a command that was not found, as shells report it.
pub(crate) const NOT_FOUND: i32 = 127;
/// Exit code of a command that cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;

/// What the supervisor's word amounts to; `None` is a lost supervisor. `name` is the command's as the user wrote it.
pub(crate) fn outcome(
    end: Option<End>,
    name: &str,
    working_dir: &str,
    allowance: &Allowance,
) -> Outcome {
    match end {
        Some(End::Exceeded(excess)) => Outcome::killed(exceeded(excess, allowance)),
        Some(End::Exited(code)) => Outcome::exited(code),
        Some(End::Signaled(signal)) => Outcome::signaled(signal),
        Some(End::NotStarted { stage, errno }) => not_started(stage, errno, name, working_dir),
        None => Outcome::lost("its supervisor was killed"),
    }
}

/// The beginnings are runtimed's to know.
fn exceeded(excess: Excess, allowance: &Allowance) -> String {
    let limit = |limit: Option<u64>| limit.unwrap_or(0);
    match excess {
        Excess::Memory(used) => {
            let (used, limit) = (size(used), size(limit(allowance.memory)));
            format!("memory limit: {used} were used, {limit} are allowed")
        }
        Excess::Processes(used) => {
            let limit = limit(allowance.processes);
            format!("process limit: there were at least {used}, {limit} are allowed")
        }
        Excess::Disk(used) => {
            let (used, limit) = (size(used), size(limit(allowance.disk)));
            format!("disk limit: {used} were used, {limit} are allowed")
        }
        Excess::Uncounted => {
            let which = if allowance.memory.is_some() { "memory" } else { "disk" };
            format!(
                "{which} limit: what was used could not be counted: for 5 s descriptors lay in a socket, a program was run that its user may \
                 not read, or there were more than 262144 descriptors"
            )
        }
    }
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes >> 10),
        MIB.. => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
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
        (Stage::Namespaces, _) => {
            Outcome::failed(0, format!("the Run's namespaces could not be made: {reason}"))
        }
        (Stage::Supervisor, _) => {
            Outcome::failed(0, format!("no process could be started: {reason}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_code_and_words() {
        let check = |end, expected: Outcome| {
            let allowance =
                Allowance { memory: Some(1 << 20), processes: Some(7), ..Allowance::default() };
            assert_eq!(outcome(end, "x", "/w", &allowance), expected, "{end:?}");
        };
        let not_started = |stage, errno| Some(End::NotStarted { stage, errno });
        check(Some(End::Exited(0)), Outcome::exited(0));
        check(Some(End::Exited(7)), Outcome::exited(7));
        check(Some(End::Signaled(9)), Outcome::signaled(9));
        let exceeded = |excess| Some(End::Exceeded(excess));
        let memory = "memory limit: 1.5 MiB were used, 1.0 MiB are allowed";
        check(exceeded(Excess::Memory(3 << 19)), Outcome::killed(memory));
        let processes = "process limit: there were at least 8, 7 are allowed";
        check(exceeded(Excess::Processes(8)), Outcome::killed(processes));
        let disk = "disk limit: 4 KiB were used, 0 KiB are allowed";
        check(exceeded(Excess::Disk(4096)), Outcome::killed(disk));
        let hidden =
            outcome(Some(End::Exceeded(Excess::Uncounted)), "x", "/w", &Allowance::default());
        let begins = |outcome: &Outcome, with: &str| format!("{outcome:?}").contains(with);
        assert!(
            begins(&hidden, "\"disk limit: what was used could not be counted: "),
            "{hidden:?}"
        );
        let memory = Allowance { memory: Some(1), ..Allowance::default() };
        let hidden = outcome(Some(End::Exceeded(Excess::Uncounted)), "x", "/w", &memory);
        assert!(
            begins(&hidden, "\"memory limit: what was used could not be counted: "),
            "{hidden:?}"
        );
        check(None, Outcome::lost("its supervisor was killed"));
        let failed = Outcome::failed;
        check(not_started(Stage::Execute, 2), failed(127, "exec: \"x\": not found"));
        check(not_started(Stage::Execute, 13), failed(126, "exec: \"x\": permission denied"));
        check(not_started(Stage::Execute, 7), failed(126, "exec: \"x\": argument list too long"));
        let full = "the Run's namespaces could not be made: no space left on device";
        check(not_started(Stage::Namespaces, 28), failed(0, full));
        let missing = "chdir /w: no such file or directory";
        check(not_started(Stage::WorkingDirectory, 2), failed(0, missing));
    }
}
