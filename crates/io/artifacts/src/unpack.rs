//! A tar.gz from a store into a directory: hostile too, whoever says that it is one of ours.
//!
//! Only files and directories are made, each below the directory that is open already; nothing that is there is touched.

use crate::walk::DIRECTORY;
use kruntimes_api::limits;
use kruntimes_rules::artifact::{check_name, shown};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use thiserror::Error;

/// Bytes of a path at most, with the NUL behind it.
const PATH: u64 =
    (limits::ARTIFACT_DEPTH as u64 + 1) * (limits::ARTIFACT_NAME_BYTES as u64 + 1) + 1;

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// Something in it that no artifact holds.
    #[error("the archive is none of an artifact: {0}")]
    Hostile(String),
    /// More than what may be unpacked.
    #[error("the archive is none of an artifact: it is too large")]
    TooLarge,
    /// It can't be read, or a file can't be written.
    #[error("can't unpack the archive: {0}")]
    Io(#[from] io::Error),
}

/// Unpacks `archive` into the directory `target`, which is there and empty.
///
/// # Errors
/// What it has unpacked so far stays.
pub fn unpack(archive: impl Read, target: &Path) -> Result<(), UnpackError> {
    let root =
        openat(rustix::fs::CWD, target, DIRECTORY, Mode::empty()).map_err(io::Error::from)?;
    unpack_into(archive, &root, &mut Room::of_one())
}

/// What may still be unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Files and directories.
    pub(crate) files: usize,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

impl Room {
    /// What one artifact may hold, which is packed and had so many before.
    const fn of_one() -> Self {
        Self { files: limits::ARTIFACT_FILES, bytes: limits::ARTIFACT_BYTES }
    }

    /// Takes so many bytes of one more file; false when there is no room for it.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let left = (self.files.checked_sub(1), self.bytes.checked_sub(bytes));
        let (Some(files), Some(bytes)) = left else { return false };
        *self = Self { files, bytes };
        true
    }
}

/// As [`unpack`], from a stream into an open directory, within what there is room for.
pub(crate) fn unpack_into(
    archive: impl Read,
    root: &OwnedFd,
    room: &mut Room,
) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut long = None;
    // Raw: else the names and attributes that come before an entry are read whole, however long they are.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if entry.header().entry_type().is_gnu_longname() {
            long = Some(long_name(&mut entry, long.is_some())?);
            continue;
        }
        if !room.take(entry.size()) {
            return Err(UnpackError::TooLarge);
        }
        let path = long.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let mode = entry.header().mode()? & 0o777;
        let kind = entry.header().entry_type();
        let (parent, name) = place(root, &path)?;
        if kind.is_dir() {
            make_directory(&parent, name, mode | 0o700)?;
        } else if kind.is_file() {
            write(&mut entry, &parent, name, mode)?;
        } else {
            let what = format!("{} is neither a file nor a directory", shown(&path));
            return Err(UnpackError::Hostile(what));
        }
    }
    Ok(())
}

/// The path of the next entry, which is too long for its header.
fn long_name(entry: &mut tar::Entry<'_, impl Read>, again: bool) -> Result<Vec<u8>, UnpackError> {
    if again || entry.size() > PATH {
        return Err(UnpackError::Hostile("a name is too long".to_owned()));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// The directory that a path stands in, which comes before it in the archive, and its last name.
fn place<'a>(root: &OwnedFd, path: &'a [u8]) -> Result<(OwnedFd, &'a str), UnpackError> {
    let hostile = || UnpackError::Hostile(format!("the name {}", shown(path)));
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        names.push(check_name(name).map_err(|_| hostile())?);
    }
    if names.len() > limits::ARTIFACT_DEPTH + 1 {
        return Err(hostile());
    }
    let last = names.pop().ok_or_else(hostile)?;
    let mut directory = root.try_clone()?;
    for name in names {
        directory = openat(&directory, name, DIRECTORY, Mode::empty()).map_err(io::Error::from)?;
    }
    Ok((directory, last))
}

fn make_directory(parent: &OwnedFd, name: &str, mode: u32) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            openat(parent, name, DIRECTORY, Mode::empty()).map(drop).map_err(Into::into)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn write(content: &mut impl Read, parent: &OwnedFd, name: &str, mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::from_raw_mode(mode | 0o600))?;
    io::copy(content, &mut File::from(file)).map(drop)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
