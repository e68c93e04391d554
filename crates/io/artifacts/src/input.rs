//! An artifact from its store into the workspace of another Run: hostile like any archive, and held against its digest.
//!
//! Every step is relative to an open directory, follows no link and writes only to what it has made itself; what was put there
//! counts only when the digest of all that was read is the right one.

use crate::keep::Stop;
use crate::store::Opened;
use crate::unpack::{Room, UnpackError, unpack_into};
use crate::walk::DIRECTORY;
use kruntimes_api::{ArtifactRef, ArtifactType, limits};
use kruntimes_rules::artifact::{Hash, shown};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use thiserror::Error;

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;
/// Permission bits of a file and of a directory that is made for it.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Why an artifact was not put.
#[derive(Debug, Error)]
pub enum PutError {
    /// Something is there, or a link leads there.
    #[error("{0}")]
    Path(String),
    /// It holds what no artifact holds.
    #[error("{0}")]
    Hostile(String),
    /// It is not what its Run has left.
    #[error("the store does not have what was kept: {0}")]
    Broken(&'static str),
    /// All inputs together are above a limit.
    #[error("all inputs have more than {files} files or {bytes} bytes")]
    TooLarge {
        /// Files and directories that they may have.
        files: usize,
        /// Bytes that they may have.
        bytes: u64,
    },
    /// The store does not give it out.
    #[error("it can't be read from its store: {0}")]
    Store(#[source] io::Error),
    /// The workspace does not take it.
    #[error("it can't be written: {0}")]
    Disk(#[source] io::Error),
    /// Nobody wants it any more.
    #[error("stopped")]
    Stopped,
}

/// All that is put into one workspace.
#[derive(Debug)]
pub struct Inputs {
    all: Room,
    left: Room,
}

impl Inputs {
    /// With room for so many bytes, and for no more than the artifacts of one Run may have.
    #[must_use]
    pub fn within(bytes: u64) -> Self {
        let bytes = bytes.min(limits::ARTIFACTS_BYTES);
        let all = Room { files: limits::ARTIFACT_FILES, bytes };
        Self { all, left: all }
    }

    /// Puts an artifact at `path` below `root`.
    ///
    /// # Errors
    /// What was put so far stays.
    pub fn put(
        &mut self,
        opened: Opened,
        artifact: &ArtifactRef,
        root: &OwnedFd,
        path: &[String],
        stop: &Stop,
    ) -> Result<(), PutError> {
        let size = u64::try_from(artifact.size_bytes).unwrap_or_default();
        if opened.size != size {
            return Err(PutError::Broken("its size differs"));
        }
        let mut source = Checked {
            bytes: opened.bytes.take(size),
            read: 0,
            hash: Hash::new(),
            stop,
            failed: None,
        };
        let (parent, name) = reach(root, path)?;
        let put = match artifact.kind {
            ArtifactType::Directory => self.unpack(&mut source, &parent, name),
            ArtifactType::File | ArtifactType::Archive | ArtifactType::Blob => {
                self.copy(&mut source, size, &parent, name)
            }
        };
        if stop.is_fired() {
            return Err(PutError::Stopped);
        }
        if let Some(error) = source.failed.take() {
            return Err(PutError::Store(error));
        }
        put?;
        // What follows the end of an archive is part of the digest too.
        io::copy(&mut source, &mut io::sink()).map_err(PutError::Store)?;
        if source.read != size {
            return Err(PutError::Broken("it ends too early"));
        }
        match artifact.digest.as_deref() == Some(source.hash.finish().as_str()) {
            true => Ok(()),
            false => Err(PutError::Broken("its digest differs")),
        }
    }

    fn copy(
        &mut self,
        source: &mut impl Read,
        size: u64,
        parent: &OwnedFd,
        name: &str,
    ) -> Result<(), PutError> {
        if !self.left.take(size) {
            return Err(self.too_large());
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, name, flags, Mode::from_raw_mode(FILE_MODE));
        let mut file = File::from(made.map_err(|errno| in_the_way(name, errno))?);
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => file.write_all(&chunk[..length]).map_err(PutError::Disk)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PutError::Store(error)),
            }
        }
    }

    fn unpack(
        &mut self,
        source: &mut impl Read,
        parent: &OwnedFd,
        name: &str,
    ) -> Result<(), PutError> {
        mkdirat(parent, name, Mode::from_raw_mode(DIRECTORY_MODE))
            .map_err(|errno| in_the_way(name, errno))?;
        let root = openat(parent, name, DIRECTORY, Mode::empty())
            .map_err(|errno| in_the_way(name, errno))?;
        unpack_into(source, &root, &mut self.left).map_err(|error| match error {
            UnpackError::TooLarge => self.too_large(),
            UnpackError::Hostile(_) => PutError::Hostile(error.to_string()),
            UnpackError::Io(error) if error.raw_os_error().is_some() => PutError::Disk(error),
            UnpackError::Io(error) => PutError::Hostile(format!("it is no archive: {error}")),
        })
    }

    const fn too_large(&self) -> PutError {
        PutError::TooLarge { files: self.all.files, bytes: self.all.bytes }
    }
}

/// The directory that the last name of `path` stands in, made where it is missing.
fn reach<'a>(root: &OwnedFd, path: &'a [String]) -> Result<(OwnedFd, &'a str), PutError> {
    let no_name = || PutError::Path("the path has no name".to_owned());
    let (name, before) = path.split_last().ok_or_else(no_name)?;
    let mut directory = root.try_clone().map_err(PutError::Disk)?;
    for part in before {
        match mkdirat(&directory, part.as_str(), Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(in_the_way(part, errno)),
        }
        directory = openat(&directory, part.as_str(), DIRECTORY, Mode::empty())
            .map_err(|errno| in_the_way(part, errno))?;
    }
    Ok((directory, name))
}

fn in_the_way(name: &str, errno: Errno) -> PutError {
    let name = shown(name.as_bytes());
    match errno {
        Errno::EXIST => PutError::Path(format!("{name} is there already")),
        Errno::NOTDIR | Errno::LOOP => {
            PutError::Path(format!("{name} is a link or a file, where a directory must be"))
        }
        errno => PutError::Disk(errno.into()),
    }
}

/// What a store gives, counted and hashed. What fails is kept apart from what the workspace says.
struct Checked<'a, R> {
    bytes: R,
    read: u64,
    hash: Hash,
    stop: &'a Stop,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_fired() {
            return Err(io::Error::other("stopped"));
        }
        match self.bytes.read(buffer) {
            Ok(length) => {
                self.read += length as u64;
                self.hash.update(&buffer[..length]);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
