//! From a Run's directory into a store: first all is looked at, then each artifact is packed, hashed and written at once.

use crate::store::{Artifact, Place, Store, UNWRITTEN};
use crate::walk::{Budget, Kind, Step, label, look, names, open_directory, open_file, walk};
use crate::{KeepError, walk};
use flate2::{Compression, GzBuilder};
use kruntimes_api::{ArtifactType, limits};
use kruntimes_rules::artifact::{ARCHIVE_TYPE, InvalidArtifact, Kept, SNIFFED_BYTES, media_type};
use rustix::fd::OwnedFd;
use rustix::fs::Stat;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;
/// Of an archive in the store.
const ARCHIVE_MODE: u32 = 0o600;

/// Ends what is under way, soon: when it is fired, or when nobody may want it any more. It is asked before each step, and
/// once more before an artifact takes its place.
#[derive(Clone, Default)]
pub struct Stop {
    fired: Arc<AtomicBool>,
    wanted: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Stop {
    /// Ends it too when `wanted` answers no: a process that was stopped for a while can't be told.
    pub fn unless(wanted: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { fired: Arc::default(), wanted: Some(Arc::new(wanted)) }
    }

    /// Ends it after this time.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        let until = Instant::now() + time;
        Self::unless(move || Instant::now() < until)
    }

    /// One that ends what is under way as well when `given_up` answers yes.
    #[must_use]
    pub fn or(&self, given_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let all = self.clone();
        Self::unless(move || !all.is_fired() && !given_up())
    }

    /// Has it end.
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        self.fired.load(Ordering::Relaxed) || self.wanted.as_ref().is_some_and(|wanted| !wanted())
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stop").field("fired", &self.fired).finish_non_exhaustive()
    }
}

/// Something that is an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactType,
}

/// Looks at all that a Run left behind in `directory`, in the order of the names.
///
/// # Errors
/// What can't be kept first.
pub fn survey(directory: &OwnedFd) -> Result<Vec<Found>, InvalidArtifact> {
    let most = limits::ARTIFACTS_ITEMS as usize;
    let (mut found, mut budget, mut all) = (Vec::new(), Budget::new(), Size::of_all());
    for name in names(directory, "$KRUNTIME_ARTIFACTS_DIR", most, &InvalidArtifact::TooMany)? {
        let (kind, stat) = look(directory, &name, &name)?;
        let mut size = Size::of_one(&name);
        let kind = match kind {
            Kind::File => {
                size.add(bytes(&stat))?;
                ArtifactType::File
            }
            Kind::Directory => {
                let root = open_directory(directory, &name, &name)?;
                walk(root, &name, &mut budget, |step| match step.kind {
                    Kind::File => size.add(bytes(step.stat)),
                    Kind::Directory => Ok(()),
                })?;
                ArtifactType::Directory
            }
        };
        all.add(size.bytes)?;
        found.push(Found { name, kind });
    }
    Ok(found)
}

/// Keeps one of what was found. What was kept under its name before is replaced.
///
/// # Errors
/// It is not what was found, the store failed, or `stop` was fired.
pub fn keep(
    store: &Store,
    place: Place<'_>,
    directory: &OwnedFd,
    found: &Found,
    stop: &Stop,
) -> Result<Kept, KeepError> {
    let name = found.name.as_str();
    let mut kept = Kept {
        name: name.to_owned(),
        kind: found.kind,
        size: 0,
        sha256: [0; 32],
        media_type: ARCHIVE_TYPE.to_owned(),
    };
    let wrong = || InvalidArtifact::Changed(label(name));
    match (look(directory, name, name)?.0, found.kind) {
        (Kind::File, ArtifactType::File) => {
            let (file, stat) = open_file(directory, name, name)?;
            let artifact = Artifact { name, mode: stat.st_mode & 0o777, kind: found.kind };
            store.put(place, artifact, stop, |target| {
                let mut sink = Sink::new(target, name, stop);
                let mut source = Source::new(&file, &stat, name)?;
                let mut head = Vec::with_capacity(SNIFFED_BYTES);
                let copied = copy(&mut source, &mut sink, &mut head);
                let refused = source.refused.into_inner();
                sink.finish(copied, refused, &mut kept)?;
                kept.media_type = media_type(name, &head).to_owned();
                Ok(())
            })?;
        }
        (Kind::Directory, ArtifactType::Directory) => {
            let root = open_directory(directory, name, name)?;
            let artifact = Artifact { name, mode: ARCHIVE_MODE, kind: found.kind };
            store.put(place, artifact, stop, |target| {
                let mut sink = Sink::new(target, name, stop);
                let refused = RefCell::new(None);
                let packed = pack(root, name, &mut sink, &refused);
                sink.finish(packed, refused.into_inner(), &mut kept)
            })?;
        }
        (Kind::File | Kind::Directory, _) => return Err(wrong().into()),
    }
    Ok(kept)
}

fn copy(source: &mut Source<'_>, sink: &mut Sink<'_>, head: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = source.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        let missing = SNIFFED_BYTES - head.len();
        head.extend_from_slice(&chunk[..length.min(missing)]);
        sink.write_all(&chunk[..length])?;
    }
}

