//! The processes of containers: started in a group of their own, waited for, killed with all that they left.
//!
//! Invariants: every process of a pod is a descendant of this process, which is a child subreaper; one that outlives
//! its container lands here and is killed; children that other parts of this process started are never touched.

mod children;
mod tree;

pub(crate) use children::{adopt_orphans, reap_on_signal, sweep};

use rustix::process::{Pid, Signal};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
}

/// A started container process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    /// Its end tells the process that the home is gone.
    lifeline: Option<ChildStdin>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// The code as Kubernetes shows it.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// The signal, if one ended the process.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
        }
    }

    fn from_status(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(Signal::KILL.as_raw())),
        }
    }
}

/// Starts a process; the pipe carries its stdout and stderr.
pub(crate) fn start(launch: &Launch) -> std::io::Result<(Process, pipe::Receiver)> {
    let (reader, writer) = std::io::pipe()?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .kill_on_drop(true);
    let (mut child, pid) = children::spawn(&mut command)?;
    let lifeline = child.stdin.take();
    Ok((Process { child, pid, lifeline }, output))
}

impl Process {
    /// The process's id, for signals while it is not waited for.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the end of the process, then kills what it left behind.
    pub(crate) async fn wait(mut self) -> Exit {
        // The lifeline must outlive the wait, which would close stdin that it still held.
        let lifeline = self.lifeline.take();
        let exit = match self.child.wait().await {
            Ok(status) => Exit::from_status(status),
            Err(error) => {
                tracing::warn!(%error, "wait for a container failed");
                Exit::Signal(Signal::KILL.as_raw())
            }
        };
        drop(lifeline);
        children::forget(self.pid);
        sweep().await;
        exit
    }
}

/// Asks a container's process to end.
pub(crate) fn terminate(pid: Pid) {
    // A process that is gone has ended, which is what was asked for.
    rustix::process::kill_process(pid, Signal::TERM).ok();
}

/// Asks a role of krt to end at once.
pub(crate) fn interrupt(pid: Pid) {
    rustix::process::kill_process(pid, Signal::INT).ok();
}

/// Kills a container's process and all its descendants; orphans among these are found by [`sweep`].
pub(crate) fn kill_tree(pid: Pid) {
    children::kill_tree(pid);
}
