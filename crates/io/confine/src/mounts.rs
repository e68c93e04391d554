//! The table of mounts, and which paths lead to a place by another mount of its file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    /// Of the file system.
    device: String,
    /// What of the file system is seen.
    root: PathBuf,
    pub(crate) point: PathBuf,
    pub(crate) is_writable: bool,
}

/// The mounts that this process sees.
///
/// # Errors
/// The table can't be read.
pub(crate) fn table() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// What `/proc/self/mountinfo` holds; a line that can't be read is left out.
pub(crate) fn parse(table: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut words = line.split(' ');
        let id = words.next()?.parse().ok()?;
        let device = words.nth(1)?.to_owned();
        let root = PathBuf::from(unescape(words.next()?));
        let point = PathBuf::from(unescape(words.next()?));
        let is_writable = words.next()?.split(',').any(|option| option == "rw");
        Some(Mount { id, device, root, point, is_writable })
    };
    table.lines().filter_map(mount).collect()
}

/// Spaces, tabs, line ends and backslashes are octal there.
fn unescape(place: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(place.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// Where else than at `place`, which is a path without links in the mount `id`, it or a part of it may be met.
pub(crate) fn aliases(table: &[Mount], place: &Path, id: Option<u64>) -> Vec<PathBuf> {
    let holds = |mount: &&Mount| place.starts_with(&mount.point);
    let by_id = table.iter().filter(holds).find(|mount| Some(mount.id) == id);
    // Of those at one point the last is seen.
    let by_path = || table.iter().filter(holds).max_by_key(|it| it.point.as_os_str().len());
    let Some(own) = by_id.or_else(by_path) else { return Vec::new() };
    let Ok(below) = place.strip_prefix(&own.point) else { return Vec::new() };
    let inner = join(&own.root, below);
    let met = |mount: &Mount| match inner.strip_prefix(&mount.root) {
        Ok(rest) => Some(join(&mount.point, rest)),
        Err(_) => mount.root.starts_with(&inner).then(|| mount.point.clone()),
    };
    let same = table.iter().filter(|mount| mount.device == own.device);
    same.filter_map(met).filter(|path| !path.starts_with(place)).collect()
}

/// Without a slash at the end, which a path of nothing would leave.
fn join(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { base.to_owned() } else { base.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        21 20 0:5 / /proc rw - proc proc rw\n\
        22 20 8:1 / /sysroot ro,relatime - ext4 /dev/sda1 rw\n\
        23 20 8:1 /home/u/.krt/pods /with\\040space rw - ext4 /dev/sda1 rw\n\
        24 20 8:2 / /disk rw shared:7 - ext4 /dev/sda2 rw\n\
        25 20 8:2 /data /home/u/data rw - ext4 /dev/sda2 rw\n\
        26 20 8:1 /home /mnt/home rw - ext4 /dev/sda1 rw\n\
        27 20 8:1 /home/u/.krt/pods /home/u/.krt/again rw - ext4 /dev/sda1 rw\n\
        no line";

    fn check(place: &str, id: Option<u64>, expected: &[&str]) {
        let found = aliases(&parse(TABLE), Path::new(place), id);
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{place}");
    }

    #[test]
    fn a_place_is_met_wherever_its_file_system_is_mounted() {
        let expected = ["/sysroot/home/u/.krt", "/with space", "/mnt/home/u/.krt"];
        check("/home/u/.krt", None, &expected);
        check("/home/u/.krt", Some(20), &expected);
        check("/home/u/data/x", None, &["/disk/data/x"]);
        check("/disk/data/x", None, &["/home/u/data/x"]);
        check("/disk/other", None, &[]);
        // The mount that is named holds it, though another one with a longer path would seem to.
        check("/home/u/data/x", Some(20), &["/sysroot/home/u/data/x", "/mnt/home/u/data/x"]);
    }

    #[test]
    fn a_mount_of_its_own_is_met_where_it_is_mounted_too() {
        check("/disk", None, &["/home/u/data"]);
        check(
            "/with space",
            None,
            &[
                "/home/u/.krt/pods",
                "/sysroot/home/u/.krt/pods",
                "/mnt/home/u/.krt/pods",
                "/home/u/.krt/again",
            ],
        );
    }
}
