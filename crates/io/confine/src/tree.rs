//! Process trees as `/proc` shows them: find descendants, signal them, kill them.
//!
//! A scan is not atomic, so killing goes in rounds until a scan finds nobody. A process is signalled through a pidfd
//! after its start time was compared again: a reused pid is never hit.

use rustix::process::{Pid, PidfdFlags, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Duration;

/// Pause between two rounds of killing, for the kernel to take the killed down.
pub(crate) const ROUND: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    started: u64,
    dead: bool,
}

/// Kills `pid` and all its descendants, and returns when none of them runs any more.
///
/// A descendant that was orphaned before belongs to the nearest subreaper: `pid` should be one.
pub fn kill_tree(pid: u32) -> io::Result<()> {
    let Ok(root) = i32::try_from(pid) else { return Ok(()) };
    let Some(process) = read_process(root) else { return Ok(()) };
    // Stopped, it starts nobody, and it stays the parent of what its children orphan.
    signal(&process, Signal::STOP);
    while signal_descendants(root, &[Signal::KILL], &BTreeSet::new())?.live > 0 {
        pause();
    }
    signal(&process, Signal::KILL);
    while read_process(root).is_some_and(|p| p.started == process.started && !p.dead) {
        pause();
    }
    Ok(())
}

/// Kills and reaps all descendants of this process, which should be a subreaper. It must not own children that others
/// wait for.
pub fn kill_own_descendants() -> io::Result<()> {
    loop {
        signal_descendants(own_pid(), &[Signal::KILL], &BTreeSet::new())?;
        loop {
            match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return Ok(()),
            }
        }
        pause();
    }
}

/// How many descendants a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) live: usize,
    /// Those that are dead but not yet reaped included.
    pub(crate) all: usize,
}

/// Sends `signals` to each live descendant of `root`, except the trees below and at the pids in `spared`.
pub(crate) fn signal_descendants(
    root: i32,
    signals: &[Signal],
    spared: &BTreeSet<i32>,
) -> io::Result<Found> {
    let found = descendants(&all()?, root, spared);
    let live: Vec<_> = found.iter().filter(|process| !process.dead).collect();
    for process in &live {
        for one in signals {
            signal(process, *one);
        }
    }
    Ok(Found { live: live.len(), all: found.len() })
}

/// The live descendants of `root`.
pub(crate) fn descendant_pids(root: i32) -> Vec<i32> {
    let found = descendants(&all().unwrap_or_default(), root, &BTreeSet::new());
    found.iter().filter(|process| !process.dead).map(|process| process.pid).collect()
}

pub(crate) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

fn pause() {
    let time = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(ROUND.subsec_nanos()) };
    // An early end only makes the next round come sooner.
    let _ = rustix::thread::nanosleep(&time);
}

fn signal(process: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    if read_process(process.pid).is_some_and(|again| again.started == process.started) {
        // It may have ended meanwhile, which is what we want.
        let _ = rustix::process::pidfd_send_signal(&handle, signal);
    }
}

fn descendants(all: &[Process], root: i32, spared: &BTreeSet<i32>) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if !spared.contains(&child.pid) {
                next.push(child.pid);
                found.push(child);
            }
        }
    }
    found
}

fn all() -> io::Result<Vec<Process>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read_process)
        .collect())
}

fn read_process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/<pid>/stat`. The name in parentheses may hold anything, parentheses included.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the line, the 20th behind the name.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, started, dead: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid, parent, started: 1, dead: false }
    }

    #[test]
    fn a_name_cannot_forge_the_line() {
        let stat = b"7 (a) Z 1 (b)) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1";
        let expected = Process { pid: 7, parent: 3, started: 98_765, dead: false };
        assert_eq!(parse(7, stat), Some(expected));
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_the_spared_left_out() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 5)];
        let pids = |spared: &[i32]| -> BTreeSet<i32> {
            let spared = spared.iter().copied().collect();
            descendants(&all, 1, &spared).iter().map(|p| p.pid).collect()
        };
        assert_eq!(pids(&[]), BTreeSet::from([2, 3, 4, 5, 6]));
        assert_eq!(pids(&[2]), BTreeSet::from([5, 6]));
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let me = read_process(own_pid()).unwrap();
        assert!(!me.dead);
        assert_eq!(me.parent, i32::try_from(std::os::unix::process::parent_id()).unwrap());
    }
}
