//! `krt local reset`: deletes what a local home has kept, and nothing else.

use super::{data_dir, detach, disk, janitor};
use crate::failure::{Failure, without_number};
use crate::progress::Progress;
use kruntimes_api::names;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What a home makes in its directory, but for the lock, which goes last.
const OURS: [&str; 8] = [
    "objects.redb",
    "pods",
    names::LOCAL_VOLUMES,
    "tls",
    "kubeconfig",
    "kubeconfig.new",
    "home.log",
    "home.log.old",
];

/// Whether the user has said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    /// With `--yes`.
    Given,
    /// Not yet.
    Ask,
}

/// Deletes the home on `dir`.
pub(super) fn reset(dir: &Path, confirm: Confirm) -> Result<(), Failure> {
    let progress = Progress::new(false);
    if !data_dir::lock_file(dir).exists() {
        progress.say(&format!("There is no local home on {}: nothing to delete.", dir.display()));
        return Ok(());
    }
    if let data_dir::State::Up(pid) | data_dir::State::Starting(pid) = data_dir::state(dir)? {
        return Err(Failure::new(format!(
            "the local home on {} runs (pid {pid}): stop it with `krt local down` first",
            dir.display()
        )));
    }
    let lock = data_dir::lock(dir)?;
    let (ours, others) = survey(dir)?;
    let size = disk::show(ours.iter().map(|path| disk::used(path)).sum());
    if confirm == Confirm::Ask && !asked(dir, &size)? {
        progress.say("Nothing was deleted.");
        return Ok(());
    }
    for path in &ours {
        delete(path).map_err(|error| {
            let why = without_number(&error.to_string());
            Failure::new(format!("can't delete {}: {why}", path.display()))
        })?;
    }
    lock.remove(dir)?;
    progress.say(&format!("Deleted the local home on {}: {size}.", dir.display()));
    if !others.is_empty() {
        progress.say(&format!("Left what is not krt's: {}", others.join(", ")));
    }
    Ok(())
}

/// What is ours, as paths, and the names of what is not.
fn survey(dir: &Path) -> Result<(Vec<PathBuf>, Vec<String>), Failure> {
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if OURS.contains(&name.as_str()) {
            ours.push(entry.path());
        } else if entry.path() != data_dir::lock_file(dir) {
            others.push(name);
        }
    }
    debug_assert!(OURS.iter().any(|name| dir.join(name) == detach::log_file(dir)));
    others.sort_unstable();
    Ok((ours, others))
}

fn asked(dir: &Path, size: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "krt local reset asks before it deletes, and stdin is no terminal: use --yes",
        ));
    }
    let mut stderr = std::io::stderr().lock();
    write!(
        stderr,
        "Delete all Runs, Runtimes, artifacts, credentials and logs of the local home on {} ({size})? [y/N] ",
        dir.display()
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Deletes a file or a directory; a link goes itself, not what it names.
fn delete(path: &Path) -> std::io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        janitor::remove(path)
    } else {
        std::fs::remove_file(path)
    }
}
