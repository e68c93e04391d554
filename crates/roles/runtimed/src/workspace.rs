//! Workspaces: `<workspace>/<uid>/work`, made anew for each attempt and removed after it.
//!
//! Every step is relative to an open directory and follows no symbolic link.

use crate::inputs::InputError;
use crate::shared::Shared;
use crate::source::{FetchError, Fetched, place};
use kruntimes_api::{Reason, Run, Share};
use kruntimes_daemon::{Layout, Spares, remove_tree};
use kruntimes_rules::artifact::InvalidArtifact;
use kruntimes_rules::run::env::EnvFailure;
use kruntimes_rules::source::{SourceError, git};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The working directory of a Run without a repository.
const WORK: &str = "work";
/// The file that `entrypoint` names when it is not given.
pub(crate) const DEFAULT_ENTRYPOINT: &str = "script";
/// What it leaves in here is kept.
const ARTIFACTS: &str = "artifacts";
/// Scripts up to this size are written without another thread.
const SMALL_SCRIPT_BYTES: usize = 64 * 1024;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why a workspace could not be made.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    #[error("entrypoint `{0}` must be a relative path without `..`")]
    Entrypoint(String),
    #[error(transparent)]
    Environment(#[from] EnvFailure),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("spec.workspaceGroup: the Run that holds the workspace is not on this pod any more")]
    Lost,
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

impl PrepareError {
    /// The reason of an attempt that ends with this.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Environment(failure) => failure.reason(),
            Self::Input(error) => error.reason(),
            Self::Lost => Reason::WorkspaceLost,
            Self::Entrypoint(_) | Self::Source(_) | Self::Fetch(_) | Self::Io { .. } => {
                Reason::PrepareSource
            }
        }
    }
}

fn io_error(what: &'static str) -> impl Fn(rustix::io::Errno) -> PrepareError {
    move |errno| PrepareError::Io { what, source: errno.into() }
}

/// The workspaces of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Workspaces {
    root: PathBuf,
    /// Whether a Run has a directory for artifacts.
    keeps: bool,
    spares: Arc<Spares>,
    pub(crate) shared: Shared,
}

/// Where a Run executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// UID of the Run whose workspace it is.
    owner: String,
    /// Its directory there.
    directory: &'static str,
    /// The file to execute: below that directory, or absolute where the script is not in it.
    pub(crate) entrypoint: String,
}

const BARE: Layout = Layout { mode: 0o755, inner: &[(WORK, 0o755)] };
const KEEPING: Layout = Layout { mode: 0o755, inner: &[(ARTIFACTS, 0o750), (WORK, 0o755)] };

impl Workspaces {
    pub(crate) fn new(root: PathBuf) -> Self {
        let spares = Arc::new(Spares::new(&root, BARE));
        Self { root, keeps: false, spares, shared: Shared::new() }
    }

    /// With a directory for artifacts in each of them, or without.
    pub(crate) fn keeping(self, keeps: bool) -> Self {
        let layout = if keeps { KEEPING } else { BARE };
        Self { keeps, spares: Arc::new(Spares::new(&self.root, layout)), ..self }
    }

    /// What the Run may leave files in, beside the working directory.
    pub(crate) fn artifacts(&self, uid: &str) -> Option<PathBuf> {
        self.keeps.then(|| self.root.join(uid).join(ARTIFACTS))
    }

    /// Opens it. A Run that removed it has left nothing.
    pub(crate) fn open_artifacts(&self, uid: &str) -> Result<Option<OwnedFd>, InvalidArtifact> {
        let opened =
            self.open(uid).and_then(|own| openat(own, ARTIFACTS, DIRECTORY, Mode::empty()));
        match opened {
            Ok(directory) => Ok(Some(directory)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                Err(InvalidArtifact::NoDirectory)
            }
            Err(errno) => Err(InvalidArtifact::Unreadable {
                path: "it".to_owned(),
                why: io::Error::from(errno).to_string(),
            }),
        }
    }

    /// Where a Run executes: in its repository, if it has one, or in the workspace that it shares.
    pub(crate) fn place(&self, uid: &str, run: &Run) -> Result<Place, PrepareError> {
        let inline = run.spec.source.as_ref().is_some_and(|source| source.inline.is_some());
        let default = if inline { DEFAULT_ENTRYPOINT } else { "" };
        let entrypoint = run.spec.entrypoint.as_deref().unwrap_or(default).to_owned();
        let (Share::Within(_), Some(key)) = (run.spec.share(), run.workspace_key()) else {
            return Ok(Place { owner: uid.to_owned(), directory: working(run), entrypoint });
        };
        let owner = self.shared.holder(&key).ok_or(PrepareError::Lost)?;
        // A script among the files of all would be in the way of `git clone`, and of the next one.
        let script = || self.root.join(uid).join(WORK).join(&entrypoint).display().to_string();
        let entrypoint = if inline { script() } else { entrypoint };
        Ok(Place { owner, directory: WORK, entrypoint })
    }

    /// The working directory.
    pub(crate) fn working_directory(&self, place: &Place) -> PathBuf {
        self.root.join(&place.owner).join(place.directory)
    }

    /// Opens it, once it is prepared.
    pub(crate) fn open_working(&self, place: &Place) -> Result<OwnedFd, PrepareError> {
        let own = self.open(&place.owner).map_err(io_error("open"))?;
        openat(own, place.directory, DIRECTORY, Mode::empty()).map_err(io_error("open"))
    }

