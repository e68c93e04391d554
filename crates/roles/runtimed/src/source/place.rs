//! Puts a fetched source into a workspace: moved where both are on one file system, else copied.
//!
//! Other Runs of the pod may write there meanwhile: every step is relative to an open directory, follows no symbolic
//! link and writes only to what it has made itself.

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, readlinkat, renameat, statat,
    symlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Puts the directory at `from` into `into` as `name`, which must not exist there.
pub(crate) fn place(from: &Path, into: &OwnedFd, name: &str) -> io::Result<()> {
    match renameat(CWD, from, into, name) {
        Err(Errno::XDEV) => copy(from, into, name),
        moved => Ok(moved?),
    }
}

fn copy(from: &Path, into: &OwnedFd, name: &str) -> io::Result<()> {
    let from = openat(CWD, from, DIRECTORY, Mode::empty())?;
    mkdirat(into, name, Mode::from_raw_mode(0o755))?;
    copy_entries(&from, &openat(into, name, DIRECTORY, Mode::empty())?)
}

/// The depth of a source is bounded by `limits::SOURCE_DEPTH`.
fn copy_entries(from: &OwnedFd, into: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(into, name, mode)?;
                let from = openat(from, name, DIRECTORY, Mode::empty())?;
                copy_entries(&from, &openat(into, name, DIRECTORY, Mode::empty())?)?;
            }
            FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, into, name)?,
            FileType::RegularFile => copy_file(from, into, name, mode)?,
            // git makes nothing else.
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {}
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, into: &OwnedFd, name: &CStr, mode: Mode) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, read, Mode::empty())?);
    let mut target = File::from(openat(into, name, write, mode)?);
    io::copy(&mut source, &mut target).map(drop)
}

/// The bytes of all regular files below `path`, which may be missing; none above the limit.
pub(super) fn size(path: &Path, limit: u64) -> io::Result<Option<u64>> {
    let mut left = limit;
    if !path.exists() {
        return Ok(Some(0));
    }
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                match left.checked_sub(metadata.len()) {
                    Some(rest) => left = rest,
                    None => return Ok(None),
                }
            }
        }
    }
    Ok(Some(limit - left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_copy_has_files_modes_links_and_directories() {
        let root = crate::testing::directory("source-place");
        let from = root.join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/script"), "echo").unwrap();
        fs::set_permissions(from.join("a/b/script"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/etc/passwd", from.join("a/link")).unwrap();
        fs::write(root.join("outside"), "stays").unwrap();
        fs::create_dir(root.join("into")).unwrap();
        let into = openat(CWD, root.join("into"), DIRECTORY, Mode::empty()).unwrap();
        copy(&from, &into, "repo").unwrap();
        let copied = root.join("into/repo");
        assert_eq!(fs::read_to_string(copied.join("a/b/script")).unwrap(), "echo");
        let mode = fs::metadata(copied.join("a/b/script")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(fs::read_link(copied.join("a/link")).unwrap(), Path::new("/etc/passwd"));
        // Nothing that stands there already is written to, nor any link followed.
        symlink(&root, root.join("into/link")).unwrap();
        assert!(copy(&from, &into, "link").is_err());
        assert!(copy(&from, &into, "repo").is_err());
        assert!(!root.join("a").exists());
        place(&from, &into, "moved").unwrap();
        assert!(root.join("into/moved/a/b/script").exists() && !from.exists());
    }

    #[test]
    fn a_size_is_of_regular_files_and_ends_at_its_limit() {
        let root = crate::testing::directory("source-size");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/x"), "12345").unwrap();
        fs::write(root.join("y"), "123").unwrap();
        symlink("a/x", root.join("z")).unwrap();
        assert_eq!(size(&root, 8).unwrap(), Some(8));
        assert_eq!(size(&root, 7).unwrap(), None);
    }
}
