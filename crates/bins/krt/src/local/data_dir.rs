//! The data directory of a local home: who holds it, and where its files are.
//!
//! Invariant: a home runs on a directory exactly as long as its process holds the lock on `lock`.

use crate::cli::DataDir;
use crate::failure::Failure;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a home that starts may take until it serves.
const STARTS: Duration = Duration::from_secs(10);
/// Between two looks at a home that starts.
const LOOK: Duration = Duration::from_millis(20);
/// Looks at a lock that is held before it counts as held.
const LOCK_TRIES: u32 = 5;
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

/// The lock of this process on a directory.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Path of the kubeconfig of the home on `dir`.
pub(crate) fn kubeconfig(dir: &Path) -> PathBuf {
    dir.join("kubeconfig")
}

/// The directory that the flags name, else the default one.
pub(crate) fn chosen(flags: &DataDir) -> Result<PathBuf, Failure> {
    match &flags.data_dir {
        Some(dir) => std::path::absolute(dir)
            .map_err(|error| Failure::new(format!("{}: {error}", dir.display()))),
        None => default(),
    }
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

/// Makes the directory where it is missing and takes its lock.
pub(crate) fn lock(dir: &Path) -> Result<Lock, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(format!("can't use data directory {}: {error}", dir.display()))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    std::fs::read_dir(dir).map_err(unusable)?;
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(unusable)?;
    // Another krt that looks whether a home runs holds the lock for an instant.
    let mut tries = 0;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && tries < LOCK_TRIES {
        tries += 1;
        std::thread::sleep(LOOK);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = read(&path).map(|(pid, _)| format!(" (pid {pid})")).unwrap_or_default();
            return Err(Failure::new(format!(
                "a local home already runs on {}{pid}",
                dir.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let lock = Lock(file);
    lock.write(&format!("{}\n", std::process::id())).map_err(unusable)?;
    Ok(lock)
}

impl Lock {
    /// Notes that the home serves.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        Ok(self.write(&format!("{}\n{READY}\n", std::process::id()))?)
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.0.set_len(0)?;
        self.0.write_all_at(text.as_bytes(), 0)
    }
}

/// The home that runs on `dir`; one that is starting is awaited.
pub(crate) fn running(dir: &Path) -> Result<Option<Running>, Failure> {
    let path = dir.join("lock");
    let since = Instant::now();
    while is_locked(&path) {
        if let Some((pid, true)) = read(&path) {
            return Ok(Some(Running { dir: dir.to_owned(), pid }));
        }
        if since.elapsed() >= STARTS {
            return Err(Failure::new(format!(
                "the local home on {} does not become ready",
                dir.display()
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(None)
}

fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
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
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        write_private(&path, "a").unwrap();
        write_private(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
