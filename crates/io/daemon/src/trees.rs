//! Directories that hostile work has written to, and their removal.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a directory and all below it, directories that their owner may not enter included; one that is not there is
/// removed already. No link is followed.
///
/// # Errors
/// What still resists once every directory is open to this user.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if remove(path).is_ok() {
        return Ok(());
    }
    open_up(path);
    remove(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives every directory back to its owner. One at a time is open, however deep they stand in each other.
fn open_up(root: &Path) {
    if !fs::symlink_metadata(root).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        // Where it fails, so does the removal, which says why.
        drop(fs::set_permissions(&directory, Permissions::from_mode(0o700)));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.extend(inner.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_directories_go_and_links_are_not_followed() {
        let root =
            std::env::temp_dir().join(format!("kruntimes-remove-tree-{}", std::process::id()));
        let (kept, tree) = (root.join("kept"), root.join("tree"));
        fs::create_dir_all(tree.join("closed/inner")).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        fs::set_permissions(&kept, Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("closed/inner/link")).unwrap();
        fs::set_permissions(tree.join("closed/inner"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        // The superuser enters every directory: its own test is that they are opened.
        open_up(&tree);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&tree.join("closed")), mode(&tree.join("closed/inner"))), (0o700, 0o700));
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && kept.join("file").exists());
        assert_eq!(mode(&kept), 0o555);
        remove_tree(&tree).unwrap();
        remove_tree(&root).unwrap();
    }
}