/// A reproducible tar.gz: in the order of the names, without times, owners and the name of the archive.
fn pack(
    root: OwnedFd,
    name: &str,
    sink: &mut Sink<'_>,
    refused: &RefCell<Option<InvalidArtifact>>,
) -> io::Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(sink, Compression::default());
    let mut archive = tar::Builder::new(gzip);
    let mut size = Size::of_one(name);
    let packed = walk(root, name, &mut Budget::new(), |step| -> Result<(), Failed> {
        append(&mut archive, &step, name, &mut size)
    });
    match packed {
        Ok(()) => {}
        Err(Failed::Refused(invalid)) => {
            *refused.borrow_mut() = Some(invalid);
            return Err(io::Error::other("refused"));
        }
        Err(Failed::Io(error)) => return Err(error),
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

enum Failed {
    Refused(InvalidArtifact),
    Io(io::Error),
}

impl From<InvalidArtifact> for Failed {
    fn from(invalid: InvalidArtifact) -> Self {
        Self::Refused(invalid)
    }
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    step: &Step<'_>,
    name: &str,
    size: &mut Size<'_>,
) -> Result<(), Failed> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    match step.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(step.stat.st_mode & 0o777);
            header.set_size(0);
            let path = format!("{}/", step.path);
            archive.append_data(&mut header, path, io::empty()).map_err(Failed::Io)
        }
        Kind::File => {
            let shown = format!("{name}/{}", step.path);
            let (file, stat) = open_file(step.parent, step.name, &shown)?;
            size.add(bytes(&stat))?;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(stat.st_mode & 0o777);
            header.set_size(bytes(&stat));
            let mut source = Source::new(&file, &stat, &shown)?;
            let appended = archive.append_data(&mut header, step.path, &mut source);
            match source.refused.into_inner() {
                Some(refused) => Err(Failed::Refused(refused)),
                None => appended.map_err(Failed::Io),
            }
        }
    }
}

fn bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(u64::MAX)
}

/// Bytes so far, within a limit.
struct Size<'a> {
    bytes: u64,
    /// The artifact; none for all of them.
    name: Option<&'a str>,
}

impl<'a> Size<'a> {
    const fn of_one(name: &'a str) -> Self {
        Self { bytes: 0, name: Some(name) }
    }

    const fn of_all() -> Self {
        Self { bytes: 0, name: None }
    }

    fn add(&mut self, bytes: u64) -> Result<(), InvalidArtifact> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.name {
            Some(name) if self.bytes > limits::ARTIFACT_BYTES => {
                Err(InvalidArtifact::TooLarge { path: label(name) })
            }
            None if self.bytes > limits::ARTIFACTS_BYTES => Err(InvalidArtifact::AllTooLarge),
            Some(_) | None => Ok(()),
        }
    }
}

/// A file that gives as many bytes as it had when it was opened, or fails.
struct Source<'a> {
    file: &'a File,
    left: u64,
    path: &'a str,
    refused: RefCell<Option<InvalidArtifact>>,
}

impl<'a> Source<'a> {
    fn new(file: &'a File, stat: &Stat, path: &'a str) -> Result<Self, InvalidArtifact> {
        let left = bytes(stat);
        if left > limits::ARTIFACT_BYTES {
            return Err(InvalidArtifact::TooLarge { path: label(path) });
        }
        Ok(Self { file, left, path, refused: RefCell::new(None) })
    }

    fn refuse<T>(&self, invalid: InvalidArtifact) -> io::Result<T> {
        *self.refused.borrow_mut() = Some(invalid);
        Err(io::Error::other("refused"))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.file.read(&mut buffer[..most]) {
            Ok(0) => self.refuse(InvalidArtifact::Changed(label(self.path))),
            Ok(length) => {
                self.left -= length as u64;
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error);
                let errno = errno.unwrap_or(rustix::io::Errno::IO);
                self.refuse(walk::unreadable(self.path, errno))
            }
        }
    }
}

/// What a store takes: what goes there is counted, hashed, and ends when nobody wants it any more.
struct Sink<'a> {
    target: &'a mut dyn Write,
    stop: &'a Stop,
    name: &'a str,
    size: u64,
    hash: Sha256,
    too_large: bool,
}

impl<'a> Sink<'a> {
    fn new(target: &'a mut dyn Write, name: &'a str, stop: &'a Stop) -> Self {
        Self { target, stop, name, size: 0, hash: Sha256::new(), too_large: false }
    }

    /// What became of it: a fault of the Run's before one of the store's.
    fn finish(
        self,
        written: io::Result<()>,
        refused: Option<InvalidArtifact>,
        kept: &mut Kept,
    ) -> Result<(), KeepError> {
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        if self.too_large {
            return Err(InvalidArtifact::TooLarge { path: label(self.name) }.into());
        }
        if self.stop.is_fired() {
            return Err(KeepError::Stopped);
        }
        written.map_err(KeepError::store(UNWRITTEN))?;
        (kept.size, kept.sha256) = (self.size, self.hash.finalize().into());
        Ok(())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_fired() {
            return Err(io::Error::other("stopped"));
        }
        let length = self.target.write(bytes)?;
        self.size += length as u64;
        if self.size > limits::ARTIFACT_BYTES {
            self.too_large = true;
            return Err(io::Error::other("too large"));
        }
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
