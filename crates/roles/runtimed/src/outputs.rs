//! The file at `$KRUNTIME_OUTPUTS`, read once no process of its Run is left.
//!
//! Whatever the Run has put there is met by its kind before it is opened, no link is followed, nothing waits, and no more is
//! read than the limit. What it means is decided by `rules::run::outputs`.

use crate::workspace::Workspaces;
use kruntimes_api::{Reason, limits};
use kruntimes_rules::run::event::Collected;
use kruntimes_rules::run::outputs::{Outputs, OutputsError, parse};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use thiserror::Error;

/// The file, beside the working directory.
pub(crate) const FILE: &str = "outputs";

/// Why there are no outputs.
#[derive(Debug, Error)]
enum ReadError {
    #[error("$KRUNTIME_OUTPUTS: {0}")]
    Content(#[from] OutputsError),
    #[error("$KRUNTIME_OUTPUTS is {0}: it must be a regular file of the Run's own")]
    Kind(&'static str),
    #[error("$KRUNTIME_OUTPUTS can't be read: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl ReadError {
    const fn reason(&self) -> Reason {
        match self {
            Self::Content(error) => error.reason(),
            Self::Kind(_) | Self::Io(_) => Reason::OutputsInvalid,
        }
    }
}

/// Whether the Run has left anything behind, which most have not.
pub(crate) fn is_nothing(workspaces: &Workspaces, uid: &str) -> bool {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let outputs = workspaces.outputs(uid).symlink_metadata();
    outputs.is_err_and(|error| absent(&error)) && !has_artifacts(workspaces, uid)
}

/// What is no directory any more counts, a link too: it is refused later.
fn has_artifacts(workspaces: &Workspaces, uid: &str) -> bool {
    if workspaces.artifacts(uid).is_none() {
        return false;
    }
    let directory = match workspaces.open_artifacts(uid) {
        Ok(Some(directory)) => directory,
        Ok(None) => return false,
        Err(_) => return true,
    };
    let Ok(mut entries) = Dir::read_from(&directory) else { return true };
    entries
        .any(|entry| entry.is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

/// Reads the outputs of a Run, if it wrote any, and sees whether there are artifacts.
pub(crate) fn collect(workspaces: &Workspaces, uid: &str) -> Collected {
    let artifacts = has_artifacts(workspaces, uid);
    match read(workspaces, uid) {
        Ok(outputs) => Collected { outputs, artifacts, refused: None },
        Err(error) => {
            Collected { refused: Some((error.reason(), error.to_string())), ..Collected::default() }
        }
    }
}

fn read(workspaces: &Workspaces, uid: &str) -> Result<Outputs, ReadError> {
    let own = match workspaces.open(uid) {
        Err(Errno::NOENT) => return Ok(Outputs::new()),
        own => own?,
    };
    match statat(&own, FILE, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Outputs::new()),
        found => drop(check(&found?)?),
    }
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(&own, FILE, flags, Mode::empty())?;
    // It may be another one than before.
    let size = check(&fstat(&file)?)?;
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    File::from(file).take(limits::OUTPUTS_FILE_BYTES + 1).read_to_end(&mut content)?;
    Ok(parse(&content)?)
}

/// The size of a file that may be read.
fn check(file: &Stat) -> Result<u64, ReadError> {
    let kind = match FileType::from_raw_mode(file.st_mode) {
        FileType::RegularFile => None,
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a named pipe"),
        FileType::Directory => Some("a directory"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Unknown => Some("of an unknown kind"),
    };
    if let Some(kind) = kind {
        return Err(ReadError::Kind(kind));
    }
    if file.st_nlink != 1 {
        return Err(ReadError::Kind("a file with a second name"));
    }
    let me = rustix::process::geteuid().as_raw();
    // A Runtime Server may run as root where this does not.
    if file.st_uid != me && file.st_uid != 0 {
        return Err(ReadError::Kind("a file of another user"));
    }
    let size = u64::try_from(file.st_size).unwrap_or(u64::MAX);
    if size > limits::OUTPUTS_FILE_BYTES {
        return Err(OutputsError::FileTooLong(size).into());
    }
    Ok(size)
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
