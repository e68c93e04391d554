//! Removes what executions leave in their temporary directories, whatever permissions they gave it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a directory and all below it; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
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

/// Gives every directory back to its owner, and follows no link.
fn open_up(path: &Path) {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    // Where it fails, so does the removal, which says why.
    let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_directories_go_and_links_are_not_followed() {
        let root = std::env::temp_dir().join(format!("krt-remove-tree-{}", std::process::id()));
        let (kept, tree) = (root.join("kept"), root.join("tree"));
        fs::create_dir_all(tree.join("closed/inner")).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        fs::set_permissions(&kept, Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("closed/inner/link")).unwrap();
        fs::set_permissions(tree.join("closed/inner"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && kept.join("file").exists());
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o555);
        remove_tree(&tree).unwrap();
        remove_tree(&root).unwrap();
    }
}