    /// What the Run may write its outputs to, beside the working directory.
    pub(crate) fn outputs(&self, uid: &str) -> PathBuf {
        self.root.join(uid).join(crate::outputs::FILE)
    }

    /// The workspace, which is a directory of this pod and no link.
    pub(crate) fn open(&self, uid: &str) -> rustix::io::Result<OwnedFd> {
        let root =
            openat(rustix::fs::CWD, &self.root, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty())?;
        openat(&root, uid, DIRECTORY, Mode::empty())
    }

    /// Makes the workspace of `run` anew, with its source, which was fetched if it is a repository.
    pub(crate) fn prepare(
        &self,
        uid: &str,
        run: &Run,
        fetched: Option<Fetched>,
    ) -> Result<(), PrepareError> {
        let source = run.spec.source.as_ref();
        self.remove(uid).map_err(|source| PrepareError::Io { what: "mkdir", source })?;
        if let Some(fetched) = fetched {
            return self.prepare_repository(uid, &fetched);
        }
        let own = self.spares.take(uid).map_err(io_error("mkdir"))?;
        let work = openat(&own, WORK, DIRECTORY, Mode::empty()).map_err(io_error("mkdir"))?;
        if let Some(script) = source.and_then(|source| source.inline.as_deref()) {
            let entrypoint = run.spec.entrypoint.as_deref().unwrap_or(DEFAULT_ENTRYPOINT);
            write_script(work, entrypoint, script)?;
        }
        self.spares.seal(uid, &own);
        Ok(())
    }

    fn prepare_repository(&self, uid: &str, fetched: &Fetched) -> Result<(), PrepareError> {
        let root =
            openat(rustix::fs::CWD, &self.root, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty())
                .map_err(io_error("mkdir"))?;
        let own = make_directory(&root, uid)?;
        if self.keeps {
            mkdirat(&own, ARTIFACTS, Mode::from_raw_mode(0o750)).map_err(io_error("mkdir"))?;
        }
        place(&fetched.repository(), &own, git::DIRECTORY)
            .map_err(|source| PrepareError::Io { what: "git checkout", source })
    }

    /// The Runs that have one. What is not named as a UID is not ours.
    pub(crate) fn uids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| is_uid(name)).collect()
    }

    /// Whether making the workspace of a Run is but a few system calls: it needs no other thread.
    pub(crate) fn is_soon_made(&self, uid: &str, run: &Run) -> bool {
        let source = run.spec.source.as_ref();
        let small = run.spec.inputs.is_empty()
            && source.is_none_or(|source| {
                let inline = source.inline.as_ref().map_or(0, String::len);
                source.repo_url.is_none() && inline <= SMALL_SCRIPT_BYTES
            });
        let there = self.root.join(uid).symlink_metadata();
        small && there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Puts the workspace of a Run that left nothing in it aside, for another one. False: it is to be removed.
    pub(crate) fn put_aside(&self, uid: &str, run: &Run) -> bool {
        if let Share::Holds(_) = run.spec.share() {
            // Processes of others may still have it as their working directory.
            return false;
        }
        let inline = run.spec.source.as_ref().is_some_and(|source| source.inline.is_some());
        let entrypoint = run.spec.entrypoint.as_deref().unwrap_or(DEFAULT_ENTRYPOINT);
        self.spares.give_back(uid, inline.then_some((WORK, entrypoint)))
    }

    /// Removes the workspace, whatever the Run left in it.
    pub(crate) fn remove(&self, uid: &str) -> io::Result<()> {
        self.spares.forget(uid);
        remove_tree(&self.root.join(uid))
    }
}

/// The name of the working directory in a workspace.
fn working(run: &Run) -> &'static str {
    let source = run.spec.source.as_ref();
    if source.is_some_and(|source| source.repo_url.is_some()) { git::DIRECTORY } else { WORK }
}

/// As RFC 9562 writes them: 8-4-4-4-12 hexadecimal digits.
fn is_uid(name: &str) -> bool {
    let lengths = name.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12])
        && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Environment of an execution: the Run's own variables, then ours.
pub(crate) fn environment(
    own: &BTreeMap<String, String>,
    outputs: &Path,
    artifacts: Option<&Path>,
) -> HashMap<String, String> {
    let ours = [("KRUNTIME_OUTPUTS", Some(outputs)), ("KRUNTIME_ARTIFACTS_DIR", artifacts)];
    let ours = ours.into_iter().filter_map(|(name, path)| Some((name, path?)));
    let ours = ours.map(|(name, path)| (name.to_owned(), path.display().to_string()));
    own.clone().into_iter().chain(ours).collect()
}

fn make_directory(parent: &OwnedFd, name: &str) -> Result<OwnedFd, PrepareError> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(io_error("mkdir")(errno)),
    }
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(io_error("mkdir"))
}

fn write_script(work: OwnedFd, entrypoint: &str, script: &str) -> Result<(), PrepareError> {
    let wrong = || PrepareError::Entrypoint(entrypoint.to_owned());
    if entrypoint.starts_with('/') || entrypoint.contains('\0') {
        return Err(wrong());
    }
    let mut segments: Vec<&str> =
        entrypoint.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    let name = segments.pop().ok_or_else(wrong)?;
    if name == ".." || segments.contains(&"..") {
        return Err(wrong());
    }
    let mut directory = work;
    for segment in segments {
        directory = make_directory(&directory, segment)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&directory, name, flags, Mode::from_raw_mode(0o644))
        .map_err(io_error("write inline"))?;
    File::from(file)
        .write_all(script.as_bytes())
        .map_err(|source| PrepareError::Io { what: "write inline", source })
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
