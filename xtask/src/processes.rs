//! What the processes of a local home hold: memory, descriptors, threads.

use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;

/// One process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: u32,
    /// The command and its first words.
    pub(crate) role: String,
    /// Its share of the memory that it maps.
    pub(crate) pss_kib: f64,
    /// The part of it that is pages of files: the system's cache, which comes and goes with what else the machine does.
    pub(crate) file_kib: f64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Threads.
    pub(crate) threads: usize,
    /// Processor time of it and of its children that have ended, in ticks of 10 ms (proc(5), USER_HZ).
    pub(crate) ticks: u64,
}

/// The home and all that descends from it, those that end meanwhile left out.
pub(crate) fn of_home(home: u32) -> anyhow::Result<Vec<Process>> {
    Ok(std::iter::once(home).chain(descendants(home)?).filter_map(read).collect())
}

/// As SIGKILL from outside. One that has ended meanwhile is left alone.
pub(crate) fn kill(pid: u32) -> anyhow::Result<()> {
    let mut kill = std::process::Command::new("kill");
    kill.args(["-KILL", &pid.to_string()]).stderr(std::process::Stdio::null()).status()?;
    Ok(())
}

fn read(pid: u32) -> Option<Process> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |field: &str| -> Option<f64> {
        let value = rollup.lines().find_map(|line| line.strip_prefix(field))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let words: Vec<_> = words.skip(1).take(2).collect();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Process {
        pid,
        role: format!("{} ({})", name.trim(), words.join(" ")),
        pss_kib: kib("Pss:")?,
        file_kib: kib("Pss_File:")?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
        threads: fs::read_dir(format!("/proc/{pid}/task")).ok()?.count(),
        ticks: ticks(pid)?,
    })
}

/// utime, stime, cutime and cstime.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit(')').next()?.split_whitespace();
    Some(fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut found = vec![root];
    let mut index = 0;
    while index < found.len() {
        let parent = found[index];
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        index += 1;
    }
    found.remove(0);
    Ok(found)
}
