//! The files that a Run may use, as Landlock rules: prepared once for a server, completed for each Run.
//!
//! Landlock only grants. So everything below `/` is granted for reading, piece by piece, except what no Run may enter: the
//! walk goes down only where such a place lies, and what holds one can't be listed. Of `/proc` a Run gets what is about
//! the machine and about its own main process, of `/dev` what is everybody's.
//!
//! Invariant: nothing is granted that holds a hidden place at any of its paths. A grant is of a directory, not of a name: met
//! by another mount, it holds what is mounted there.

use crate::hidden::{self, Hidden, Identity};
use crate::mounts::{self, Mount};
use crate::sys::{self, Rights};
use crate::{Network, landlock_abi};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Pieces of the machine's files that are granted at most. A directory whose pieces are more stays closed.
const MAX_RULES: usize = 4096;
/// Directories that are looked into for them.
const MAX_DIRECTORIES: usize = 4096;

/// Never part of the image, or shared by all who have the same user.
const CLOSED: &[&str] = &["/proc", "/dev", "/tmp", "/var/tmp"];
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const OF_THE_MACHINE: &[&str] = &[
    "cmdline",
    "cpuinfo",
    "devices",
    "diskstats",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "sys",
    "uptime",
    "version",
    "vmstat",
];
/// Files that the container engine mounts for every container, writable.
const OF_THE_ENGINE: &[&str] = &["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Which mounts are volumes that the pool's owner has mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// Those of this container: writable if mounted so.
    Volumes,
    /// None: this is a machine.
    Machine,
}

/// What every Run of a server may use.
#[derive(Debug)]
pub struct Files {
    abi: u32,
    rules: Vec<(OwnedFd, Rights)>,
    volumes: Vec<PathBuf>,
}

/// What is not granted.
struct Closed {
    places: BTreeSet<PathBuf>,
    /// Those, by whichever path.
    hidden: BTreeSet<Identity>,
    common: BTreeSet<Identity>,
    /// What holds one of them, by whichever path.
    above: BTreeSet<Identity>,
}

impl Closed {
    fn new(hidden: &Hidden) -> Self {
        let identities = |places: &BTreeSet<PathBuf>| {
            places.iter().filter_map(|place| hidden::identity(place)).collect()
        };
        let common: BTreeSet<PathBuf> = CLOSED.iter().map(PathBuf::from).collect();
        let places: BTreeSet<PathBuf> = common.union(hidden.places()).cloned().collect();
        let above = places.iter().flat_map(|place| place.ancestors().skip(1));
        Self {
            hidden: identities(hidden.places()),
            common: identities(&common),
            above: above.filter_map(hidden::identity).collect(),
            places,
        }
    }

    fn refuses(&self, path: &Path) -> bool {
        let is_refused = |it| self.hidden.contains(&it) || self.common.contains(&it);
        self.places.contains(path) || hidden::identity(path).is_some_and(is_refused)
    }
}

impl Files {
    /// Grants all but `hidden` and what lies below it; nothing where the kernel has no Landlock.
    ///
    /// # Errors
    /// The root directory can't be read.
    pub fn new(hidden: &Hidden, mounts: Mounts) -> io::Result<Option<Self>> {
        let Ok(abi) = landlock_abi() else { return Ok(None) };
        let closed = Closed::new(hidden);
        let mut files = Self { abi, rules: Vec::new(), volumes: Vec::new() };
        files.grant_tree(&closed)?;
        for name in OF_THE_MACHINE {
            files.grant(&Path::new("/proc").join(name), Rights::READ, &closed);
        }
        for name in DEVICES {
            files.grant(&Path::new("/dev").join(name), Rights::DEVICE, &closed);
        }
        if mounts == Mounts::Volumes {
            let table = mounts::table()?;
            files.volumes = volumes(&table, &closed.places);
            for mount in files.volumes.clone() {
                files.grant(&mount, Rights::OWN, &closed);
            }
        }
        Ok(Some(files))
    }

