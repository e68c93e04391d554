//! What processes use of memory, and what the files take that they hold open, by `/proc`.
//!
//! Nothing that can't be read counts as nothing in silence: who hides from a look is said to.
//!
//! Invariant: a sum is never less than what is used of what was seen.

use crate::usage::blocks;
use rustix::fs::{AtFlags, CWD, FileType, statat};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

/// Open descriptors that one look takes in.
const DESCRIPTORS: usize = 256 * 1024;
/// How long a look may ask who shares what; the rest counts as shared with nobody.
const SHARING_TIME: Duration = Duration::from_secs(1);

/// A process that lives.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its directory in `/proc`; that of another thread if the first has ended.
    at: String,
    /// Resident bytes.
    anonymous: u64,
    shared: u64,
    /// Whether its user is this process's, so that only hiding keeps this one from looking.
    is_own: bool,
}

/// The files that processes hold open, each once.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Bytes of those that are in memory alone.
    pub(crate) memory: u64,
    /// Bytes of those that no directory names any more, but for the former.
    pub(crate) deleted: u64,
    in_memory: BTreeSet<(u64, u64)>,
    /// Whether no process was hidden, no descriptor on its way and all could be taken in.
    pub(crate) is_whole: bool,
}

/// Memory that lives beside the processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) bytes: u64,
    /// Of the files among it.
    pub(crate) device: Option<u64>,
    /// Whether System V's is part of it.
    pub(crate) has_ipc: bool,
}

/// Those of `pids` that live.
pub(crate) fn processes(pids: &[i32]) -> Vec<Process> {
    pids.iter().filter_map(|pid| process(*pid)).collect()
}

fn process(pid: i32) -> Option<Process> {
    let at = format!("/proc/{pid}");
    let tasks = || {
        let tasks = fs::read_dir(format!("{at}/task")).into_iter().flatten().flatten();
        tasks.filter_map(|task| task.path().into_os_string().into_string().ok())
    };
    // The first thread may have ended before the others, with all that is said of it.
    read(at.clone()).or_else(|| tasks().find_map(read))
}

fn read(at: String) -> Option<Process> {
    let text = fs::read_to_string(format!("{at}/status")).ok()?;
    let word = |name: &str, index: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(index)
    };
    if matches!(word("State:", 0), None | Some("Z" | "X")) {
        return None;
    }
    let own = rustix::process::geteuid().as_raw().to_string();
    let is_own = word("Uid:", 1) == Some(&own);
    let bytes = |name| field(&text, name).unwrap_or(0);
    Some(Process { is_own, anonymous: bytes("RssAnon:"), shared: bytes("RssShmem:"), at })
}

/// Bytes of memory at most: what processes share counts for each of them, what is mapped of files also with the files.
pub(crate) fn at_most(processes: &[Process], files: &Files, held: Held) -> u64 {
    let mapped: u64 = processes.iter().map(|it| it.anonymous + it.shared).sum();
    mapped + files.memory + held.bytes
}

/// Bytes of memory: what processes share counts by their parts of it, what is mapped of files with the files.
pub(crate) fn exactly(processes: &[Process], files: &Files, held: Held) -> u64 {
    let until = Instant::now() + SHARING_TIME;
    let part = |it: &Process| {
        let all = it.anonymous + it.shared;
        if Instant::now() > until { all } else { proportional(&it.at, files, held).unwrap_or(all) }
    };
    processes.iter().map(part).sum::<u64>() + files.memory + held.bytes
}

/// The process's part of both kinds, but for the files that count already; nothing where the kernel does not tell.
fn proportional(at: &str, files: &Files, held: Held) -> Option<u64> {
    let text = fs::read_to_string(format!("{at}/smaps_rollup")).ok()?;
    let (anonymous, shared) = (field(&text, "Pss_Anon:")?, field(&text, "Pss_Shmem:")?);
    let counted = if shared > 0 && files.memory + held.bytes > 0 {
        fs::File::open(format!("{at}/smaps"))
            .and_then(|file| counted(BufReader::new(file), files, held))
            .unwrap_or(0)
    } else {
        0
    };
    Some(anonymous + shared.saturating_sub(counted))
}

/// Bytes of the mappings of files that count already.
fn counted(table: impl BufRead, files: &Files, held: Held) -> io::Result<u64> {
    let (mut is_counted, mut part, mut bytes) = (false, 0, 0_u64);
    for line in table.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match line.split_ascii_whitespace().next() {
            Some("Pss:") if is_counted => part = field(&line, "Pss:").unwrap_or(0),
            // Pages of its own in such a mapping are no part of the file.
            Some("Anonymous:") if is_counted => {
                bytes += part.saturating_sub(field(&line, "Anonymous:").unwrap_or(u64::MAX));
            }
            Some(word) if !word.ends_with(':') => is_counted = is_of(&line, files, held),
            Some(_) | None => {}
        }
    }
    Ok(bytes)
}

/// Whether the mapping that this line begins is of a file that counts already.
fn is_of(line: &str, files: &Files, held: Held) -> bool {
    let mut words = line.split_ascii_whitespace().skip(3);
    let device = words.next().and_then(|word| {
        let (major, minor) = word.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(rustix::fs::makedev(number(major)?, number(minor)?))
    });
    let inode = words.next().and_then(|word| word.parse().ok());
    let (Some(device), Some(inode)) = (device, inode) else { return false };
    let is_ipc = held.has_ipc && words.next().is_some_and(|name| name.starts_with("/SYSV"));
    files.in_memory.contains(&(device, inode)) || held.device == Some(device) || is_ipc
}

