//! What the descendants of this process use, by `/proc` and by the files themselves.

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

/// Bytes of memory: what processes share counts for each of them. Of `held`, which lives beside them, some may be mapped.
pub(crate) fn quick_memory(pids: &[i32], held: u64) -> u64 {
    let (mapped, shared) = pids.iter().map(|pid| resident(*pid)).fold((0, 0), add);
    mapped + shared.max(memory_files(pids) + held)
}

/// Bytes of memory, as [`quick_memory`] but that what processes share counts by their parts of it.
pub(crate) fn memory(pids: &[i32], held: u64) -> u64 {
    let part = |pid: &i32| proportional(*pid).unwrap_or_else(|| resident(*pid));
    let (mapped, shared) = pids.iter().map(part).fold((0, 0), add);
    mapped + shared.max(memory_files(pids) + held)
}

fn add(sum: (u64, u64), one: (u64, u64)) -> (u64, u64) {
    (sum.0 + one.0, sum.1 + one.1)
}

/// Anonymous and shared memory that is resident.
fn resident(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (field(&text, "RssAnon:").unwrap_or(0), field(&text, "RssShmem:").unwrap_or(0))
}

/// The process's part of both; nothing where the kernel does not tell.
fn proportional(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some((field(&text, "Pss_Anon:")?, field(&text, "Pss_Shmem:")?))
}

/// The bytes behind a name in a table of `name: n kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Bytes in files that are in memory alone, each file once.
fn memory_files(pids: &[i32]) -> u64 {
    open_files(pids, None, |target| target.starts_with("/memfd:"))
}

/// Bytes in open files that no directory names any more, each file once, but for those on the device `but`.
pub(crate) fn deleted_files(pids: &[i32], but: Option<u64>) -> u64 {
    open_files(pids, but, |target| target.ends_with(" (deleted)") && !target.starts_with("/memfd:"))
}

fn open_files(pids: &[i32], but: Option<u64>, counts: impl Fn(&str) -> bool) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for pid in pids {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if !fs::read_link(&path).is_ok_and(|target| counts(&target.to_string_lossy())) {
                continue;
            }
            let Ok(stat) = statat(CWD, &path, AtFlags::empty()) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && Some(stat.st_dev) != but
                && seen.insert((stat.st_dev, stat.st_ino))
            {
                bytes += blocks(&stat);
            }
        }
    }
    bytes
}

fn blocks(stat: &rustix::fs::Stat) -> u64 {
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
    use std::io::Write;

    #[test]
    fn a_field_is_found_in_bytes() {
        let text = "Name:\tRssAnon: 9 kB\nRssAnon:\t     123 kB\nRssShmem:\t0 kB\nOdd:\t1\n";
        assert_eq!(field(text, "RssAnon:"), Some(123 * 1024));
        assert_eq!(field(text, "RssShmem:"), Some(0));
        assert_eq!((field(text, "Odd:"), field(text, "None:")), (None, None));
    }

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
        let mut held = fs::File::create(place.join("held")).unwrap();
        held.write_all(&vec![1; 1 << 20]).unwrap();
        let me = [tree::own_pid()];
        let before = deleted_files(&me, None);
        fs::remove_file(place.join("held")).unwrap();
        assert!(deleted_files(&me, None) - before >= 1 << 20);
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn memory_of_a_process_is_what_it_touched() {
        let me = [tree::own_pid()];
        let before = memory(&me, 0);
        let touched = vec![1_u8; 32 << 20];
        let after = memory(&me, 0);
        assert!(after - before >= 31 << 20, "{before} {after} {}", touched.len());
        assert!(quick_memory(&me, 0) >= 32 << 20);
    }
}
