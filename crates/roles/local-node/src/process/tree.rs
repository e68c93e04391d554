//! The process table, read from `/proc`, and which of its processes were left behind.

use std::collections::{BTreeMap, BTreeSet};

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
}

/// Every process that can be seen.
pub(super) fn read() -> Vec<Entry> {
    let Ok(directory) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = directory
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// A line of `/proc/<pid>/stat`. The command's name may hold any byte, so that its last `)` counts.
fn parse(stat: &[u8]) -> Option<Entry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, group })
}

/// All descendants of `roots`, without these.
pub(super) fn descendants(table: &[Entry], roots: &[i32]) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in table {
        children.entry(entry.parent).or_default().push(entry.pid);
    }
    let mut seen: BTreeSet<i32> = roots.iter().copied().collect();
    let mut queue = roots.to_vec();
    let mut found = Vec::new();
    while let Some(pid) = queue.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if seen.insert(*child) {
                found.push(*child);
                queue.push(*child);
            }
        }
    }
    found
}

/// Children of `me` that a container left behind: neither a container's own process, nor in the group of one that
/// lives, nor in this process's group, as all children are that other parts of this process start.
pub(super) fn orphans(table: &[Entry], me: Entry, containers: &BTreeSet<i32>) -> Vec<i32> {
    let children = table.iter().filter(|entry| entry.parent == me.pid);
    let left = children.filter(|entry| {
        !containers.contains(&entry.pid)
            && !containers.contains(&entry.group)
            && entry.group != me.group
    });
    left.map(|entry| entry.pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry((pid, parent, group): (i32, i32, i32)) -> Entry {
        Entry { pid, parent, group }
    }

    #[test]
    fn names_with_parentheses_and_spaces_do_not_confuse() {
        for (line, want) in [
            ("42 (bash) S 7 40 40 0 -1", Some((42, 7, 40))),
            ("42 (a) S 1 1 (b) R 7 40 40", Some((42, 7, 40))),
            ("42 (é\n) Z 7 40 40", Some((42, 7, 40))),
            ("42 bash S 7 40 40", None),
            ("", None),
        ] {
            assert_eq!(parse(line.as_bytes()), want.map(entry), "{line}");
        }
    }

    #[test]
    fn only_what_a_container_left_is_an_orphan() {
        let me = entry((10, 1, 10));
        let containers = BTreeSet::from([20, 30]);
        for (what, process, want) in [
            ("a container", (20, 10, 20), false),
            ("a daemon in the group of a living container", (21, 10, 20), false),
            ("another child of this process", (22, 10, 10), false),
            ("a process of a container that is gone", (23, 10, 19), true),
            ("a session that a Run made", (24, 10, 24), true),
            ("somebody else's child", (25, 1, 25), false),
        ] {
            let table = [me, entry(process)];
            assert_eq!(!orphans(&table, me, &containers).is_empty(), want, "{what}");
        }
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let table = [(2, 1, 2), (3, 2, 3), (4, 3, 3), (5, 1, 5), (6, 5, 5)].map(entry);
        let mut found = descendants(&table, &[2]);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(read().iter().any(|entry| entry.pid == me));
    }
}
