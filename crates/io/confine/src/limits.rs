//! Limits of a child process that its parent starts in the ordinary way.

use crate::sys;
use std::process::Command;

/// What a child process, and each process that it starts, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file that it writes, in bytes: at one more it is killed by `SIGXFSZ`.
    pub file_bytes: u64,
    /// Memory of its own, in bytes: at one more its allocations fail.
    pub memory_bytes: u64,
}

/// Has `command` start its process under `limits`, without core dumps, as the leader of a process group of its own.
pub fn limit(command: &mut Command, limits: Limits) {
    std::os::unix::process::CommandExt::process_group(command, 0);
    sys::limit_before_exec(command, limits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn shell(script: &str) -> ExitStatus {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        limit(&mut command, Limits { file_bytes: 1 << 20, memory_bytes: 32 << 20 });
        command.status().unwrap()
    }

    #[test]
    fn a_file_may_reach_its_limit_and_not_pass_it() {
        let path = std::env::temp_dir().join(format!("kruntimes-limits-{}", std::process::id()));
        let write = |bytes: u32| {
            shell(&format!("exec head -c {bytes} /dev/zero > {}", path.to_string_lossy()))
        };
        assert!(write(1 << 20).success());
        assert_eq!(write((1 << 20) + 1).signal(), Some(25));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        // `tail` keeps what it may still have to print.
        let keep = |mebibytes: u32| {
            shell(&format!("head -c {mebibytes}M /dev/zero | tail -c {mebibytes}M > /dev/null"))
        };
        assert!(keep(8).success());
        assert!(!keep(64).success());
    }

    #[test]
    fn it_leads_a_group_of_its_own() {
        assert!(shell("test \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$").success());
    }
}
