//! Looks at what the processes of one command use, and says when that is above a limit.
//!
//! Nothing tells a process of its descendants' use, so this looks: soon after the start, then ever more rarely while little
//! is used, and never for more than a twentieth of the time. It asks about the command's own processes only, whatever else
//! the machine runs.
//!
//! Invariant: every number is what the kernel says of processes and files as they are; names and contents are not read.

use crate::memory::{self, Held, Process};
use crate::namespaces;
use crate::sys;
use crate::usage;
use crate::wire::Excess;
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a command and all that it starts may use. Nothing of it is looked at that has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of memory that are its own: shared with nobody else, or its part of what is shared.
    pub memory: Option<u64>,
    /// How many processes it has at once.
    pub processes: Option<u64>,
    /// Bytes on disk below `places`, and in deleted files that it holds open.
    pub disk: Option<u64>,
    /// Where its files are.
    pub places: Vec<CString>,
}

/// After the start; and while a limit is near.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(400);
/// A look may take this part of the time; while there are more processes than ever before, that one.
const PART_OF_TIME: u32 = 20;
const PART_WHILE_GROWING: u32 = 4;
/// However long a look takes, the next one comes after this.
const LONGEST_AFTER_LONG: Duration = Duration::from_secs(2);
/// How long a command may be at what keeps a look from counting: descriptors on their way, programs that nobody may read.
const UNCOUNTED: Duration = Duration::from_secs(5);
/// While there are ever more processes the other looks wait, but not for longer.
const OTHERS_WAIT: Duration = Duration::from_millis(250);
/// A command with more processes yields to others: one that forks without end must not keep them from starting.
const CROWD: usize = 8;

/// What a command has in namespaces of its own.
#[derive(Debug)]
pub(crate) struct Own {
    /// The first process, which is none of the command's.
    pub(crate) init: Pid,
    /// The file system of its own memory.
    pub(crate) memory: Option<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct Watchdog {
    allowance: Allowance,
    own: Option<Own>,
    places: Vec<PathBuf>,
    processes: Rhythm,
    memory: Rhythm,
    disk: Rhythm,
    /// The most processes that were seen at once.
    most: usize,
    /// Since when each look saw many more than ever before. Memory and files wait for a moment then: those looks are long on
    /// a machine that is busy, and meanwhile there are ever more.
    growing: Option<Instant>,
    /// Since when no look could count all.
    uncounted: Option<Instant>,
}

/// When to look next.
#[derive(Debug)]
struct Rhythm {
    next: Instant,
    pause: Duration,
}

/// How near a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Low,
    High,
    /// There is more than ever before, which can't be so for long.
    Growing,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        Self { next: now + SHORTEST, pause: SHORTEST }
    }

    fn looked(&mut self, began: Instant, now: Instant, used: Use) {
        self.pause = match used {
            Use::High | Use::Growing => SHORTEST,
            Use::Low => (self.pause * 2).min(LONGEST),
        };
        let part = match used {
            Use::Low | Use::High => PART_OF_TIME,
            Use::Growing => PART_WHILE_GROWING,
        };
        let cost = now.saturating_duration_since(began);
        self.next = now + self.pause.max((cost * part).min(LONGEST_AFTER_LONG));
    }
}

impl Watchdog {
    /// Nothing where there is no limit.
    pub(crate) fn new(allowance: Allowance, own: Option<Own>, now: Instant) -> Option<Self> {
        let Allowance { memory, processes, disk, places } = &allowance;
        if memory.is_none() && processes.is_none() && disk.is_none() {
            return None;
        }
        let places = places
            .iter()
            .map(|place| PathBuf::from(OsString::from_vec(place.as_bytes().to_vec())))
            .collect();
        let rhythm = || Rhythm::new(now);
        let (processes, memory, disk) = (rhythm(), rhythm(), rhythm());
        Some(Self {
            places,
            allowance,
            own,
            processes,
            memory,
            disk,
            most: 0,
            growing: None,
            uncounted: None,
        })
    }

    /// When it wants to look next.
    pub(crate) fn next(&self) -> Instant {
        let Allowance { memory, processes, disk, .. } = &self.allowance;
        let looks = [
            memory.or(*processes).map(|_| self.processes.next),
            memory.filter(|_| !self.others_wait()).map(|_| self.memory.next),
            disk.filter(|_| !self.others_wait()).map(|_| self.disk.next),
        ];
        looks.into_iter().flatten().min().unwrap_or(self.processes.next)
    }

