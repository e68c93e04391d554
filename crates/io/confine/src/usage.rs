//! What the descendants of this process are, and what they use on disk; their memory is in `memory`.

use crate::tree;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Bytes of a block in what `stat` says.
const BLOCK_BYTES: u64 = 512;
/// Directories within directories that are counted: each takes a descriptor meanwhile.
const DEPTH: usize = 256;

/// All descendants; without the kernel's lists of children by a look at all processes. It stops looking once there are
/// more than `enough`. One of them, `but`, is left out.
pub(crate) fn own_tree(enough: Option<u64>, but: Option<i32>) -> Vec<i32> {
    let enough = enough.and_then(|enough| usize::try_from(enough).ok()).unwrap_or(usize::MAX);
    let root = tree::own_pid();
    let Some(mut next) = children(root) else {
        let all = tree::descendant_pids(root).into_iter();
        return all.filter(|pid| Some(*pid) != but).collect();
    };
    let mut found = Vec::new();
    while let Some(pid) = next.pop() {
        if Some(pid) != but {
            found.push(pid);
        }
        if found.len() > enough {
            break;
        }
        // One that is gone has none.
        next.extend(children(pid).unwrap_or_default());
    }
    found
}

/// The children of a process; nothing where the kernel has no lists of them.
pub(crate) fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let list = fs::read_to_string(task.path().join("children")).ok()?;
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(found)
}

pub(crate) fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES
}

/// Bytes on disk below a directory, each file once; no link is followed and no other file system entered.
pub(crate) fn disk(place: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, place, flags, Mode::empty()) else { return 0 };
    let Ok(stat) = fstat(&root) else { return 0 };
    let mut linked = BTreeSet::new();
    let mut bytes = 0;
    let mut open: Vec<(OwnedFd, Vec<std::ffi::CString>)> = Vec::new();
    let mut enter = Some(root);
    loop {
        if let Some(directory) = enter.take() {
            let inner = count(&directory, stat.st_dev, &mut linked, &mut bytes);
            open.push((directory, inner));
        }
        let depth = open.len();
        let Some((directory, inner)) = open.last_mut() else { return bytes };
        match inner.pop() {
            Some(name) if depth < DEPTH => {
                enter = openat(directory.as_fd(), name, flags, Mode::empty()).ok();
            }
            Some(_) => {}
            None => drop(open.pop()),
        }
    }
}

/// Adds what lies in a directory; its directories are the answer.
fn count(
    directory: &OwnedFd,
    device: u64,
    linked: &mut BTreeSet<u64>,
    bytes: &mut u64,
) -> Vec<std::ffi::CString> {
    let mut inner = Vec::new();
    let Ok(entries) = Dir::read_from(directory) else { return inner };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != device {
            continue;
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory {
            inner.push(name.to_owned());
        }
        if is_directory || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
            *bytes += blocks(&stat);
        }
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_wherever_they_are_and_links_lead_nowhere() {
        let place = std::env::temp_dir().join(format!("kruntimes-usage-{}", std::process::id()));
        let deep = (0..20).fold(place.clone(), |path, _| path.join("d"));
        fs::create_dir_all(&deep).unwrap();
        let empty = disk(&place);
        fs::write(deep.join("file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(deep.join("file"), place.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", place.join("link")).unwrap();
        let full = disk(&place);
        assert!((1 << 20..(1 << 20) + 65_536).contains(&(full - empty)), "{empty} {full}");
        assert_eq!(disk(&place.join("link")), 0);
        assert_eq!(disk(&place.join("missing")), 0);
        fs::remove_dir_all(&place).unwrap();
    }
}