    /// The rules for one Run, which may also do what it likes below `own`.
    ///
    /// # Errors
    /// A path of `own` is there and can't be opened, or descriptors or memory are missing.
    pub fn ruleset(&self, own: &[&Path], network: Network) -> io::Result<OwnedFd> {
        let ruleset = sys::make_ruleset(self.abi, network)?;
        for (path, rights) in &self.rules {
            sys::add_rule(ruleset.as_fd(), path.as_fd(), *rights, self.abi)?;
        }
        for path in own {
            match open(path) {
                Ok(path) => sys::add_rule(ruleset.as_fd(), path.as_fd(), Rights::OWN, self.abi)?,
                // What is not there needs no rule; who needs it says so better.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ruleset)
    }

    /// Has a Run list every directory that it sees: for one that does not see what is hidden.
    ///
    /// # Errors
    /// The root directory can't be opened, or memory is missing.
    pub fn grant_lists(&self, ruleset: &OwnedFd) -> io::Result<()> {
        sys::add_rule(ruleset.as_fd(), open(Path::new("/"))?.as_fd(), Rights::LIST, self.abi)
    }

    /// The mounts that the pool's owner has asked for, which every Run may use.
    #[must_use]
    pub fn volumes(&self) -> &[PathBuf] {
        &self.volumes
    }

    fn grant_tree(&mut self, closed: &Closed) -> io::Result<()> {
        let root = Path::new("/");
        let mut inner = vec![root.to_owned()];
        for _ in 0..MAX_DIRECTORIES {
            let Some(directory) = inner.pop() else { break };
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if directory == root => return Err(error),
                // What this user can't list he can't read either.
                Err(_) => continue,
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                if closed.refuses(&path) {
                    continue;
                }
                // Also when it holds that at another path of its own, where the grant would hold too.
                let is_above = hidden::identity(&path).is_some_and(|it| closed.above.contains(&it));
                if is_above { inner.push(path) } else { self.grant(&path, Rights::READ, closed) }
            }
        }
        Ok(())
    }

    /// Grants `path` if it is there; a link grants nothing, since what it leads to is met by the walk.
    fn grant(&mut self, path: &Path, rights: Rights, closed: &Closed) {
        if self.rules.len() >= MAX_RULES {
            return;
        }
        let Ok(file) = open(path) else { return };
        let Ok(stat) = rustix::fs::fstat(&file) else { return };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let rights = if kind == FileType::Directory { rights } else { rights.of_file() };
        let identity = (stat.st_dev, stat.st_ino);
        let is_closed = closed.above.contains(&identity) || closed.hidden.contains(&identity);
        if kind != FileType::Symlink && !is_closed {
            self.rules.push((file, rights));
        }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// The writable mounts that a pool's owner may have asked for.
fn volumes(table: &[Mount], closed: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_volume = |path: &Path| {
        let engines = OF_THE_ENGINE.iter().any(|file| path == Path::new(file));
        let hidden = closed
            .iter()
            .filter(|closed| *closed != Path::new("/tmp") && *closed != Path::new("/var/tmp"))
            .any(|closed| path.starts_with(closed) || closed.starts_with(path));
        !engines && !hidden && !path.starts_with("/sys")
    };
    let writable = table.iter().filter(|mount| mount.is_writable).map(|mount| mount.point.clone());
    writable.filter(|path| is_volume(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_the_writable_mounts_of_the_pools_owner() {
        let table = "\
            1 0 0:1 / / rw,relatime - overlay overlay rw\n\
            2 1 0:2 / /proc rw,nosuid - proc proc rw\n\
            3 1 0:3 / /dev/shm rw - tmpfs shm rw\n\
            4 1 8:1 /a /data rw,relatime shared:1 - ext4 /dev/sda rw\n\
            5 1 8:1 /b /models ro,relatime - ext4 /dev/sda rw\n\
            6 1 8:1 /c /with\\040space rw - ext4 /dev/sda rw\n\
            7 1 8:1 /d /etc/hosts rw - ext4 /dev/sda rw\n\
            8 1 8:1 /e /workspace rw - ext4 /dev/sda rw\n\
            9 1 8:1 /f /workspace/sub rw - ext4 /dev/sda rw\n\
            10 1 8:1 /g /tmp rw - tmpfs tmpfs rw\n\
            11 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let closed = ["/proc", "/dev", "/tmp", "/workspace"].map(PathBuf::from).into();
        let expected = ["/data", "/with space", "/tmp"].map(PathBuf::from);
        assert_eq!(volumes(&mounts::parse(table), &closed), expected);
    }
}
