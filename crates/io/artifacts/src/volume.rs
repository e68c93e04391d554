//! A store on a volume: `namespaces/<namespace>/runs/<uid>/<name>` below its root.
//!
//! An artifact is written beside its place, synced, then renamed: it is there whole or not at all. No link below the root
//! is followed.

use crate::KeepError;
use crate::keep::Stop;
use crate::store::{Artifact, Place, UNWRITTEN};
use crate::walk::DIRECTORY;
use kruntimes_rules::artifact::{check_name, directory};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Of the directories that are made.
const DIRECTORY_MODE: u32 = 0o750;
/// How the name of a file in the making begins.
const UNFINISHED: &str = ".artifact-";

/// Where logs are below the root.
pub(crate) const LOGS: &str = "logs";

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A directory with artifacts.
#[derive(Debug, Clone)]
pub struct Volume {
    root: PathBuf,
    /// What is kept is on the disk when it has its place.
    synced: bool,
}

impl Volume {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, synced: true }
    }

    /// A log that a crash of the machine loses is no loss that is worth a sync each.
    pub(crate) fn logs(&self) -> Self {
        Self { root: self.root.join(LOGS), synced: false }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.synced { file.sync_all() } else { Ok(()) }
    }

    /// Keeps one artifact: `write` fills the file, which then takes its place.
    pub(crate) fn put(
        &self,
        place: Place<'_>,
        artifact: Artifact<'_>,
        stop: &Stop,
        write: impl FnOnce(&mut dyn Write) -> Result<(), KeepError>,
    ) -> Result<(), KeepError> {
        let Artifact { name, mode, .. } = artifact;
        let failed = KeepError::store(UNWRITTEN);
        let own = self.make(place).map_err(&failed)?;
        let (unfinished, mut file) = create(&own, mode).map_err(&failed)?;
        let written = write(&mut file).and_then(|()| {
            self.sync(&file).map_err(&failed)?;
            if stop.is_fired() {
                return Err(KeepError::Stopped);
            }
            renameat(&own, &unfinished, &own, name).map_err(|errno| failed(errno.into()))?;
            self.sync(&File::from(own.try_clone().map_err(&failed)?)).map_err(&failed)
        });
        if written.is_err() {
            // What stays of it goes with its Run.
            let _ = unlinkat(&own, &unfinished, AtFlags::empty());
        }
        written
    }

    pub(crate) fn open(&self, place: Place<'_>, name: &str) -> io::Result<File> {
        check_name(name.as_bytes()).map_err(io::Error::other)?;
        let own = self.find(place)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&own, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(file)
    }

    pub(crate) fn retain(&self, place: Place<'_>, names: &BTreeSet<String>) -> io::Result<()> {
        let own = match self.find(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            own => own?,
        };
        for entry in Dir::read_from(&own)? {
            let entry = entry?;
            let name = entry.file_name();
            let stays = name.to_str().is_ok_and(|name| names.contains(name));
            if !stays && !matches!(name.to_bytes(), b"." | b"..") {
                unlinkat(&own, name, AtFlags::empty())?;
            }
        }
        if !names.is_empty() {
            return Ok(());
        }
        let [namespaces, namespace, runs, uid] = directory(place.namespace, place.run_uid);
        let runs = self.root.join(namespaces).join(namespace).join(runs);
        match unlinkat(CWD, runs.join(uid), AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn runs(&self) -> io::Result<Vec<(String, String)>> {
        let mut runs = Vec::new();
        let namespaces = self.root.join("namespaces");
        for namespace in subdirectories(&namespaces)? {
            let of_namespace = namespaces.join(&namespace).join("runs");
            let uids = subdirectories(&of_namespace)?;
            runs.extend(uids.into_iter().map(|uid| (namespace.clone(), uid)));
        }
        Ok(runs)
    }

    fn make(&self, place: Place<'_>) -> io::Result<OwnedFd> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(&self.root)?;
        self.enter(place, |parent, name| {
            match mkdirat(parent, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        })
    }

    fn find(&self, place: Place<'_>) -> io::Result<OwnedFd> {
        self.enter(place, |_, _| Ok(()))
    }

    fn enter(
        &self,
        place: Place<'_>,
        before: impl Fn(&OwnedFd, &str) -> io::Result<()>,
    ) -> io::Result<OwnedFd> {
        let root: &Path = &self.root;
        let mut own = openat(CWD, root, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty())?;
        for part in directory(place.namespace, place.run_uid) {
            check_name(part.as_bytes()).map_err(io::Error::other)?;
            before(&own, &part)?;
            own = openat(&own, part.as_str(), DIRECTORY, Mode::empty())?;
        }
        Ok(own)
    }
}

/// Names of the directories in a directory, which are no links; none where there is none.
fn subdirectories(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// A file of a name that nothing has, in a directory that nobody else writes to but another process like this.
fn create(own: &OwnedFd, mode: u32) -> io::Result<(String, File)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{UNFINISHED}{}-{number}", std::process::id());
        match openat(own, name.as_str(), flags, Mode::from_raw_mode(mode)) {
            Ok(file) => return Ok((name, File::from(file))),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
