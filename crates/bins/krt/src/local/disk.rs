//! Bytes on the disk: what a directory uses, and what is free where it is.

use rustix::fs::statvfs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of one block in `st_blocks`.
const BLOCK: u64 = 512;

/// Bytes that a file or a directory with all that is in it uses; what can't be read counts as nothing.
pub(crate) fn used(path: &Path) -> u64 {
    let mut stack = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(next) = stack.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&next) else { continue };
        bytes += metadata.blocks() * BLOCK;
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&next).into_iter().flatten().flatten();
            stack.extend(entries.map(|entry| entry.path()));
        }
    }
    bytes
}

/// Bytes that this user may still write on the file system of `path`, or of the nearest directory above that exists.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let found = statvfs(existing).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// For people: `512 KiB`, `1.2 GiB`.
pub(crate) fn show(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    match (tenths / 10, tenths % 10) {
        (whole, part) if whole < 10 && part > 0 => format!("{whole}.{part} {}", units[unit]),
        (whole, _) => format!("{whole} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (512 * 1024, "512 KiB"),
            (1_300_000, "1.2 MiB"),
            (12 << 30, "12 GiB"),
            (u64::MAX, "1677721 TiB"),
        ] {
            assert_eq!(show(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn a_directory_uses_what_its_files_use() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let before = used(dir.path());
        std::fs::write(dir.path().join("a/b"), vec![1; 1 << 20]).unwrap();
        assert!(used(dir.path()) >= before + (1 << 20));
        assert!(free(&dir.path().join("not/there")).unwrap() > 0);
    }
}
