//! A hostile tree, walked from an open directory: in the order of the names, through no link, within limits.

use kruntimes_api::limits;
use kruntimes_rules::artifact::{InvalidArtifact, check_name, shown};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::fs::File;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What is left to be walked.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) files: usize,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { files: limits::ARTIFACT_FILES }
    }

    /// The names in a directory. They count here already: those of all directories that are open are in memory at once.
    fn names(&mut self, directory: &OwnedFd, path: &str) -> Result<Vec<String>, InvalidArtifact> {
        let names = names(directory, path, self.files, &InvalidArtifact::TooManyFiles)?;
        self.files -= names.len();
        Ok(names)
    }
}

/// Something in a directory that may be kept.
#[derive(Debug)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// One step of a walk: a directory before what is in it.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// Below the root of the walk, with `/` between.
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    pub(crate) parent: &'a OwnedFd,
    pub(crate) stat: &'a Stat,
    pub(crate) kind: Kind,
}

/// The names in a directory, sorted; more than `most` of them are `too_many`.
pub(crate) fn names(
    directory: &OwnedFd,
    path: &str,
    most: usize,
    too_many: &InvalidArtifact,
) -> Result<Vec<String>, InvalidArtifact> {
    let unreadable = |errno: Errno| unreadable(path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if names.len() == most {
            return Err(too_many.clone());
        }
        names.push(check_name(name)?.to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// What stands there, if it may be kept.
pub(crate) fn look(
    parent: &OwnedFd,
    name: &str,
    path: &str,
) -> Result<(Kind, Stat), InvalidArtifact> {
    let stat =
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| unreadable(path, errno))?;
    Ok((kind(&stat, path)?, stat))
}

/// Opens a directory that is one.
pub(crate) fn open_directory(
    parent: impl AsFd,
    name: &str,
    path: &str,
) -> Result<OwnedFd, InvalidArtifact> {
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => InvalidArtifact::Changed(label(path)),
        errno => unreadable(path, errno),
    })
}

/// Opens a file that is one, and says how long it is.
pub(crate) fn open_file(
    parent: &OwnedFd,
    name: &str,
    path: &str,
) -> Result<(File, Stat), InvalidArtifact> {
    let file = openat(parent, name, FILE, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP | Errno::NXIO => InvalidArtifact::Changed(label(path)),
        errno => unreadable(path, errno),
    })?;
    let stat = fstat(&file).map_err(|errno| unreadable(path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(InvalidArtifact::Changed(label(path)));
    }
    Ok((File::from(file), stat))
}

/// Walks all below `root`, whose own path is `path`.
pub(crate) fn walk<E: From<InvalidArtifact>>(
    root: OwnedFd,
    path: &str,
    budget: &mut Budget,
    mut visit: impl FnMut(Step<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let first = budget.names(&root, path)?;
    let mut open = vec![(root, String::new(), first.into_iter())];
    while let Some((parent, prefix, rest)) = open.last_mut() {
        let Some(name) = rest.next() else {
            open.pop();
            continue;
        };
        let below = format!("{prefix}{name}");
        let shown = format!("{path}/{below}");
        let (kind, stat) = look(parent, &name, &shown)?;
        let inner = match kind {
            Kind::Directory => Some(open_directory(&*parent, &name, &shown)?),
            Kind::File => None,
        };
        visit(Step { path: &below, name: &name, parent, stat: &stat, kind })?;
        if let Some(inner) = inner {
            if open.len() == limits::ARTIFACT_DEPTH {
                return Err(InvalidArtifact::TooDeep(label(&shown)).into());
            }
            let names = budget.names(&inner, &shown)?;
            open.push((inner, format!("{below}/"), names.into_iter()));
        }
    }
    Ok(())
}

fn kind(stat: &Stat, path: &str) -> Result<Kind, InvalidArtifact> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(Kind::File),
        FileType::Directory => return Ok(Kind::Directory),
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    };
    Err(InvalidArtifact::Kind { path: label(path), kind })
}

pub(crate) fn unreadable(path: &str, errno: Errno) -> InvalidArtifact {
    let why = std::io::Error::from(errno).to_string();
    InvalidArtifact::Unreadable { path: label(path), why }
}

/// A path as messages show it.
pub(crate) fn label(path: &str) -> String {
    shown(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_when_they_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let deeper = root.path().join("a/a");
        std::fs::create_dir_all(&deeper).unwrap();
        for directory in [root.path().to_owned(), root.path().join("a"), deeper] {
            for number in 0..3 {
                std::fs::write(directory.join(format!("b{number}")), "").unwrap();
            }
        }
        // 4 + 4 + 3 names.
        for (files, visited) in [(11, Some(11)), (10, None)] {
            let mut seen = 0;
            let open = File::open(root.path()).unwrap().into();
            let walked =
                walk(open, "x", &mut Budget { files }, |_| -> Result<(), InvalidArtifact> {
                    seen += 1;
                    Ok(())
                });
            match visited {
                Some(all) => assert_eq!((walked, seen), (Ok(()), all)),
                None => assert_eq!((walked, seen), (Err(InvalidArtifact::TooManyFiles), 2)),
            }
        }
    }
}
