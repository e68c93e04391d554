//! Directories for tests, below the build's own: nothing is left in the machine's temporary directory.

use std::path::PathBuf;

/// A fresh directory for the test of that name.
pub(crate) fn directory(name: &str) -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let path = binary.with_file_name("test-directories").join(name);
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).unwrap();
    path
}
