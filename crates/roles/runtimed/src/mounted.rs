//! The Secrets and ConfigMaps that Runs of this pod may use: `<sources>/{secrets,configmaps}/<name>`, read anew for
//! each attempt.
//!
//! A directory that is there says that the name is allowed. Its content is as the kubelet writes it: `..data` is a
//! symbolic link to a directory with one file a key, replaced by a rename. Invariants: the keys of one object come from
//! one version of it; what is read is bounded; no content is logged.

use kruntimes_api::{Run, SourceKind};
use kruntimes_rules::run::env::{self, EnvFailure, Found, Reference};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// The link to the newest version.
const NEWEST: &str = "..data";
/// Readings of one object that meet a new version before it is given up.
const TRIES: usize = 16;

/// What this pod was given.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    root: PathBuf,
}

/// The keys of one object, with what was found.
type Keys = BTreeMap<Reference, Found>;

impl Mounted {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The variables of an attempt of `run`.
    pub(crate) fn environment(&self, run: &Run) -> Result<BTreeMap<String, String>, EnvFailure> {
        let mut objects: BTreeMap<(SourceKind, String), Vec<Reference>> = BTreeMap::new();
        for reference in env::references(run)? {
            objects.entry((reference.kind, reference.name.clone())).or_default().push(reference);
        }
        let mut found = BTreeMap::new();
        let mut left_bytes = env::READ_TOTAL_BYTES;
        for ((kind, name), wanted) in objects {
            let keys = self.object(kind, &name, &wanted);
            let bytes = keys.values().map(length).sum();
            left_bytes = left_bytes.checked_sub(bytes).ok_or(EnvFailure::Total)?;
            found.extend(keys);
        }
        env::resolve(run, &found)
    }

    fn object(&self, kind: SourceKind, name: &str, wanted: &[Reference]) -> Keys {
        let all = |found: &Found| wanted.iter().map(|key| (key.clone(), found.clone())).collect();
        let path = self.root.join(kind.directory()).join(name);
        let directory = match openat(rustix::fs::CWD, &path, DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return all(&Found::NotAllowed),
            Err(errno) => return all(&unreadable(errno)),
        };
        for _ in 0..TRIES {
            match version(&directory, wanted) {
                Ok(Some(keys)) => return keys,
                Ok(None) => {}
                Err(errno) => return all(&unreadable(errno)),
            }
        }
        all(&Found::Unreadable("it changes faster than it can be read".to_owned()))
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The keys in the newest version; none when another one came meanwhile.
fn version(directory: &OwnedFd, wanted: &[Reference]) -> Result<Option<Keys>, Errno> {
    let missing = || wanted.iter().map(|key| (key.clone(), Found::Missing)).collect();
    let Some(before) = newest(directory)? else { return Ok(Some(missing())) };
    let opened = match openat(directory, before.as_c_str(), DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let mut left_bytes = env::READ_TOTAL_BYTES;
    let mut keys = Keys::new();
    for reference in wanted {
        let found = key(&opened, &reference.key, left_bytes);
        left_bytes = left_bytes.saturating_sub(length(&found));
        keys.insert(reference.clone(), found);
    }
    Ok((newest(directory)?.as_ref() == Some(&before)).then_some(keys))
}

fn newest(directory: &OwnedFd) -> Result<Option<CString>, Errno> {
    match readlinkat(directory, NEWEST, Vec::new()) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn key(directory: &OwnedFd, name: &str, left_bytes: usize) -> Found {
    // A pipe in place of a file must not hold the attempt up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Found::Missing,
        Err(errno) => return unreadable(errno),
    };
    match fstat(&file) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {}
        Ok(_) => return Found::Unreadable("it is no regular file".to_owned()),
        Err(errno) => return unreadable(errno),
    }
    let limit = env::READ_LIMIT_BYTES.min(left_bytes);
    let mut content = Vec::new();
    match File::from(file).take(limit as u64 + 1).read_to_end(&mut content) {
        Ok(length) if length > env::READ_LIMIT_BYTES => Found::TooLong,
        Ok(_) => Found::Value(content),
        Err(error) => Found::Unreadable(error.to_string()),
    }
}

fn length(found: &Found) -> usize {
    match found {
        Found::Value(content) => content.len(),
        Found::NotAllowed | Found::Missing | Found::TooLong | Found::Unreadable(_) => 0,
    }
}

fn unreadable(errno: Errno) -> Found {
    Found::Unreadable(std::io::Error::from(errno).to_string())
}

#[cfg(test)]
#[path = "mounted_tests.rs"]
mod tests;
