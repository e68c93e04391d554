//! The janitor of an ephemeral home: a process that removes the home's directory once nobody lives in it.
//!
//! Its stdin is a pipe whose write end krt and all its pods hold, so that end of file means that they are gone, even by
//! SIGKILL. It is no child of krt and in a process group of its own: what ends krt, its group or its orphans does not
//! end the janitor. Invariant: it starts before the directory is made.

use crate::failure::Failure;
use kruntimes_daemon::remove_tree;
use rustix::io::{FdFlags, fcntl_setfd};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// How long a directory may resist its removal: a dying process may still write.
const REMOVE: Duration = Duration::from_secs(5);
/// How long krt waits for its janitor.
const END: Duration = Duration::from_secs(8);

/// A started janitor.
#[derive(Debug)]
pub(crate) struct Janitor {
    /// Held by this process and, by inheritance, by the pods.
    alive: OwnedFd,
    /// Held by the janitor: ends with it.
    ended: OwnedFd,
}

impl Janitor {
    /// Starts the janitor of `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self, Failure> {
        Self::spawn(dir).map_err(|error| Failure::new(format!("can't start the janitor: {error}")))
    }

    fn spawn(dir: &Path) -> io::Result<Self> {
        let (stdin, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (ended, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = Command::new(std::env::current_exe()?)
            .args(["serve", "janitor"])
            .arg(dir)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::null())
            .env_clear()
            .current_dir("/")
            .status()?;
        if !parent.success() {
            return Err(io::Error::other(parent.to_string()));
        }
        // From here each child of this process inherits the write end: the pods.
        fcntl_setfd(&alive, FdFlags::empty())?;
        Ok(Self { alive, ended })
    }

    /// Lets the janitor do its work, and waits for it for a bounded time.
    pub(crate) async fn finish(self) {
        drop(self.alive);
        if let Ok(mut ended) = pipe::Receiver::from_owned_fd(self.ended) {
            // An error or a late end leaves the janitor to itself.
            drop(tokio::time::timeout(END, ended.read_u8()).await);
        }
    }
}

/// Starts the janitor proper, which outlives this process, and leaves it to the system's init.
pub(crate) fn detach(dir: &Path) -> Result<(), Failure> {
    Command::new(std::env::current_exe()?)
        .args(["serve", "janitor", "--detached"])
        .arg(dir)
        .process_group(0)
        .spawn()?;
    Ok(())
}

/// Is the janitor: waits for the end of stdin, then removes `dir`.
pub(crate) fn serve(dir: &Path) -> Result<(), Failure> {
    let mut buffer = [0_u8; 64];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    remove(dir).map_err(|error| Failure::new(format!("can't remove {}: {error}", dir.display())))
}

/// Removes a directory with all that is in it. A process that still dies may make new files meanwhile: then the removal
/// starts over at once, for there is something more to remove.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let since = Instant::now();
    loop {
        match remove_tree(dir) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty && since.elapsed() < REMOVE => {
            }
            end => return end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::remove;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_without_permissions_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a");
        std::fs::create_dir_all(inner.join("b")).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o000)).unwrap();
        remove(dir.path()).unwrap();
        assert!(!dir.path().exists());
        remove(dir.path()).unwrap();
    }

    #[test]
    fn a_writer_delays_the_removal_and_does_not_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        let writes = dir.path().to_owned();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let file = |number| std::fs::write(writes.join(format!("{number}")), "");
                (0..5000).all(|number| file(number).is_ok())
            });
            remove(dir.path()).unwrap();
        });
        assert!(!dir.path().exists());
    }
}
