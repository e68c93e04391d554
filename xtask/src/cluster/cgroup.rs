//! The cgroup that all pods of the cluster are in: what runs there is the cluster's, whoever its parent is by now.

use super::place::CGROUP;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";
/// Killed processes leave their cgroup when the kernel has torn them down.
const GRACE: Duration = Duration::from_secs(20);

/// Makes it in every hierarchy: a kubelet refuses a root that does not exist.
pub(super) fn create() -> anyhow::Result<()> {
    for directory in hierarchies()? {
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
    }
    Ok(())
}

/// Kills all that is in it, and removes it.
pub(super) fn remove() -> anyhow::Result<()> {
    let directories: Vec<PathBuf> =
        hierarchies()?.into_iter().filter(|directory| directory.exists()).collect();
    let started = Instant::now();
    for directory in &directories {
        loop {
            let processes = processes(directory);
            if processes.is_empty() {
                break;
            }
            if started.elapsed() > GRACE {
                bail!("{} processes in {} can't be killed", processes.len(), directory.display());
            }
            for process in processes {
                // It may have ended meanwhile.
                let _gone = kill_process(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for directory in &directories {
        for folder in folders(directory) {
            fs::remove_dir(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    Ok(())
}

/// One directory with the second version of cgroups, one a controller with the first.
fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.join(CGROUP)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("read {ROOT}"))? {
        let entry = entry?;
        // Links name two controllers of one hierarchy.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path().join(CGROUP));
        }
    }
    Ok(found)
}

/// It and all below, the deepest first.
fn folders(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut index = 0;
    while let Some(folder) = found.get(index).cloned() {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        index += 1;
    }
    found.reverse();
    found
}

fn processes(directory: &Path) -> Vec<Pid> {
    folders(directory)
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}