/// The bytes behind a name in a table of `name: n kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The open files of these, but for those on the device `but`.
pub(crate) fn files(processes: &[Process], but: Option<u64>) -> Files {
    let mut files = Files { is_whole: true, ..Files::default() };
    let mut deleted = BTreeSet::new();
    let mut left = DESCRIPTORS;
    for process in processes {
        let entries = match fs::read_dir(format!("{}/fd", process.at)) {
            Ok(entries) => entries,
            Err(error) => {
                let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
                files.is_whole &= !(is_refused && process.is_own);
                continue;
            }
        };
        for entry in entries.flatten() {
            if left == 0 {
                files.is_whole = false;
                return files;
            }
            left -= 1;
            let path = entry.path();
            let Ok(target) = fs::read_link(&path) else { continue };
            let target = target.to_string_lossy();
            if target.starts_with("socket:") {
                let info = Path::new(&process.at).join("fdinfo").join(entry.file_name());
                files.is_whole &= !sends_descriptors(&info);
            }
            if !target.ends_with(" (deleted)") {
                continue;
            }
            let Ok(stat) = statat(CWD, &path, AtFlags::empty()) else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let identity = (stat.st_dev, stat.st_ino);
            if target.starts_with("/memfd:") {
                let is_new = files.in_memory.insert(identity);
                files.memory += if is_new { blocks(&stat) } else { 0 };
            } else if Some(stat.st_dev) != but && deleted.insert(identity) {
                files.deleted += blocks(&stat);
            }
        }
    }
    files
}

/// Whether descriptors lie in this socket that nobody has received.
fn sends_descriptors(info: &Path) -> bool {
    let Ok(text) = fs::read_to_string(info) else { return false };
    let count = text.lines().find_map(|line| line.strip_prefix("scm_fds:"));
    count.is_some_and(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;
    use std::io::Write;

    fn me() -> Vec<Process> {
        processes(&[tree::own_pid()])
    }

    #[test]
    fn a_field_is_found() {
        let text = "Name:\tRssAnon: 9 kB\nRssAnon:\t     123 kB\nRssShmem:\t0 kB\nOdd:\t1\n";
        assert_eq!(field(text, "RssAnon:"), Some(123 * 1024));
        assert_eq!(field(text, "RssShmem:"), Some(0));
        assert_eq!((field(text, "Odd:"), field(text, "None:")), (None, None));
    }

    #[test]
    fn memory_of_a_process_is_what_it_touched() {
        let none = Files::default();
        let before = exactly(&me(), &none, Held::default());
        let touched = vec![1_u8; 32 << 20];
        let after = exactly(&me(), &none, Held::default());
        assert!(after - before >= 31 << 20, "{before} {after} {}", touched.len());
        assert!(at_most(&me(), &none, Held::default()) >= 32 << 20);
        let held = Held { bytes: 1 << 40, ..Held::default() };
        assert!(exactly(&me(), &none, held) >= 1 << 40);
    }

    #[test]
    fn deleted_files_that_are_open_count_once() {
        let place = std::env::temp_dir().join(format!("kruntimes-memory-{}", tree::own_pid()));
        let mut held = fs::File::create(&place).unwrap();
        held.write_all(&vec![1; 1 << 20]).unwrap();
        let before = files(&me(), None);
        fs::remove_file(&place).unwrap();
        let again = held.try_clone().unwrap();
        let after = files(&me(), None);
        assert!((1 << 20..2 << 20).contains(&(after.deleted - before.deleted)), "{after:?}");
        let device = rustix::fs::fstat(&again).unwrap().st_dev;
        assert_eq!(files(&me(), Some(device)).deleted, 0);
    }

    #[test]
    fn mappings_of_files_that_count_already_are_told_from_others() {
        let of = |device: u32, inode: u64, name: &str, pss: u64, anonymous: u64| {
            format!(
                "7f00-7f01 rw-s 00000000 00:{device:02x} {inode}    {name}\nSize: 99 kB\nPss: {pss} kB\nPss_Dirty: 77 kB\n\
                 Anonymous: {anonymous} kB\nVmFlags: rd wr\n"
            )
        };
        let table = of(1, 7, "/memfd:x (deleted)", 8, 0)
            + &of(1, 8, "/memfd:y (deleted)", 16, 0)
            + &of(1, 9, "/dev/zero (deleted)", 32, 0)
            + &of(0x1b, 7, "/dev/shm/file", 64, 24)
            + &of(1, 5, "/SYSV00000000 (deleted)", 128, 0);
        let device = |minor| rustix::fs::makedev(0, minor);
        let files = Files { in_memory: [(device(1), 7)].into(), ..Files::default() };
        let check = |device, has_ipc, kib: u64| {
            let held = Held { device, has_ipc, bytes: 0 };
            assert_eq!(counted(table.as_bytes(), &files, held).unwrap(), kib * 1024);
        };
        check(None, false, 8);
        check(Some(device(0x1b)), false, 8 + 40);
        check(Some(device(0x1b)), true, 8 + 40 + 128);
    }
}