    /// Looks, if it is time to: at how many there are first, which takes least and is most urgent.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Excess> {
        let of_processes = self.allowance.memory.is_some() || self.allowance.processes.is_some();
        if of_processes && self.processes.next <= now {
            let (excess, used) = self.look_at_processes();
            self.processes.looked(now, Instant::now(), used);
            self.growing = self.growing.filter(|_| used == Use::Growing);
            if used == Use::Growing {
                self.growing.get_or_insert(now);
            }
            if excess.is_some() {
                return excess;
            }
        }
        if self.allowance.memory.is_some() && !self.others_wait() && self.memory.next <= now {
            let began = Instant::now();
            let (excess, used) = self.look_at_memory(began);
            self.memory.looked(began, Instant::now(), used);
            if excess.is_some() {
                return excess;
            }
        }
        if self.allowance.disk.is_some() && !self.others_wait() && self.disk.next <= now {
            let began = Instant::now();
            let excess = self.look_at_disk(Instant::now());
            let used = if excess.is_some() { Use::High } else { Use::Low };
            self.disk.looked(began, Instant::now(), used);
            return excess;
        }
        None
    }

    fn others_wait(&self) -> bool {
        self.growing.is_some_and(|since| self.processes.next < since + OTHERS_WAIT)
    }

    /// What is on disk at the end: a short command may have filled it between two looks.
    pub(crate) fn last_look(&mut self) -> Option<Excess> {
        self.allowance.disk.and_then(|_| self.look_at_disk(Instant::now()))
    }

    fn look_at_processes(&mut self) -> (Option<Excess>, Use) {
        let pids = self.tree(self.allowance.processes);
        let count = pids.len();
        if count > CROWD {
            yield_to_others(&pids);
        }
        let excess = self.allowance.processes.filter(|limit| count as u64 > *limit);
        let excess = excess.map(|_| Excess::Processes(count as u64));
        let is_near = self.allowance.processes.is_some_and(|limit| count as u64 > limit / 2);
        let used = if count > CROWD && count > self.most + self.most / 8 {
            Use::Growing
        } else if is_near {
            Use::High
        } else {
            Use::Low
        };
        self.most = self.most.max(count);
        (excess, used)
    }

    fn look_at_memory(&mut self, now: Instant) -> (Option<Excess>, Use) {
        let Some(limit) = self.allowance.memory else { return (None, Use::Low) };
        let processes = memory::processes(&self.tree(None));
        let (files, excess) = self.files(&processes, now);
        let held = self.own.as_ref().map_or_else(Held::default, Own::held);
        let at_most = memory::at_most(&processes, &files, held);
        let is_near = at_most > limit / 2 || !files.is_whole;
        let used = if is_near { Use::High } else { Use::Low };
        // What forks share, and what they have mapped of files, is in this sum more than once.
        if at_most > limit {
            let exact = memory::exactly(&processes, &files, held);
            return ((exact > limit).then_some(Excess::Memory(exact)).or(excess), used);
        }
        (excess, used)
    }

    fn look_at_disk(&mut self, now: Instant) -> Option<Excess> {
        let limit = self.allowance.disk?;
        let below: u64 = self.places.iter().map(|place| usage::disk(place)).sum();
        let (files, excess) = self.files(&memory::processes(&self.tree(None)), now);
        let used = below.saturating_add(files.deleted);
        (used > limit).then_some(Excess::Disk(used)).or(excess)
    }

    /// The open files, and what it means that not all could be counted for so long.
    fn files(&mut self, processes: &[Process], now: Instant) -> (memory::Files, Option<Excess>) {
        let device = self.own.as_ref().and_then(|own| own.held().device);
        let files = memory::files(processes, device);
        let since = *self.uncounted.get_or_insert(now);
        if files.is_whole {
            self.uncounted = None;
        }
        let is_hiding = !files.is_whole && now.saturating_duration_since(since) >= UNCOUNTED;
        (files, is_hiding.then_some(Excess::Uncounted))
    }

    /// The command's processes.
    fn tree(&self, enough: Option<u64>) -> Vec<i32> {
        usage::own_tree(enough, self.own.as_ref().map(|own| own.init.as_raw_pid()))
    }
}

/// Has these yield to others. Where each session has its share of the processors (autogroups, `man 7 sched`), what a process
/// is counts in its own session alone: so each session yields, too.
fn yield_to_others(pids: &[i32]) {
    let mut sessions = BTreeSet::new();
    for pid in pids {
        sys::yield_to_others(*pid);
        let session = Pid::from_raw(*pid).and_then(|pid| rustix::process::getsid(Some(pid)).ok());
        if session.is_some_and(|session| sessions.insert(session.as_raw_pid())) {
            // A kernel without autogroups has no such file; who is not root may write one in 100 ms.
            let _ =
                std::fs::write(format!("/proc/{pid}/autogroup"), sys::YIELDING_NICE.to_string());
        }
    }
}

impl Own {
    fn held(&self) -> Held {
        let stat = self.memory.as_ref().and_then(|memory| rustix::fs::fstat(memory).ok());
        let bytes = namespaces::memory_bytes(self.memory.as_ref());
        Held { bytes, device: stat.map(|it| it.st_dev), has_ipc: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nothing_is_looked_at() {
        let now = Instant::now();
        let places = vec![c"/".to_owned()];
        assert!(Watchdog::new(Allowance { places, ..Allowance::default() }, None, now).is_none());
    }

    #[test]
    fn looks_become_rarer_while_little_is_used_and_take_a_part_of_the_time() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let mut pauses = Vec::new();
        for used in [Use::Low, Use::Low, Use::Low, Use::Low, Use::Low, Use::High] {
            let now = rhythm.next;
            rhythm.looked(now, now, used);
            pauses.push((rhythm.next - now).as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 10]);
        let now = rhythm.next;
        rhythm.looked(now, now + Duration::from_millis(100), Use::High);
        assert_eq!(rhythm.next - now, Duration::from_millis(2100));
        let now = rhythm.next;
        rhythm.looked(now, now + Duration::from_millis(10), Use::Growing);
        assert_eq!(rhythm.next - now, Duration::from_millis(50));
        let now = rhythm.next;
        rhythm.looked(now, now + Duration::from_secs(1), Use::High);
        assert_eq!(
            rhythm.next - now,
            Duration::from_secs(3),
            "one that takes long waits for no more"
        );
    }
}
