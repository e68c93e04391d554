//! The data directory of a local home: who holds it, and where its files are.
//!
//! Invariants: a home runs on a directory exactly as long as its process holds the lock on `lock`. Whoever takes that
//! lock, looks at it or removes its file holds the lock on the directory itself meanwhile, the gate, for an instant.

use crate::cli::DataDir;
use crate::failure::{Failure, without_number};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a home that starts may take until it serves: its pods have 20 s.
const STARTS: Duration = Duration::from_secs(30);
/// Second line of the lock of a home that serves.
const READY: &str = "ready";

/// A home that runs on a directory.
#[derive(Debug)]
pub(crate) struct Running {
    dir: PathBuf,
    /// Its process.
    pub(crate) pid: i32,
}

impl Running {
    /// Its kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.dir)
    }
}

/// Whether a home runs on a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No.
    Down,
    /// Its process has the directory and does not serve yet.
    Starting(i32),
    /// It serves.
    Up(i32),
}

/// The lock of this process on a directory.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Path of the kubeconfig of the home on `dir`.
pub(crate) fn kubeconfig(dir: &Path) -> PathBuf {
    dir.join("kubeconfig")
}

/// Path of the lock of the home on `dir`.
pub(crate) fn lock_file(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// The directory that the flags name, else the default one.
pub(crate) fn chosen(flags: &DataDir) -> Result<PathBuf, Failure> {
    match &flags.data_dir {
        Some(dir) => std::path::absolute(dir)
            .map(without_parents)
            .map_err(|error| Failure::usage(format!("--data-dir can't be {dir:?}: {error}"))),
        None => default(),
    }
}

/// The same place without `..`, as far as it exists: no Runtime Server takes a working directory with such.
fn without_parents(path: PathBuf) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path;
    }
    let real = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(std::fs::canonicalize(above).ok()?.join(rest))
    });
    real.unwrap_or(path)
}

/// `$XDG_DATA_HOME/kruntimes`, else `~/.local/share/kruntimes`.
pub(crate) fn default() -> Result<PathBuf, Failure> {
    if let Some(data) =
        std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        return Ok(data.join("kruntimes"));
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home =
        home.ok_or_else(|| Failure::new("$HOME is not set: name a directory with --data-dir"))?;
    Ok(home.join(".local").join("share").join("kruntimes"))
}

fn unusable(dir: &Path, error: &std::io::Error) -> Failure {
    let why = without_number(&error.to_string());
    Failure::new(format!("can't use the data directory {}: {why}", dir.display()))
}

/// Makes the directory where it is missing.
pub(crate) fn create(dir: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| std::fs::read_dir(dir).map(drop)).map_err(|error| unusable(dir, &error))
}

/// Makes the directory where it is missing and takes its lock.
pub(crate) fn lock(dir: &Path) -> Result<Lock, Failure> {
    create(dir)?;
    let unusable = |error: std::io::Error| unusable(dir, &error);
    let gate = gate(dir).map_err(unusable)?;
    let path = lock_file(dir);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = read(&path).map(|(pid, _)| format!(" (pid {pid})")).unwrap_or_default();
            return Err(Failure::new(format!(
                "a local home already runs on {}{pid}: use it, or stop it with `krt local down`",
                dir.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let lock = Lock(file);
    lock.claim().map_err(unusable)?;
    drop(gate);
    Ok(lock)
}

impl Lock {
    /// Notes whose it is. The gate is held: nobody reads it meanwhile.
    fn claim(&self) -> std::io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    }

    /// Notes that the home serves: the file grows, so that whoever reads it meanwhile sees one state or the other.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        Ok(self.0.write_all_at(format!("{}\n{READY}\n", std::process::id()).as_bytes(), 0)?)
    }

    /// Removes the lock's file and, when nothing else is in it, the directory.
    pub(crate) fn remove(self, dir: &Path) -> std::io::Result<()> {
        let _gate = gate(dir)?;
        std::fs::remove_file(lock_file(dir))?;
        match std::fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            end => end,
        }
    }
}

/// Waits for the gate: others hold it for an instant.
fn gate(dir: &Path) -> std::io::Result<File> {
    let gate = File::open(dir)?;
    gate.lock()?;
    Ok(gate)
}

/// Whether a home runs on `dir`, as it is now.
pub(crate) fn state(dir: &Path) -> Result<State, Failure> {
    look(dir).map_err(|error| unusable(dir, &error))
}

