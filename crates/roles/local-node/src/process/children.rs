//! The children of this process: which of them are containers, and an end for those that containers leave behind.
//!
//! Invariant: a container's process is waited for by its owner alone; only orphans are reaped here.

use super::tree::{self, Entry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgrp, getpid, kill_process, pidfd_open,
    waitid,
};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Rounds of one sweep: each kills a generation that the last one uncovered.
const SWEEP_ROUNDS: usize = 64;
/// How long a killed orphan may take to end.
const REAP_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// The container processes. Children belong to the process, so that there is one list for all of it.
static CONTAINERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn containers() -> MutexGuard<'static, BTreeSet<i32>> {
    CONTAINERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the orphans of containers become children of this process.
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
}

/// Starts a container's process. The lock keeps a sweep from seeing it before it is listed.
pub(super) fn spawn(command: &mut Command) -> std::io::Result<(Child, Pid)> {
    let mut containers = containers();
    let child = command.spawn()?;
    let raw = child.id().and_then(|id| i32::try_from(id).ok());
    let Some(pid) = raw.and_then(Pid::from_raw) else {
        return Err(std::io::Error::other("the process ended before it had an id"));
    };
    containers.insert(pid.as_raw_pid());
    Ok((child, pid))
}

/// Says that a container's process was waited for.
pub(super) fn forget(pid: Pid) {
    containers().remove(&pid.as_raw_pid());
}

/// Kills a process and its descendants.
pub(super) fn kill_tree(pid: Pid) {
    let table = tree::read();
    let mut pids = vec![pid.as_raw_pid()];
    pids.extend(tree::descendants(&table, &pids));
    kill_all(&pids);
}

/// Kills and reaps all that containers left behind.
pub(crate) async fn sweep() {
    for _ in 0..SWEEP_ROUNDS {
        let orphans = kill_orphans();
        if orphans.is_empty() {
            return;
        }
        for pid in orphans {
            reap(pid).await;
        }
    }
    tracing::warn!("processes that containers left behind are still there");
}

/// Sweeps whenever a child ended: an orphan that ended by itself is reaped too.
pub(crate) async fn reap_on_signal() {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::warn!(%error, "the end of orphans can't be watched");
            return std::future::pending().await;
        }
    };
    while ended.recv().await.is_some() {
        sweep().await;
    }
}

fn kill_orphans() -> Vec<Pid> {
    let containers = containers();
    let table = tree::read();
    let pid = getpid().as_raw_pid();
    let me = Entry { pid, parent: 0, group: getpgrp().as_raw_pid() };
    let orphans = tree::orphans(&table, me, &containers);
    kill_all(&tree::descendants(&table, &orphans));
    kill_all(&orphans);
    orphans.into_iter().filter_map(Pid::from_raw).collect()
}

fn kill_all(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // One that is gone needs no signal.
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Waits for the end of a killed orphan, on a thread where waiting is allowed, and takes its exit status.
async fn reap(pid: Pid) {
    let wait = move || {
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // Whatever does not end in time is met again by the next sweep.
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&REAP_WAIT))?;
        waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(wait).await {
        tracing::debug!(pid = pid.as_raw_pid(), %error, "orphan was gone before it was reaped");
    }
}