fn look(dir: &Path) -> std::io::Result<State> {
    let down_where_missing = |error: std::io::Error| {
        if error.kind() == ErrorKind::NotFound { Ok(State::Down) } else { Err(error) }
    };
    let _gate = match gate(dir) {
        Ok(gate) => gate,
        Err(error) => return down_where_missing(error),
    };
    let path = lock_file(dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => return down_where_missing(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(State::Down),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => match read(&path) {
            Some((pid, true)) => Ok(State::Up(pid)),
            Some((pid, false)) => Ok(State::Starting(pid)),
            None => Err(std::io::Error::other("its lock is held and names no process")),
        },
    }
}

/// The home that runs on `dir`; one that is starting is awaited.
pub(crate) fn running(dir: &Path) -> Result<Option<Running>, Failure> {
    let since = Instant::now();
    let mut changes = None;
    loop {
        match (state(dir)?, &changes) {
            (State::Down, _) => return Ok(None),
            (State::Up(pid), _) => return Ok(Some(Running { dir: dir.to_owned(), pid })),
            // What changes between the look and the watch is seen by the next look.
            (State::Starting(_), None) => {
                changes = Some(watch(&lock_file(dir)).map_err(|error| unusable(dir, &error))?);
            }
            (State::Starting(pid), Some(changes)) => {
                let left = STARTS.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return Err(Failure::new(format!(
                        "the local home on {} (pid {pid}) does not become ready",
                        dir.display()
                    )));
                }
                await_change(changes, pid, left).map_err(|error| unusable(dir, &error))?;
            }
        }
    }
}

fn watch(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let changes = inotify::init(flags)?;
    inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
    Ok(changes)
}

/// Waits until the lock's file changes or its holder ends.
fn await_change(changes: &OwnedFd, pid: i32, left: Duration) -> std::io::Result<()> {
    // Without the holder's pidfd, as from another container, the file alone tells.
    let holder = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut fds = vec![PollFd::new(changes, PollFlags::IN)];
    fds.extend(holder.iter().map(|holder| PollFd::new(holder, PollFlags::IN)));
    let limit = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::io::read(changes, &mut [0_u8; 4096]) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Process of the holder, and whether it serves.
fn read(path: &Path) -> Option<(i32, bool)> {
    let mut text = String::new();
    File::open(path).ok()?.take(256).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    Some((lines.next()?.parse().ok()?, lines.next() == Some(READY)))
}

/// Replaces a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_with_parents_in_its_path_is_named_without_them() {
        let place = tempfile::tempdir().unwrap();
        let place = std::fs::canonicalize(place.path()).unwrap();
        std::fs::create_dir(place.join("a")).unwrap();
        for (given, want) in [("a/../b/c", "b/c"), ("a/..", ""), ("a/./b", "a/b"), ("x", "x")] {
            let flags = DataDir { data_dir: Some(place.join(given)) };
            assert_eq!(chosen(&flags).unwrap(), place.join(want), "{given}");
        }
    }

    #[test]
    fn a_directory_is_held_once_and_known_as_running_while_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("home");
        assert!(running(&dir).unwrap().is_none());
        let held = lock(&dir).unwrap();
        assert!(lock(&dir).unwrap_err().lines[0].contains("already runs"));
        held.ready().unwrap();
        assert_eq!(running(&dir).unwrap().unwrap().pid, std::process::id().cast_signed());
        drop(held);
        assert!(running(&dir).unwrap().is_none());
        lock(&dir).unwrap();
    }

    #[test]
    fn a_look_never_keeps_a_home_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        drop(lock(&path).unwrap());
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| (0..2000).all(|_| state(&path).is_ok()));
            for _ in 0..500 {
                lock(&path).unwrap();
            }
            assert!(looks.join().unwrap());
        });
    }

    #[test]
    fn a_home_that_starts_is_awaited_until_it_serves_or_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let held = lock(&path).unwrap();
        assert_eq!(state(&path).unwrap(), State::Starting(std::process::id().cast_signed()));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| running(&path).unwrap());
            held.ready().unwrap();
            assert!(waits.join().unwrap().is_some());
        });
        held.remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(state(&path).unwrap(), State::Down);
    }

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        write_private(&path, "a").unwrap();
        write_private(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
